"""The simulated kitchen: what is asked of each unseen picture, and the rows that come of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from chatspot_ros.engine.api import Question, Turn
from chatspot_ros.engine.engine import Engine
from chatspot_ros.regions import Region
from chatspot_sim.judging import iou, judge, kinds_named
from chatspot_sim.kitchen import Split, draw_kitchen
from chatspot_sim.questions import KINDS, Asker, KitchenQuestion, draw_dialogue
from chatspot_sim.truth import Box, Truth
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import Wordings
from chatspot_sim.world import World
from chatspot_train.suites.boxes import noisy_box
from chatspot_train.suites.scores import Row, drop, f1, share

SHAPES = ("box", "point", "polygon")
REGION_NOISE = 1.0  # as in training: corners off by up to about 5 % of the box
BOX_NOISE = 0.3
OVERLAP = 0.5
EXACT_ROW, NOISY_ROW = "name_box_exact", "name_box_noise_03"


@dataclass(frozen=True)
class Prediction:
    """One asked question. `named_neighbour`: a wrong answer names a thing whose box overlaps the
    asked one with IoU > 0.5."""

    row: str
    seed: int
    question: str
    regions: list[Any]
    answer: str
    truth: str
    right: bool
    confidence: float
    seconds: float
    named_neighbour: bool = False


def kitchen_questions(
    truth: Truth, seed: int, wordings: Wordings
) -> Iterator[tuple[str, list[KitchenQuestion]]]:
    """One dialogue of every kind on one picture, naming once with each kind of region, and one
    thing named twice: by its exact box and by one moved by BOX_NOISE."""
    rng = np.random.default_rng([seed, 424])
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


def evaluate_kitchens(
    engine: Engine,
    split: Split,
    kitchens: int,
    wordings: Wordings = TEST,
    file: Path | None = None,
) -> list[Prediction]:
    """Ask about the first `kitchens` kitchens of a split, one fresh picture of each.

    With `file` every prediction is kept there as a JSON line; kitchens it already holds are not
    asked again.
    """
    known = read_predictions(file) if file is not None and file.exists() else []
    done = {p.seed for p in known}
    predictions = [p for p in known if p.seed < kitchens]
    for seed in tqdm(range(kitchens), desc=f"{split} kitchens"):
        if seed in done:
            continue
        with World(draw_kitchen(seed, split)) as world:
            frame = world.frame(measure_visibility=True)
        scene = engine.prepare(frame.rgb)
        asked = [
            _ask(engine, scene, frame.truth, row, dialogue, seed)
            for row, dialogue in kitchen_questions(frame.truth, seed, wordings)
        ]
        predictions += asked
        if file is not None:
            # One write a kitchen: a killed run leaves whole kitchens.
            with file.open("a", encoding="utf-8") as lines:
                lines.write("".join(json.dumps(asdict(p)) + "\n" for p in asked))
    return predictions


def read_predictions(file: Path) -> list[Prediction]:
    """The predictions of a file; the kitchen of a line that was cut is left out, to be asked anew,
    and the file is rewritten without it."""
    whole: list[Prediction] = []
    cut = False
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            whole.append(Prediction(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            cut = True
    if cut:
        last = whole[-1].seed if whole else -1
        whole = [p for p in whole if p.seed != last]
        file.write_text("".join(json.dumps(asdict(p)) + "\n" for p in whole), encoding="utf-8")
    return whole


def _ask(
    engine: Engine, scene: Any, truth: Truth, row: str, dialogue: list[KitchenQuestion], seed: int
) -> Prediction:
    """Ask a dialogue; its last answer counts."""
    turns: list[Turn] = []
    for question in dialogue:
        asked = Question(question.question, question.regions, question.task, tuple(turns))
        reply = engine.answer(scene, asked)
        turns.append(Turn(reply.prompt, reply.raw_text))
    last, text = dialogue[-1], reply.answer.text
    boxes: list[Box] = [region.box_xyxy_px for region in reply.answer.grounded]
    right = judge(last, text, truth.width, truth.height, boxes)
    neighbour = last.kind == "name" and not right and _names_neighbour(text, last, truth)
    return Prediction(
        row, seed, last.question, [list(r.points_px) for r in last.regions], text,
        last.answer or f"box {last.box_xyxy_px}", right, reply.answer.confidence, reply.seconds,
        neighbour,
    )  # fmt: skip


def _names_neighbour(text: str, question: KitchenQuestion, truth: Truth) -> bool:
    asked = next(t for t in truth.things if t.id == question.thing)
    named = kinds_named(text)
    return any(
        t.name in named and t.id != asked.id and iou(t.box_xyxy_px, asked.box_xyxy_px) > OVERLAP
        for t in truth.things
    )


def rows(predictions: Sequence[Prediction]) -> dict[str, Row]:
    """The table: the share right of every kind of question, and what is drawn from several.

    `absent_f1`: F1 of saying that a thing is absent, over all questions whether it is there and
    where it is; `noise_drop_03`: accuracy lost between exact boxes and ones moved by 0.3 of their
    sides; `hallucination`: share of named boxes where a wrong answer names a thing whose box
    overlaps the asked one with IoU > 0.5 (paper, Table 3).
    """
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        groups[prediction.row].append(prediction)
    found = {row: share([p.right for p in group]) for row, group in sorted(groups.items())}
    there = groups["is_there"] + groups["locate"]
    if there:
        denied = [_denies(p.answer) for p in there]
        found["absent_f1"] = f1(denied, [_denies(p.truth) for p in there])
    exact, noisy = groups[EXACT_ROW], groups[NOISY_ROW]
    if exact and len(exact) == len(noisy):
        found["noise_drop_03"] = drop([p.right for p in exact], [p.right for p in noisy])
    boxes = groups["name_box"] + exact
    if boxes:
        found["hallucination"] = share([p.named_neighbour for p in boxes])
    return found


def _denies(text: str) -> bool:
    return text.lower().startswith(("no", "there is no"))
