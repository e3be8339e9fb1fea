"""What is installed is what was tested: every package by version and hash, pip itself too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def pins(root: Path) -> dict[str, str]:
    """Each pinned package with its whole entry, continued lines joined."""
    text = (root / "constraints.txt").read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {re.split(r"==|[ ;@]", entry, maxsplit=1)[0].lower(): entry for entry in entries}


def test_every_pin_has_a_hash(root: Path) -> None:
    bare = [name for name, entry in pins(root).items() if "--hash=sha256:" not in entry]
    assert bare == []


def test_pip_itself_is_pinned(root: Path) -> None:
    assert re.match(r"pip==\d", pins(root).get("pip", ""))


@pytest.mark.parametrize("path", ["scripts/install"])
def test_hashes_are_required(root: Path, path: str) -> None:
    assert "--require-hashes" in (root / path).read_text()


def test_discovery_and_how_to_keep_it_local_are_documented(root: Path) -> None:
    text = " ".join(page.read_text() for page in (root / "docs").glob("*.md"))
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE" in text
    assert "LOCALHOST" in text


def test_text_in_the_picture_is_documented(root: Path) -> None:
    text = (root / "docs" / "reliability.md").read_text()
    assert "ignore" in text.lower()
    assert "in the picture" in text.lower()
