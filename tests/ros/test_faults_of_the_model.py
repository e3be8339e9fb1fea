"""A checkpoint that cannot be used, a model that fails while it runs: between real processes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatspot_ros.util.resources import find_model

FAULTY_NODE = str(Path(__file__).with_name("faulty_node.py"))
NODE = ("-m", "chatspot_ros.region_query_node")

# --- a checkpoint that cannot be used


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llava", ')


def unknown_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no_such_kind"}')


def unknown_setting(folder: Path) -> None:
    path = folder / "chatspot.yaml"
    path.write_text(path.read_text() + "\ncolour: blue\n")


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1_000_000])


def not_numbers(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if "language_model" in name and name.endswith("weight"))
    tensors[name] = np.full_like(tensors[name], np.nan)
    save_file(tensors, path, {"format": "pt"})


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


FAILURES: dict[Callable[[Path], None], str] = {
    gone: "checkpoint",
    broken_config: "config.json",
    unknown_kind: "no_such_kind",
    unknown_setting: "colour",
    truncated: "cut off",
    not_numbers: "not finite",
}


def test_a_truncated_checkpoint_ends_the_start_with_one_clear_line(
    spawn: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(find_model("chatspot-tiny"), folder)
    truncated(folder)
    process = spawn(sys.executable, *NODE, "--ros-args", "-p", f"model:={folder}")
    assert process.wait(110.0) == 1, process.output
    (said,) = [line for line in process.lines if "cannot start:" in line]
    assert str(folder) in said
    assert "Traceback" not in process.output
    assert "ready:" not in process.output


class Bundled:
    """A node with a copy of the bundled model, whose files and forward pass the tests spoil."""

    def __init__(self, ros: Any, world: Any, folder: Path) -> None:
        from lifecycle_msgs.srv import ChangeState

        self.world = world
        self.folder = folder
        name = f"{world.namespace}/region_query_node/change_state"
        self._client = world.make(lambda: ros.create_client(ChangeState, name))
        assert self._client.wait_for_service(60.0)
        world.wait_for_services()
        self._active = False

    def restore(self) -> None:
        """Put the files back as they were."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(find_model("chatspot-tiny"), self.folder)

    def change(self, transition: str) -> bool:
        """Ask for a transition; return whether it succeeded."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request(transition=Transition(label=transition))
        return bool(self.world.finish(self._client.call_async(request), 110.0).success)

    def activate(self) -> Any:
        """Return the world of the active node."""
        if not self._active:
            self.restore()
            assert self.change("configure")
            assert self.change("activate")
            self._active = True
            self.world.wait_for_node()
        return self.world


@pytest.fixture(scope="module")
def checkpoint(
    module_spawn: Any, module_ros_node: Any, make_world: Any, tmp_path_factory: Any
) -> Bundled:
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    process = module_spawn(
        *(sys.executable, FAULTY_NODE, "--ros-args", "-r", "__ns:=/bundled"),
        *("-p", "threads:=1", "-p", "autostart:=false", "-p", f"model:={folder}"),
        ready="waiting to be configured",
        env={"FAULTY_ENGINE": "bundled"},
    )
    return Bundled(module_ros_node, make_world(module_ros_node, process, "/bundled"), folder)


@pytest.fixture
def bundled(checkpoint: Bundled) -> Any:
    return checkpoint.activate()


@pytest.mark.parametrize("spoil", FAILURES, ids=lambda spoil: spoil.__name__)
def test_a_checkpoint_that_cannot_be_used_is_said_and_can_be_mended(
    checkpoint: Bundled, spoil: Callable[[Path], None]
) -> None:
    checkpoint.restore()
    spoil(checkpoint.folder)
    before = len(checkpoint.world.process.lines)
    assert not checkpoint.change("configure")
    line = checkpoint.world.process.wait_for("cannot configure", after=before)
    assert FAILURES[spoil] in line
    reply = checkpoint.world.ask()
    assert (reply.name, FAILURES[spoil] in reply.message) == ("NOT_ACTIVE", True)
    assert "Traceback" not in "\n".join(checkpoint.world.process.lines[before:])


# --- a model that fails while it runs


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("nan and what is this?", "not finite"),
        ("memory and what is this?", "2.147 GB"),
        ("inside and what is this?", "ZeroDivisionError"),
    ],
)
def test_a_forward_pass_that_fails(bundled: Any, question: str, words: str) -> None:
    # A new picture each time: what was seen before the fault must not hide it.
    stamp = bundled.publish_frame(colour=(len(question), 90, 30))
    regions = [bundled.region((5, 5), (40, 40)), bundled.region((10, 10))]
    handle = bundled.send_goal(question, stamp=stamp, regions=regions)
    reply = bundled.ask(question, stamp=stamp, regions=regions)
    assert (reply.name, words in reply.message) == ("MODEL_ERROR", True), reply.message
    assert bundled.result(handle)[1].name == "MODEL_ERROR"
    good = bundled.ask("What is this?", stamp=stamp, regions=regions)
    assert (good.name, len(good.answers)) == ("OK", 2)
    assert good.answers[0].text


def test_memory_that_is_full_for_a_moment_costs_no_answer(bundled: Any) -> None:
    stamp = bundled.publish_frame(colour=(3, 200, 3))
    reply = bundled.ask("memory_once is gone", stamp=stamp, regions=[bundled.region((5, 5))])
    assert (reply.name, len(reply.answers)) == ("OK", 1), reply.message
