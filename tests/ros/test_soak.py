"""The soak of benchmarks/soak_node.py, short and with small pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.timeout(500)
def test_mixed_load_leaves_no_query_without_a_status(spawn: Any, tmp_path: Path) -> None:
    rows_file = tmp_path / "rows.json"
    process = spawn(
        *(sys.executable, "-m", "benchmarks.soak_node", "--minutes", "0.15"),
        *("--size", "320x240", "--rate", "10", "--json", str(rows_file)),
        env={"OMP_NUM_THREADS": "1"},
    )
    assert process.wait(360.0) == 0, process.output
    rows = json.loads(rows_file.read_text())["rows"]
    assert rows["without_status"]["value"] == 0
    # However slow the machine, the four that are put at once are waited for.
    assert rows["queries"]["value"] >= 4
    assert rows["status_OK"]["value"] >= 1
    # What was asked wrongly is said so; nothing fails by itself.
    assert not {"status_MODEL_ERROR", "status_NOT_ACTIVE"} & set(rows)
    for key in ("memory_mb", "threads", "file_descriptors"):
        assert rows[key]["value"] > 1
        assert rows[key]["first"] > 1
