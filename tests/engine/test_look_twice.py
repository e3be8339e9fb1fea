"""A second look at the region (Chain-of-Spot): what the model is shown, in whatever company."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question, Reply
from chatspot_ros.engine.decoding.batch import ONE_PICTURE
from chatspot_ros.engine.look_first import NOT_FOUND, find_places
from chatspot_ros.engine.model_errors import OutOfMemoryError
from chatspot_ros.errors import CancelledError

BOXES = [Region.box(5 + 20 * k, 10 + 9 * k, 60 + 30 * k, 50 + 11 * k) for k in range(5)]


def asked(**more: Any) -> list[Question]:
    """The same words about five regions, and about points and polygons."""
    shapes = [*BOXES, Region.point(50, 40), Region.polygon([(9, 9), (90, 20), (40, 80)])]
    return [Question("What is this?", (one,), max_new_tokens=6, **more) for one in shapes]


def test_the_region_is_shown_again_where_it_is_wanted(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    once, twice = (llava.answer_many(scene, asked(look_twice=one)) for one in ("off", "on"))
    assert [r.looked_twice for r in once] == [False] * 7
    assert [r.looked_twice for r in twice] == [True] * 7
    assert [r.raw_text for r in once] != [r.raw_text for r in twice]
    assert [r.prompt for r in once] == [r.prompt for r in twice]  # as the next turn shows it
    # It was not trained with cuts.
    assert not any(r.looked_twice for r in llava.answer_many(scene, asked()))
    several = Question("Is <region> on <region>?", tuple(BOXES[:2]), look_twice="on")
    assert not llava.answer(scene, several).looked_twice


@pytest.mark.parametrize("which", ["llava", "qwen"])
def test_cuts_of_equal_words_do_not_mix(
    which: str, image_rgb: np.ndarray, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(which)
    scene = engine.prepare(image_rgb)
    questions = asked(look_twice="on")
    together = engine.answer_many(scene, questions)
    # Without the picture's cache every question is read whole, by the model's own code.
    plain = [engine.answer(replace(scene, cache=None, prefix_ids=()), one) for one in questions]
    assert all(reply.looked_twice for reply in together)
    for packed, alone in zip(together, plain, strict=True):
        assert packed.raw_text == alone.raw_text
        assert packed.log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-3)


def test_the_cut_is_of_the_cameras_image(llava: Engine) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (400, 800, 3), dtype=np.uint8)
    changed = image.copy()
    changed[200:204, 300:304] = 255 - changed[200:204, 300:304]
    spot = Question("What is this?", (Region.box(298, 198, 306, 206),), look_twice="on")
    first, second = (llava.answer(llava.prepare(one), spot) for one in (image, changed))
    assert first.log_probabilities != pytest.approx(second.log_probabilities, abs=1e-3)


def test_a_conversations_memory_holds_no_other_cut(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    first, second = asked(look_twice="on")[:2]
    batch = llava.open(scene)
    admission = batch.admit([first], remember=True)
    while not admission.done:
        batch.step()
    other = batch.admit([second], memory=admission.memory)
    while not other.done:
        batch.step()
    expected = llava.answer(scene, second)
    assert other.result()[0].raw_text == expected.raw_text
    assert other.result()[0].log_probabilities == pytest.approx(
        expected.log_probabilities, abs=1e-4
    )


def test_a_family_of_one_picture_says_that_it_looked_once(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llava._runner, "takes_cuts", False)
    reply = llava.answer(llava.prepare(image_rgb), asked(look_twice="on")[0])
    assert not reply.looked_twice
    assert ONE_PICTURE in reply.notes


@pytest.mark.parametrize("size", [(1, 1), (10, 10000), (3, 40)])
def test_the_smallest_regions_of_odd_pictures_are_looked_at(
    llava: Engine, size: tuple[int, int]
) -> None:
    height, width = size
    scene = llava.prepare(np.full((height, width, 3), 90, np.uint8))
    for region in (Region.point(0, 0), Region.box(0, 0, 1, 1)):
        assert llava.answer(scene, Question("What?", (region,), look_twice="on")).looked_twice


class _Batch:
    """Answers each question with the next scripted answer."""

    merges, live = True, 0

    def __init__(self, answers: list[Answer]) -> None:
        self.answers, self.asked = iter(answers), []  # type: ignore[var-annotated]

    def admit(self, questions: Sequence[Question], **_: Any) -> Any:
        self.asked += questions
        replies = [Reply(next(self.answers), "", "", 1, 0.0, "locate") for _ in questions]
        batch = self

        class Admission:
            done, memory = False, None

            def leave(self) -> None:
                self.done = True

            def result(self) -> list[Reply]:
                return replies

        admission = Admission()
        batch.step = lambda: setattr(admission, "done", True)  # type: ignore[method-assign]
        return admission

    def step(self) -> None:
        """Replaced by `admit`."""


def drive(steps: Iterator[Any]) -> list[Question]:
    """Step until the generator returns."""
    while True:
        try:
            next(steps).step()
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def test_without_a_region_the_model_first_says_where() -> None:
    place = Region.box(3, 4, 30, 40)
    batch = _Batch([Answer("", grounded=(replace(place, label="tap"),)), Answer("no idea")])
    questions = [
        Question("Is the tap running?", look_twice="on"),
        Question("Is it open?", (BOXES[0],), look_twice="on"),
        Question("Is the oven hot?", look_twice="on"),
        Question("Where is the tap?", look_twice="on"),
        Question("Is the tap running?"),
    ]
    found = drive(find_places(batch, questions))
    assert [(q.text, q.task) for q in batch.asked] == [
        ("Is the tap running?", "locate"), ("Is the oven hot?", "locate"),
    ]  # fmt: skip
    assert [q.regions for q in found] == [(place,), (BOXES[0],), (), (), ()]
    assert [NOT_FOUND in q.notes for q in found] == [False, False, True, False, False]
    assert found[1] is questions[1]
    assert found[4] is questions[4]


def test_an_outline_is_looked_at_as_its_box() -> None:
    outline = replace(Region.polygon([(3, 4), (30, 4), (30, 40)]), label="tap")
    batch = _Batch([Answer("", grounded=(outline,))])
    (found,) = drive(find_places(batch, [Question("Is the tap running?", look_twice="on")]))
    assert found.regions == (Region.box(3, 4, 30, 40),)


def test_the_bundled_model_looks_where_it_says() -> None:
    from chatspot_sim.kitchen import draw_kitchen
    from chatspot_sim.world import World

    tiny = Engine.load("models/chatspot-tiny", device="cpu")
    with World(draw_kitchen(85, "test")) as world:
        scene = tiny.prepare(world.frame().rgb)
    asked_where = Question("Where is the fridge?", task="locate")
    (place, *_) = tiny.answer(scene, asked_where).answer.grounded
    about_all = Question("Is the fridge open?", task="state", look_twice="on")
    (found,) = drive(find_places(tiny.open(scene), [replace(about_all, text=asked_where.text)]))
    assert found.regions == (replace(place, label=""),)
    assert NOT_FOUND not in tiny.answer(scene, about_all).notes


def test_a_cancel_gets_through_between_two_regions(llava: Engine, image_rgb: np.ndarray) -> None:
    scene, looks = llava.prepare(image_rgb), asked(look_twice="on")
    calls = iter(range(100))
    batch = llava.open(scene)
    with pytest.raises(CancelledError):
        batch.admit(looks, should_stop=lambda: next(calls) == 3)
    assert next(calls) == 4  # not asked again: no further region was looked at
    assert batch.live == 0
    other = batch.admit(looks[:1])
    while not other.done:
        batch.step()
    assert other.result()[0].looked_twice


def test_full_memory_at_a_second_look_ends_one_question_alone(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, looks = llava.prepare(image_rgb), asked(look_twice="on")
    expected = [reply.raw_text for reply in llava.answer_many(scene, looks)]
    batch = llava.open(scene)
    monkeypatch.setattr(batch, "_most", 1)  # as after memory was full twice
    doomed, fine = batch.admit(looks[:1]), batch.admit(looks[1:])
    encode = llava._runner.encode_cut
    calls = iter(range(100))

    def fail_first(pixels: Any) -> Any:
        if next(calls) == 0:
            raise OutOfMemoryError("full", value=1, remedy="ask less")
        return encode(pixels)

    monkeypatch.setattr(llava._runner, "encode_cut", fail_first)
    while not (doomed.done and fine.done):
        batch.step()
    with pytest.raises(OutOfMemoryError):
        doomed.result()
    assert [reply.raw_text for reply in fine.result()] == expected[1:]
