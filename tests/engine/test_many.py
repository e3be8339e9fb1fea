"""Questions answered together are answered as one by one: the same words, whatever their number."""

from pathlib import Path

import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question, Turn
from chatspot_ros.engine.decoding import packed_batch
from chatspot_ros.errors import CancelledError, RegionError, RequestError

TINY = Path("models/chatspot-tiny")


def questions(count: int, width: int, height: int, seed: int = 0) -> list[Question]:
    """Questions of many lengths about boxes, points and polygons, some after earlier turns."""
    rng = np.random.default_rng(seed)
    words = ["What is this?", "Which colour does <region> have, please, and what is it made of?",
             "Describe <region> in detail.", "And this?"]  # fmt: skip
    found = []
    for k in range(count):
        x, y = rng.uniform(0, width / 2), rng.uniform(0, height / 2)
        region = (
            Region.box(x, y, x + width / 3, y + height / 3), Region.point(x, y),
            Region.polygon([(x, y), (x + 9, y), (x + 9, y + 20)]),
        )[k % 3]  # fmt: skip
        turns = (Turn("[short] What is this?", "a mug"),) if k % 4 == 3 else ()
        found.append(Question(words[k % 4], (region,), turns=turns, max_new_tokens=3 + k % 9))
    return found


@pytest.fixture(scope="module")
def tiny() -> Engine:
    return Engine.load(str(TINY), device="cpu")


@pytest.mark.parametrize("count", [2, 5, 17])
@pytest.mark.parametrize("which", ["llava", "tiny", "qwen"])
def test_together_is_as_one_by_one(
    which: str, count: int, image_rgb: np.ndarray, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(which)
    scene = engine.prepare(image_rgb)
    asked = questions(count, 211, 97)
    one_by_one = [engine.answer(scene, question) for question in asked]
    together = engine.answer_many(scene, asked)
    assert [r.raw_text for r in together] == [r.raw_text for r in one_by_one]
    assert [r.tokens for r in together] == [r.tokens for r in one_by_one]
    assert [r.answer.truncated for r in together] == [r.answer.truncated for r in one_by_one]
    assert [r.answer.confidence for r in together] == pytest.approx(
        [r.answer.confidence for r in one_by_one], abs=1e-4
    )
    assert engine.answer(scene, asked[0]).raw_text == one_by_one[0].raw_text  # the scene is whole


def test_the_words_of_every_answer_come_as_they_are_said(
    llava: Engine, image_rgb: np.ndarray
) -> None:
    heard: dict[int, str] = {}

    def on_text(index: int, added: str) -> None:
        heard[index] = heard.get(index, "") + added

    replies = llava.answer_many(llava.prepare(image_rgb), questions(6, 211, 97), on_text)
    assert heard == {k: r.raw_text for k, r in enumerate(replies) if r.raw_text}


def test_one_bad_question_is_named_before_any_is_answered(
    llava: Engine, image_rgb: np.ndarray
) -> None:
    scene = llava.prepare(image_rgb)
    good = questions(2, 211, 97)
    outside = Question("What is this?", (Region.box(500, 500, 600, 600),))
    with pytest.raises(RegionError):
        llava.answer_many(scene, [*good, outside])
    with pytest.raises(RequestError):
        llava.answer_many(scene, [*good, Question(" ")])
    assert llava.answer_many(scene, []) == []


def test_all_stop_when_told_to(llava: Engine, image_rgb: np.ndarray) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 7

    with pytest.raises(CancelledError):
        llava.answer_many(llava.prepare(image_rgb), questions(3, 211, 97), should_stop=stop)
    assert asked < 15


def test_long_packs_are_read_in_pieces_and_finished_sequences_leave(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = llava.prepare(image_rgb)
    asked = questions(9, 211, 97)
    expected = [r.raw_text for r in llava.answer_many(scene, asked)]
    monkeypatch.setattr(packed_batch, "MAX_PACKED_TOKENS", 100)
    monkeypatch.setattr(packed_batch, "COMPACT_SHARE", 0.01)
    assert [r.raw_text for r in llava.answer_many(scene, asked)] == expected
