"""docs/reliability.md says what hostile input does, and how to keep others away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "reliability.md").read_text()


def test_discovery_and_how_to_keep_it_local_are_documented(page: str) -> None:
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST" in page


def test_text_in_the_picture_is_documented(page: str) -> None:
    assert "ignore your instructions" in page
    assert "### Text in the picture" in page


def test_every_attack_names_a_test_that_is_there(page: str, root: Path) -> None:
    table = page.partition("## Hostile input")[2].partition("## Latency")[0]
    named = re.findall(r"\(`(\S+\.py)`\)", table)
    assert len(named) > 5
    assert [name for name in named if not (root / "tests" / name).is_file()] == []
