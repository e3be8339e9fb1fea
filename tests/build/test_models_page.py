"""docs/models.md: a row for every family, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "models.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists(root: Path, page: str) -> None:
    known = {
        name
        for path in (root / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 15
    assert not named - known
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert all((root / path).is_file() for path in files)


def test_every_family_has_a_row_without_empty_cells(root: Path, page: str) -> None:
    checked = page.partition("## What was checked")[2].partition("## What is read")[0]
    rows = [row.strip("|").split("|") for row in re.findall(r"^\|.*\|$", checked, re.MULTILINE)]
    assert {len(row) for row in rows} == {11}
    assert all(cell.strip() for row in rows for cell in row)
    numbers = set(re.findall(r"\[(\d+)\]", "".join(map("".join, rows))))
    assert numbers <= set(re.findall(r"\[(\d+)\]\s+`test_", checked))
    names = {_letters(row[0]) for row in rows[2:]}
    for path in (root / "config" / "models").glob("*.yaml"):
        name = yaml.safe_load(path.read_text(encoding="utf-8"))["name"]
        assert _letters(name) in names, name


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())
