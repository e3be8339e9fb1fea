"""The first look of Chain-of-Spot: where the answer to a question without a region lies."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from chatspot_ros.core.regions import Region
from chatspot_ros.core.task_router import route
from chatspot_ros.engine.api import Batch, Question, Reply, ShouldStop

NOT_FOUND = "the model did not say where the answer lies: it looked once"
# Their answers are places, or about all of the picture.
_WHOLE = ("locate", "describe")


def looks_first(question: Question) -> bool:
    """Return whether the model shall say where the answer lies before it answers."""
    if question.look_twice != "on" or question.turns:
        return False
    about_all = not any(region.points_px for region in question.regions)
    return about_all and (question.task or route(question.text)) not in _WHOLE


def find_places(
    batch: Batch, questions: Sequence[Question], should_stop: ShouldStop | None = None
) -> Generator[Batch, None, list[Question]]:
    """Ask for the places of the answers, a step of the batch at a time; return the questions with
    them as regions. A question whose place cannot be read stays, with a note for its reply.

    Raises what `Batch.step` raises.
    """
    numbers = [number for number, question in enumerate(questions) if looks_first(question)]
    asked = list(questions)
    if not numbers:
        return asked
    replies = yield from ask_first(batch, [_place_of(questions[n]) for n in numbers], should_stop)
    for number, reply in zip(numbers, replies, strict=True):
        region = _place(reply)
        asked[number] = (
            replace(asked[number], notes=(*asked[number].notes, NOT_FOUND)) if region is None
            else replace(asked[number], regions=(region,))
        )  # fmt: skip
    return asked


def ask_first(
    batch: Batch, questions: Sequence[Question], should_stop: ShouldStop | None = None
) -> Generator[Batch, None, list[Reply]]:
    """Ask what must be known before the questions proper, a step of the batch at a time; return the
    replies in order. Raises what `Batch.step` and `Admission.result` raise."""
    admission = batch.admit(questions, should_stop=should_stop)
    try:
        while not admission.done:
            yield batch
        return admission.result()
    finally:
        admission.leave()


def _place_of(question: Question) -> Question:
    return replace(question, task="locate", look_twice="off", regions=(), max_new_tokens=None,
                   choices=(), json_schema="")  # fmt: skip


def _place(reply: Reply) -> Region | None:
    """Return the box that a reply names; None: no or an unusable one."""
    boxes = [region for region in reply.answer.grounded if region.points_px]
    return None if not boxes or reply.answer.truncated else replace(boxes[0], label="")
