"""The recipe for BehaviorTree.CPP, compiled against the generated interfaces and run.

BehaviorTree.CPP itself is not among the wheels: its few calls that the recipe uses are in
tests/support/behaviortree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree
from pathlib import Path

import pytest

RECIPE = "examples/behaviortree_cpp"
# Of BehaviorTree.CPP itself.
CONTROLS = {"root", "BehaviorTree", "Fallback", "Sequence", "RetryUntilSuccessful"}


@pytest.fixture(scope="module")
def said(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    stand_in = root / "tests/support/behaviortree"
    prefixes = [Path(prefix) for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep)]
    # An interface package has its headers in include/NAME/NAME.
    includes = [path for prefix in prefixes for path in (prefix / "include").glob("*")]
    program = tmp_path_factory.mktemp("recipe") / "run_recipe"
    subprocess.run(
        ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-O0", f"-I{stand_in}",
         f"-I{root / RECIPE}", *(f"-isystem{path}" for path in includes),
         str(stand_in / "run_recipe.cpp"), "-o", str(program)],
        check=True, timeout=220,
    )  # fmt: skip
    ended = subprocess.run([program], capture_output=True, text=True, check=True, timeout=60)
    return ended.stdout.splitlines()


def test_the_nodes_ask_and_judge_as_the_recipe_says(said: list[str]) -> None:
    assert [line for line in said if not line.startswith("port ")] == [
        "without a box: 0",
        "asks: 1 front state 120 400",
        "closed: SUCCESS, door: closed",
        "position: camera 1.5",
        "open: FAILURE, door: open",
        "doubtful: FAILURE, not sure of: door: closed",
        "uncertain: FAILURE, not sure of: door: closed",
        "untold: FAILURE, it does not tell plug: door: closed",
        "busy: FAILURE, too much waits",
        "late: FAILURE, SERVICE_TIMEOUT",
        "acts: 1 close fridge 1.5",
        "done: 1",
    ]


def test_the_tree_uses_only_ports_that_the_nodes_have(root: Path, said: list[str]) -> None:
    ports: dict[str, set[str]] = {}
    for line in said:
        if line.startswith("port "):
            _, node, name, _ = line.split()
            ports.setdefault(node, {"name"}).add(name)
    tree = xml.etree.ElementTree.parse(root / RECIPE / "close_the_fridge.xml")
    used = [one for one in tree.iter() if one.tag not in CONTROLS]
    assert {one.tag for one in used} == set(ports)
    assert [(one.tag, key) for one in used for key in one.attrib if key not in ports[one.tag]] == []
