"""What tests of people's own files share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from chatspot_train.data.records import Record

SIZE = (64, 48)
Build = Callable[..., list[Record]]


def drops(folder: Path) -> dict[str, str]:
    """Return the reason of each dropped entry, by its place in the file."""
    lines = (folder / "records" / "drops.jsonl").read_text().splitlines()
    return {drop["where"]: drop["reason"] for drop in map(json.loads, lines)}
