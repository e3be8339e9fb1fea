"""The size of files, functions and constructors: a reader holds each in mind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("chatspot_ros", "chatspot_sim", "chatspot_train", "examples", "benchmarks", "launch")
MOST_LINES = {"file": 350, "function": 60, "constructor": 40}


def measured(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield the kind, line count and name of a file and of each function in it."""
    text = path.read_text(encoding="utf-8")
    yield "file", len(text.splitlines()), "the file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            kind = "constructor" if node.name == "__init__" else "function"
            yield kind, (node.end_lineno or node.lineno) - node.lineno + 1, node.name


def too_long(path: Path) -> list[str]:
    return [
        f"{path}: {name} has {lines} lines, a {kind} has at most {MOST_LINES[kind]}"
        for kind, lines, name in measured(path)
        if lines > MOST_LINES[kind]
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_too_long_to_be_held_in_mind(package: str, root: Path) -> None:
    files = sorted((root / package).rglob("*.py"))
    assert files
    assert [line for path in files for line in too_long(path)] == []


def test_what_is_too_long_is_named(tmp_path: Path) -> None:
    body = "".join(f"        x = {k}\n" for k in range(60))
    path = tmp_path / "long.py"
    path.write_text(f"class A:\n    def __init__(self):\n{body}\n    def f(self):\n{body}")
    assert [line.split(": ")[1].split(" has")[0] for line in too_long(path)] == ["__init__", "f"]
