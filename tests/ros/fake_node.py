"""The node with a scripted engine instead of a model, for tests of timing and faults: run me as a
program.

What the engine does is written in the question: say TEXT streams TEXT word by word take N spends N
seconds in Python and sleep, a word every 20 ms, looking at should_stop block N spends N seconds
without looking at anything, as a long prefill does break raises what no engine should raise nan
raises ModelError doubt answers with a confidence of 0.1 (else) describes what it was given
In the environment: FAKE_LOAD_WAITS_FOR: loading takes until there is this file; FAKE_LOAD_FAILS:
its error, until there is a file FAKE_LOAD_WORKS_WITH; FAKE_LOAD_BREAKS: it raises what no loader
should.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from chatspot_ros.core.answer_parser import Answer, Step
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ModelError, ModelLoadError
from chatspot_ros.region_query_node import RegionQueryNode
from chatspot_ros.ros.run_node import run_node


@dataclass
class FakeScene:
    image_rgb: np.ndarray
    number: int


class FakeEngine:
    name = "fake"

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self, image_rgb: np.ndarray) -> FakeScene:
        self.prepared += 1
        return FakeScene(image_rgb, self.prepared)

    def answer(
        self,
        scene: FakeScene,
        question: Any,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Any:
        words = question.text.split()
        number = float(words[1]) if words[0] in ("take", "block") else 0.0
        said: list[str] = []

        def say(word: str) -> None:
            if should_stop is not None:
                should_stop()
            said.append(word)
            if on_text is not None:
                on_text(word)

        match words[0]:
            case "say":
                for word in words[1:]:
                    say(word + " ")
            case "take":
                until = time.monotonic() + number
                while time.monotonic() < until:
                    busy = time.monotonic() + 0.01
                    while time.monotonic() < busy:
                        pass
                    time.sleep(0.01)
                    say("w ")
            case "block":
                time.sleep(number)
                say("done")
            case "break":
                raise ZeroDivisionError("scripted")
            case "nan":
                raise ModelError("the logits are not finite", value="nan", remedy="scripted")
            case _:
                say(describe(scene, question))
        text = "".join(said).strip()
        answer = Answer(
            text=text,
            regions=question.regions,
            state={"door": "open"},
            steps=(Step("open", "fridge", "open fridge"),),
            grounded=(Region(((1.0, 2.0), (3.0, 4.0)), label="thing"),),
            confidence=0.1 if words[0] == "doubt" else 0.9,
            truncated=False,
            uncertain=words[0] == "doubt",
        )
        return SimpleNamespace(
            answer=answer,
            prompt=question.text,
            raw_text=text,
            tokens=len(said),
            seconds=0.0,
            task="",
            notes=(),
            looked_twice=False,
            print_lines=(),
            model="",
        )


def describe(scene: FakeScene, question: Any) -> str:
    height, width = scene.image_rgb.shape[:2]
    colour = ",".join(str(round(value)) for value in scene.image_rgb.mean(axis=(0, 1)))
    turns = "/".join(f"{turn.user_text}={turn.answer_text[:12]}" for turn in question.turns)
    return (
        f"scene={scene.number} size={width}x{height} colour={colour} task={question.task} "
        f"regions={len(question.regions)} text={question.text!r} turns={turns}"
    )


def load(_: Any) -> FakeEngine:
    awaited = os.environ.get("FAKE_LOAD_WAITS_FOR", "")
    while awaited and not Path(awaited).exists():
        time.sleep(0.02)
    mended = os.environ.get("FAKE_LOAD_WORKS_WITH", "")
    if mended and Path(mended).exists():
        return FakeEngine()
    if "FAKE_LOAD_BREAKS" in os.environ:
        raise ZeroDivisionError("scripted")
    if "FAKE_LOAD_FAILS" in os.environ:
        raise ModelLoadError(os.environ["FAKE_LOAD_FAILS"], value="/nowhere", remedy="look there")
    return FakeEngine()


def take_every_word() -> None:
    """Have the node ask the engine whatever is said, unless the command line says otherwise: its
    script is no question."""
    if not any("screen_questions" in one for one in sys.argv):
        sys.argv += ["--ros-args", "-p", "screen_questions:=false"]


if __name__ == "__main__":
    take_every_word()
    run_node(partial(RegionQueryNode, load=load))
