"""The node with more scripted answers and faults than fake_node.py has: run me as a program.

What a question does, by its first words: `state by colour` is closed on red, open on green, and
open without being sure on blue; `name by place` names where the region begins, not sure right of
x = 40; `linger right` says at once what is left of that, and takes 100 s for the rest; `hold NAME`
computes, looking at nothing, until there is a file NAME in the folder FAKE_GATES.

With FAULTY_ENGINE=bundled in the environment it is the bundled model, and from such a question on
its forward pass goes wrong, up to the next question: `nan` makes every logit NaN, `memory` raises
what CUDA's allocator raises, `memory_once` only once, `inside` raises what no model should.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from chatspot_ros.region_query_node import RegionQueryNode
from chatspot_ros.ros.run_node import run_node
from chatspot_ros.server.engine_factory import load_engine

# The folder of a program is not on the path of the installed package.
sys.path.append(str(Path(__file__).parent))
fake_node = importlib.import_module("fake_node")
FAULTS = ("nan", "memory", "memory_once", "inside")


class ScriptedEngine(fake_node.FakeEngine):  # type: ignore[misc]
    def answer(self, scene: Any, question: Any, *rest: Any) -> Any:
        match question.text.split():
            case ["hold", name]:
                wait_for_file(Path(os.environ["FAKE_GATES"]) / name)
                question = replace(question, text="say held")
            case ["linger", "right"]:
                is_left = question.regions[0].box_xyxy_px[0] < 40
                question = replace(question, text="say left" if is_left else "take 100")
        reply = super().answer(scene, question, *rest)
        answer = reply.answer
        if question.text == "state by colour":
            red, green, blue = scene.image_rgb.mean(axis=(0, 1))
            sure = max(red, green) > blue
            state = {"door": "closed" if red > max(green, blue) else "open"}
            reply.answer = replace(answer, state=state, uncertain=not sure)
        elif question.text == "name by place":
            x = question.regions[0].box_xyxy_px[0]
            reply.answer = replace(answer, text=f"A thing at {x:g}.", uncertain=bool(x > 40))
        return reply


def wait_for_file(path: Path) -> None:
    until_s = time.monotonic() + 100
    while not path.exists() and time.monotonic() < until_s:
        time.sleep(0.005)


class FaultyEngine:
    """The bundled model, with a forward pass that can be made to fail."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._fault = ""
        model = engine._runner.model
        model.register_forward_pre_hook(self._before)
        model.register_forward_hook(self._after)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open(self, scene: Any) -> Any:
        return FaultyBatch(self._engine.open(scene), self)

    def begin(self, text: str) -> None:
        word = text.split()[0]
        self._fault = word if word in FAULTS else ""

    def _before(self, model: Any, inputs: Any) -> None:
        import torch

        if self._fault in ("memory", "memory_once"):
            if self._fault == "memory_once":
                self._fault = ""
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
                "8.00 GiB of which 1.00 GiB is free."
            )
        if self._fault == "inside":
            raise ZeroDivisionError("scripted")

    def _after(self, model: Any, inputs: Any, output: Any) -> Any:
        import torch

        if self._fault == "nan":
            output.logits = torch.full_like(output.logits, float("nan"))
        return output


class FaultyBatch:
    def __init__(self, batch: Any, engine: FaultyEngine) -> None:
        self._batch = batch
        self._faulty = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def admit(self, questions: Any, *rest: Any, **named: Any) -> Any:
        self._faulty.begin(questions[0].text)
        return self._batch.admit(questions, *rest, **named)


def load(settings: Any) -> Any:
    if os.environ.get("FAULTY_ENGINE") == "bundled":
        return FaultyEngine(load_engine(settings))
    # Waits, fails or breaks as the environment says.
    fake_node.load(settings)
    return ScriptedEngine()


if __name__ == "__main__":
    fake_node.take_every_word()
    run_node(partial(RegionQueryNode, load=load))
