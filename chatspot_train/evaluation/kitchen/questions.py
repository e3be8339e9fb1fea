"""Questions about an unseen kitchen, with the truth that judges the answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chatspot_ros.core.boxes import iou
from chatspot_ros.core.regions import Region
from chatspot_sim.asking import Asker, KitchenQuestion
from chatspot_sim.judging import judge, kinds_named
from chatspot_sim.questions import KINDS, draw_dialogue
from chatspot_sim.truth import Box, Truth
from chatspot_sim.wordings import Wordings
from chatspot_train.data.noisy_boxes import noisy_box
from chatspot_train.evaluation.metrics.text import denies
from chatspot_train.evaluation.suite import AskedTurn, Prediction

SHAPES = ("box", "point", "polygon")
REGION_NOISE = 1.0  # as in training: corners off by up to about 5 % of the box
BOX_NOISE = 0.3
OVERLAP = 0.5
EXACT_ROW, NOISY_ROW = "name_box_exact", "name_box_noise_03"
_RNG_KEY = 424


def kitchen_questions(
    truth: Truth, number: int, wordings: Wordings, seed: int = 0
) -> Iterator[tuple[str, list[KitchenQuestion]]]:
    """Yield one dialogue of every kind about kitchen `number`, with its row.

    Things are named once with each kind of region, and one thing twice: by its exact box and by a
    box moved by BOX_NOISE.
    """
    rng = np.random.default_rng([number, _RNG_KEY, seed])
    for kind in KINDS:
        for shape in SHAPES if kind == "name" else ("",):
            dialogue = draw_dialogue(truth, kind, rng, wordings, noise=REGION_NOISE, shape=shape)
            if dialogue:
                yield f"name_{shape}" if kind == "name" else kind, dialogue
    ask = Asker(truth, rng, wordings)
    thing = ask.pick(ask.asked_things())
    if thing is not None:
        wording = ask.word("name")
        for row, scale in ((EXACT_ROW, 0.0), (NOISY_ROW, BOX_NOISE)):
            box = noisy_box(thing.box_xyxy_px, scale, truth.width, truth.height, rng)
            question = KitchenQuestion("name", wording, "", (Region.box(*box),), thing.name,
                                       thing=thing.id)  # fmt: skip
            yield row, [question]


def asked_turns(dialogue: list[KitchenQuestion]) -> tuple[AskedTurn, ...]:
    """Return the dialogue as turns of an item."""
    return tuple(AskedTurn(q.question, q.regions, q.task) for q in dialogue)


def truth_of(row: str, number: int, asked: KitchenQuestion, truth: Truth) -> dict[str, Any]:
    """Return the truth of a question as JSON values; boxes in pixels.

    `overlapping` are the names of other kinds of things whose boxes overlap the asked thing's with
    IoU > 0.5.
    """
    return {
        "row": row, "kitchen": number, "split": truth.split, "kind": asked.kind,
        "answer": asked.answer, "size": [truth.width, truth.height],
        "box": None if asked.box_xyxy_px is None else list(asked.box_xyxy_px),
        "overlapping": _overlapping(asked, truth),
    }  # fmt: skip


def _overlapping(asked: KitchenQuestion, truth: Truth) -> list[str]:
    thing = next((t for t in truth.things if t.id == asked.thing), None)
    if thing is None:
        return []
    return sorted({
        t.name for t in truth.things
        if t.name != thing.name and iou(t.box_xyxy_px, thing.box_xyxy_px) > OVERLAP
    })  # fmt: skip


def is_right(prediction: Prediction) -> bool:
    """True if the answer is right by its truth; False for a missing answer."""
    if prediction.error:
        return False
    told = prediction.truth
    box: Box | None = None
    if told["box"] is not None:
        x1, y1, x2, y2 = map(float, told["box"])
        box = (x1, y1, x2, y2)
    asked = KitchenQuestion(told["kind"], prediction.question, "", (), told["answer"], box)
    width, height = told["size"]
    return judge(asked, prediction.text, width, height, prediction.boxes_xyxy_px)


def names_neighbour(prediction: Prediction) -> bool:
    """True if the answer names an overlapping thing of another kind."""
    return bool(kinds_named(prediction.text) & set(prediction.truth["overlapping"]))


def says_absent(prediction: Prediction) -> bool:
    """True if the answer denies the thing's presence and has no box."""
    return not prediction.boxes_xyxy_px and denies(prediction.text)


def is_absent(prediction: Prediction) -> bool:
    """True if the thing is absent in truth."""
    return denies(prediction.truth["answer"])
