"""A model behind a real HTTP server is asked with the picture and regions of its dialect."""

import base64
import json
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.core.model_spec import ModelSpec
from chatspot_ros.core.regions import Region
from chatspot_train.evaluation.openai_model import EndpointAnswerer, EndpointDownError
from chatspot_train.evaluation.runner import read_predictions, run
from chatspot_train.evaluation.suite import NO_READER, AskedTurn, Item

SPEC = ModelSpec.model_validate({
    "name": "served", "dialect": {"name": "chatspot", "decimals": 2},
    "geometry": {"mode": "pad_centre", "width": 64, "height": 64},
    "prompt_style": "words", "max_new_tokens": 32,
})  # fmt: skip
QWEN = ModelSpec.model_validate({
    "name": "qwen", "dialect": {"name": "pixel_json"},
    "geometry": {"mode": "stretch", "multiple_of": 28, "min_pixels": 1},
    "prompt_style": "words",
})  # fmt: skip
PICTURE = np.zeros((40, 80, 3), np.uint8)
PICTURE[:, :40] = (255, 0, 0)
Reply = tuple[int, dict[str, str], Any]


@pytest.fixture
def server(chat_server: Any) -> Any:
    return chat_server


def failed(status: int, why: str) -> Reply:
    return status, {"Retry-After-Ms": "1"}, {"error": {"message": why}}


def item(key: str, *turns: AskedTurn) -> Item:
    asked = turns or (AskedTurn(f"What is {key} in <region>?", (Region.box(0, 0, 40, 40),)),)
    return Item(key, lambda: PICTURE, asked, {"name": "mug"})


def picture_of(body: dict[str, Any]) -> np.ndarray:
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    data = np.frombuffer(base64.b64decode(url.partition("base64,")[2]), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1]


def test_an_endpoint_has_no_text_reader(server: Any) -> None:
    server.answer = lambda text, count: server.completion("a mug")
    turns = [AskedTurn("What is it?", reader=reader) for reader in ("on", "off")]
    with EndpointAnswerer(server.url, "served", SPEC) as answerer:
        found = answerer.answer_all(PICTURE, [item(turn.reader, turn) for turn in turns])
    assert [p.error for p in found] == [NO_READER, ""]
    assert len(server.bodies) == 1


def test_regions_are_said_and_read_in_the_models_dialect(server: Any) -> None:
    # Padded in the centre: the 80 x 40 picture stands between 0.25 and 0.75 of the height.
    server.answer = lambda text, count: server.completion("a mug <box>0.50 0.25 1.00 0.75</box>")
    with EndpointAnswerer(server.url, "served", SPEC) as answerer:
        (found,) = answerer.answer_all(PICTURE, [item("k")])
    assert answerer.name == "served"
    assert found.boxes_xyxy_px == ((40.0, 0.0, 80.0, 40.0),)
    assert found.phrases == ("a mug",)
    assert (found.truth, found.confidence, found.error) == ({"name": "mug"}, 0.0, "")
    assert found.seconds > 0
    assert "What is k in <box>0.00 0.25 0.50 0.75</box>?\nAnswer" in server.last_text(
        server.bodies[0]
    )
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("served", 32, 0.0)
    sent = picture_of(body)
    assert sent.shape == (64, 64, 3)
    assert sent[32, 10].tolist() == [255, 0, 0]
    assert sent[5, 10].tolist() == list(SPEC.fill_rgb)
    assert server.keys == {f"Bearer {server.key}"}


def test_another_dialect_has_pixels_of_the_sent_picture(server: Any) -> None:
    server.answer = lambda text, count: server.completion(
        '{"bbox_2d": [0, 0, 42, 28], "label": "mug"}'
    )
    where = item("k", AskedTurn("Where is the mug?", task="locate"))
    with EndpointAnswerer(server.url, "m", QWEN, picture_format="jpeg") as answerer:
        (found,) = answerer.answer_all(PICTURE, [where])
    assert picture_of(server.bodies[0]).shape == (28, 84, 3)
    assert "image/jpeg" in json.dumps(server.bodies[0])
    assert found.phrases == ("mug",)
    assert found.boxes_xyxy_px[0] == pytest.approx((0, 0, 40, 40))


def test_turns_follow_each_other_and_state_is_read(server: Any) -> None:
    server.answer = lambda text, count: server.completion(
        "a fridge" if "first" in text else "door: open"
    )
    talk = item("k", AskedTurn("The first?"), AskedTurn("Its state?", task="state"))
    with EndpointAnswerer(server.url, "m", SPEC) as answerer:
        (found,) = answerer.answer_all(PICTURE, [talk])
    assert found.state == {"door": "open"}
    assert found.question == "Its state?"
    roles = [message["role"] for message in server.bodies[1]["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert server.bodies[1]["messages"][1]["content"] == "a fridge"
    assert isinstance(server.bodies[1]["messages"][2]["content"], str)


def test_requests_are_bounded_and_answers_in_order(server: Any) -> None:
    together = threading.Barrier(2)  # each request waits for another one beside it

    def answer(text: str, count: int) -> Reply:
        together.wait(20.0)
        return server.completion(text.split()[2])

    server.answer = answer
    with EndpointAnswerer(server.url, "m", SPEC, concurrency=2) as answerer:
        found = answerer.answer_all(PICTURE, [item(str(k)) for k in range(6)])
        again = answerer.answer_all(PICTURE, [item("x"), item("y")])
    assert [p.text for p in [*found, *again]] == ["0", "1", "2", "3", "4", "5", "x", "y"]
    assert server.most == 2


def test_failures_are_repeated_and_then_said(server: Any) -> None:
    def answer(text: str, count: int) -> Reply:
        if "bad" in text:
            return failed(400, f"too long for {server.key}")
        return server.completion("cut", "length") if count > 2 else failed(503, "busy")

    server.answer = answer
    outside = item("out", AskedTurn("What?", (Region.box(500, 500, 600, 600),)))
    with EndpointAnswerer(server.url, "m", SPEC, retries=2, concurrency=1) as answerer:
        busy, bad, out = answerer.answer_all(PICTURE, [item("busy"), item("bad"), outside])
    assert (busy.text, busy.error) == ("cut", "")
    assert bad.text == ""
    assert "status 400" in bad.error
    assert server.key not in bad.error
    assert "outside the image" in out.error
    assert len(server.bodies) == 4


def test_an_endpoint_that_is_down_stops_the_run(server: Any, tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    first, second = item("1"), item("2")
    mug, refused = server.completion("mug"), failed(401, "no such key")
    server.answer = lambda text, count: mug if "1" in text else refused
    with (
        EndpointAnswerer(server.url, "m", SPEC, retries=0) as answerer,
        pytest.raises(EndpointDownError, match="status 401"),
    ):
        run(answerer, [first, second], file)
    # What was answered is kept, what was refused is not taken for an empty answer.
    assert [p.key for p in read_predictions(file)] == ["1"]
    server.answer = lambda text, count: failed(500, "broken")
    with (
        EndpointAnswerer(server.url, "m", SPEC, retries=0, concurrency=1) as answerer,
        pytest.raises(EndpointDownError, match="8 failures in a row"),
    ):
        answerer.answer_all(PICTURE, [item(f"n{k}") for k in range(12)])
    with (
        EndpointAnswerer("http://127.0.0.1:9/v1", "m", SPEC, retries=0) as answerer,
        pytest.raises(EndpointDownError, match="cannot be reached"),
    ):
        answerer.answer_all(PICTURE, [first])
