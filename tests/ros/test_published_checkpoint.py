"""The node with checkpoints as their repositories have them: one that loads, two that cannot."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import published
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write(tmp_path_factory.mktemp("node") / "Qwen2.5-VL-tiny", "qwen2_5_vl")


def command(folder: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args", "-r",
            "__ns:=/published", "-p", f"model:={folder}", "-p", "threads:=1", "-p",
            "max_new_tokens:=4")  # fmt: skip


def test_it_answers(folder: Path, spawn: Any, ros_node: Any, make_world: Any) -> None:
    process = spawn(*command(folder), ready="ready: region_query_node", timeout_s=300.0)
    world = make_world(ros_node, process, "/published")
    world.wait_for_node()
    stamp = world.publish_frame(colour=(120, 110, 100))
    reply = world.ask("What is this?", stamp=stamp, regions=[world.region((10, 10), (40, 40))])
    assert (reply.name, reply.model) == ("OK", "Qwen2.5-VL-tiny")
    assert len(reply.answers) == 1


def test_a_template_without_pictures_stops_it_with_one_line(
    folder: Path, tmp_path: Path, spawn: Any
) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    (broken / "chat_template.json").unlink()
    process = spawn(*command(broken))
    assert process.wait(120.0) == 1
    told = [line for line in process.lines if "carry a picture" in line]
    assert len(told) == 1, process.output
    assert "Traceback" not in process.output


def test_another_class_stops_it_with_one_line(folder: Path, tmp_path: Path, spawn: Any) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "model_type": "nobody_knows"}))
    process = spawn(*command(broken))
    assert process.wait(120.0) == 1
    assert sum("nobody_knows" in line for line in process.lines if "[INFO]" not in line) == 1
    assert "Traceback" not in process.output
