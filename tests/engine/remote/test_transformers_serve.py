"""A real server, `transformers serve`, with a tiny random LLaVA: what a local engine says of it."""

from __future__ import annotations

import importlib.util
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question, Turn
from chatspot_ros.engine.remote.config import RemoteConfig
from chatspot_ros.engine.remote.engine import RemoteEngine
from chatspot_ros.engine.remote.prompt import NO_PROBABILITIES

NEEDED = ("fastapi", "uvicorn", "transformers.cli.serve")
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(one) for one in NEEDED),
    reason=f"transformers serve needs {', '.join(NEEDED)}",
)
WHAT = Question("What is this?", (Region.box(0, 0, 28, 28),), task="describe")
PICTURES = [np.full((56, 56, 3), rgb, np.uint8) for rgb in ((200, 20, 20), (20, 20, 200))]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def served(module_spawn: Any, llava_folder: Path) -> Iterator[RemoteEngine]:
    port = free_port()
    module_spawn(
        *(sys.executable, "-m", "transformers.cli.transformers", "serve", str(llava_folder)),
        *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu"),
        ready="Uvicorn running", timeout_s=200.0,
        env={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    engine = RemoteEngine(
        RemoteConfig(
            url=f"http://127.0.0.1:{port}/v1",
            model=str(llava_folder),
            dialect=str(llava_folder / "chatspot.yaml"),
            timeout=100.0,
        )
    )
    yield engine
    engine.close()


def test_it_says_what_a_local_engine_says(served: RemoteEngine, llava: Engine) -> None:
    said = []
    for picture in PICTURES:
        scene, pieces = served.prepare(picture), []  # type: ignore[var-annotated]
        reply = served.answer(scene, WHAT, pieces.append)
        # As it arrives there: a JPEG.
        sent = cv2.imdecode(np.frombuffer(scene.picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert sent is not None
        here = llava.answer(llava.prepare(np.ascontiguousarray(sent[:, :, ::-1])), WHAT)
        assert reply.prompt == here.prompt
        # A byte a token: the server's stream may lose half a letter where ours waits for it.
        assert reply.raw_text[:1] == here.raw_text[:1]
        assert "".join(pieces) == reply.raw_text
        said.append(reply.raw_text)
    assert said[0] != said[1]
    assert served.answer(served.prepare(PICTURES[0]), WHAT).raw_text == said[0]


def test_it_gives_no_probabilities_and_the_reply_says_so(served: RemoteEngine) -> None:
    reply = served.answer(served.prepare(PICTURES[0]), WHAT)
    assert (reply.answer.confidence, reply.answer.uncertain) == (0.0, True)
    assert NO_PROBABILITIES in reply.notes


def test_earlier_turns_change_the_answer(served: RemoteEngine) -> None:
    scene = served.prepare(PICTURES[0])
    first = served.answer(scene, WHAT)
    turn = Turn(first.prompt, first.raw_text, first.task, first.model)
    again = Question("What is this?", WHAT.regions, "describe", turns=(turn,))
    assert served.answer(scene, again).raw_text != first.raw_text


def test_regions_of_one_picture_go_together(served: RemoteEngine) -> None:
    scene = served.prepare(PICTURES[0])
    questions = [
        Question("What is this?", (Region.box(0, 0, side, side),), "describe")
        for side in (14, 28, 42)
    ]
    alone = [served.answer(scene, one).raw_text for one in questions]
    assert [one.raw_text for one in served.answer_many(scene, questions)] == alone


def test_the_server_answers_while_a_cancelled_question_ends(served: RemoteEngine) -> None:
    batch = served.open(served.prepare(PICTURES[0]))
    asked = batch.admit([WHAT])
    asked.leave()
    began = time.monotonic()
    assert served.answer(served.prepare(PICTURES[1]), WHAT).raw_text
    assert time.monotonic() - began < 60


def test_an_unknown_model_is_refused_by_name(served: RemoteEngine) -> None:
    config = served.config.model_copy(update={"model": "another"})
    other = RemoteEngine(config)
    with pytest.raises(Exception, match="check url and model"):
        other.answer(other.prepare(PICTURES[0]), WHAT)
    other.close()
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{served.config.url}/nothing")
