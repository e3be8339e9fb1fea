"""The pages written by hand: paths exist, log entries are short, tables render."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TASKS = [
    "add a model family",
    "add a field to `RegionAnswer`",
    "add a task",
    "route a wording to another task",
    "add a data source",
    "add a suite",
    "change a gesture",
    "add a behaviour for py_trees",
    "change the frame buffer",
    "change the watch list",
    "change the page in the browser",
    "change whose turn it is",
    "use a second GPU",
    "change the tools of an agent",
    "change how a position is found",
    "add a remote engine",
]
LOG_LINES = 10


def pages(root: Path) -> list[Path]:
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_common_change_names_at_most_four_paths_that_exist(root: Path) -> None:
    table = rows((root / "docs/architecture.md").read_text(), "Where to change what")
    assert [task for task, _ in table] == TASKS
    for task, files in table:
        paths = [path for path in re.findall(r"`([^`]+)`", files) if "/" in path]
        assert 1 <= len(paths) <= 4, task
        assert [path for path in paths if not (root / path).exists()] == [], task


def test_every_path_of_the_architecture_exists(root: Path) -> None:
    text = (root / "docs/architecture.md").read_text()
    paths = re.findall(r"`((?:\w+/)+[\w.]*)`", text)
    assert len(paths) > 20
    bases = [root, root / "chatspot_ros", root / "chatspot_train"]
    missing = [path for path in paths if not any((base / path).exists() for base in bases)]
    assert missing == []


def test_every_file_that_a_page_names_exists(root: Path) -> None:
    """The log is left out: it names files as on its day."""
    folders = (
        "action|benchmarks|chatspot_ros|chatspot_sim|chatspot_train|config|docs|examples|launch|models"
        "|msg|scripts|srv|tests"
    )
    named = re.compile(
        rf"(?<![\w/.])(?:{folders})/[\w./-]+\.(?:action|json|md|msg|py|srv|xml|yaml)\b"
    )
    texts = {page.relative_to(root).as_posix(): page.read_text() for page in pages(root)}
    found = {
        (page, path)
        for page, text in texts.items()
        if not page.startswith(("docs/LOG", "docs/log/"))
        for path in named.findall(text)
    }
    assert len(found) > 30
    assert [(page, path) for page, path in sorted(found) if not (root / path).exists()] == []


@pytest.mark.parametrize("page", ["LOG.md", "log/chatspot-tiny.md", "log/engine-and-node.md"])
def test_log_entries_are_short_and_newest_first(root: Path, page: str) -> None:
    entries = (root / "docs" / page).read_text().split("\n## ")[1:]
    days = [entry[:10] for entry in entries]
    assert len(days) > 5
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", day) for day in days)
    assert days == sorted(days, reverse=True)
    for entry in entries:
        title, *lines = [line for line in entry.splitlines() if line.strip()]
        assert len(lines) <= LOG_LINES, title


def test_tables_stand_apart(root: Path) -> None:
    """Without an empty line before it the docs site shows a table as text."""
    for page in pages(root):
        before = ""
        for line in page.read_text().splitlines():
            assert not (line.startswith("|") and before.strip() and not before.startswith("|")), (
                f"{page}: no empty line before {line}"
            )
            before = line
