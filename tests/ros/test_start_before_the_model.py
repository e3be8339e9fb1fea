"""What is wrong at start-up is found before the model is loaded, or torch is even imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

NOWHERE = "/nowhere/at.all"


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """An environment in which an import of torch fails."""
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')\n")
    return {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}


@pytest.mark.parametrize(
    ("node", "setting", "words"),
    [
        ("region_query_node", f"model:={NOWHERE}", NOWHERE),
        # Read after skills_file.
        ("region_query_node", f"states_file:={NOWHERE}", NOWHERE),
        ("detector_node", f"model:={NOWHERE}", NOWHERE),
        ("detector_node", "model:=''", "no detector is named"),
    ],
)
def test_a_path_is_checked_before_torch_is_imported(
    spawn: Any, without_torch: dict[str, str], node: str, setting: str, words: str
) -> None:
    command = (sys.executable, "-m", f"chatspot_ros.{node}", "--ros-args", "-p", setting)
    process = spawn(*command, "-r", "__ns:=/early", env=without_torch)
    assert process.wait(60.0) == 1
    assert words in process.wait_for("cannot start")
    assert "torch was imported" not in process.output


def test_without_it_the_import_would_be_seen(spawn: Any, without_torch: dict[str, str]) -> None:
    """Or the test above could not fail."""
    command = (sys.executable, "-m", "chatspot_ros.detector_node", "--ros-args", "-r", "__ns:=/on")
    process = spawn(*command, "-p", "model:=chatspot-tiny-detector", env=without_torch)
    assert process.wait(60.0) == 1
    process.wait_for("torch was imported")
