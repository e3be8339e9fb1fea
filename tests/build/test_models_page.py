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


def rows_of(text: str) -> list[list[str]]:
    """The cells of every row of the tables in a text, heads included."""
    lines = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    return [line.strip("|").split("|") for line in lines]


def test_no_cell_is_empty_and_every_number_names_a_test(page: str) -> None:
    checked = page.partition("## What was checked")[2].partition("\n## ")[0]
    rows = rows_of(checked)
    assert {len(row) for row in rows} == {11}
    assert all(cell.strip() for row in rows for cell in row)
    numbers = set(re.findall(r"\[(\d+)\]", "".join(map("".join, rows))))
    assert numbers <= set(re.findall(r"\[(\d+)\]\s+`test_", checked))


def test_every_family_has_a_row(root: Path, page: str) -> None:
    tested = page.partition("## What was checked")[2]
    names = [_letters(row[0]) for row in rows_of(tested)]
    for path in (root / "config" / "models").glob("*.yaml"):
        family = _letters(yaml.safe_load(path.read_text(encoding="utf-8"))["name"])
        assert any(name.startswith(family) for name in names), family


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())
