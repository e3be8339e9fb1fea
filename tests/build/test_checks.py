"""scripts/check by name, the pre-commit hooks and the workflows."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def names(root: Path) -> list[str]:
    """The names of the checks, as scripts/check prints them."""
    text = (root / "scripts/check").read_text()
    return re.findall(r'^check(?:_python)? "([^"]+)"', text, re.MULTILINE)


@pytest.fixture
def hooks(root: Path) -> list[dict[str, Any]]:
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    return list(repository["hooks"])


def prefix_of(hook: dict[str, Any]) -> str:
    program, prefix = shlex.split(hook["entry"])
    assert program == "scripts/check"
    return prefix


def test_every_check_has_a_hook(names: list[str], hooks: list[dict[str, Any]]) -> None:
    prefixes = tuple(map(prefix_of, hooks))
    assert len(names) == len(set(names)) > 5
    assert [name for name in names if not name.startswith(prefixes)] == []
    assert [start for start in prefixes if not any(name.startswith(start) for name in names)] == []


def test_check_runs_the_named_checks_alone(root: Path) -> None:
    done = subprocess.run(
        ["scripts/check", "package", "launch"], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "ok      launch files and examples compile",
        "ok      package.xml",
    ]


def test_check_refuses_an_unknown_name(root: Path) -> None:
    done = subprocess.run(
        ["scripts/check", "spelling"], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no check's name begins with: spelling" in done.stderr


def test_every_action_is_pinned_to_a_commit(root: Path) -> None:
    uses = [
        line.strip()
        for path in (root / ".github/workflows").glob("*.yml")
        for line in path.read_text().splitlines()
        if "uses:" in line
    ]
    assert uses
    for line in uses:
        assert re.fullmatch(r"(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
