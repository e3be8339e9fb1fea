"""Judge an answer by the truth of the kitchen."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatspot_ros.core.boxes import iou
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.kitchen import THING_KINDS, plural
from chatspot_sim.truth import Box

LOCATE_IOU = 0.5
SCENE_F1 = 0.75
_BOX = re.compile(r"<box>([^<]*)</box>")


def judge(
    question: KitchenQuestion,
    text: str,
    width: int,
    height: int,
    boxes: Sequence[Box] | None = None,
) -> bool:
    """Return True if `text` answers the question correctly.

    `boxes` are the answer's boxes in pixels of the width x height picture; without them they are
    read from `<box>` fractions in the text. A box is right if its IoU exceeds 0.5; a description
    of the picture if the F1 of the kinds that it names is at least 0.75; a description of one
    thing if it contains all facts; every other answer if its words are the same.
    """
    if question.box_xyxy_px is not None:
        found = boxes if boxes is not None else _boxes(text, width, height)
        return len(found) > 0 and iou(found[0], question.box_xyxy_px) > LOCATE_IOU
    said, true = _words(text), _words(question.answer)
    if question.kind == "scene":
        return _f1(_kinds(said), _kinds(true)) >= SCENE_F1
    if question.kind == "describe":
        facts = [_words(fact) for fact in question.answer.split(",")]
        return _subset(said, facts) and _kinds(said) == _kinds(true)
    if question.kind in ("yes_no", "is_there") and true[:1] in (["yes"], ["no"]):
        return said[:1] == true[:1]
    if question.kind == "yes_no":  # it offered both values
        return _facts(question.answer) <= _facts(text)
    if question.kind == "state":
        return _facts(text) == _facts(question.answer)
    if question.answer.startswith("there is no"):
        return "no" in said and not (boxes or _BOX.search(text))
    return _bare(said) == _bare(true)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9_]+", text.lower())


def _bare(words: list[str]) -> list[str]:
    return [word for word in words if word not in ("a", "an", "the")]


def _facts(text: str) -> set[tuple[str, ...]]:
    return {tuple(_words(fact)) for fact in text.split(",") if _words(fact)}


def _subset(said: list[str], facts: list[list[str]]) -> bool:
    """Return True if the words of each fact occur together."""
    joined = f" {' '.join(said)} "
    return all(f" {' '.join(_bare(fact))} " in joined for fact in facts)


def kinds_named(text: str) -> set[str]:
    """Return the kinds of things that a text names, in the singular."""
    return _kinds(_words(text))


def _kinds(words: list[str]) -> set[str]:
    singular = {plural(kind): kind for kind in THING_KINDS}
    return {singular.get(word, word) for word in words} & set(THING_KINDS)


def _f1(said: set[str], true: set[str]) -> float:
    return 2 * len(said & true) / max(1, len(said) + len(true))


def _boxes(text: str, width: int, height: int) -> list[Box]:
    found: list[Box] = []
    for match in _BOX.finditer(text):
        numbers = [float(word) for word in re.findall(r"\d*\.?\d+", match[1])]
        if len(numbers) == 4:
            x1, y1, x2, y2 = numbers
            found.append((x1 * width, y1 * height, x2 * width, y2 * height))
    return found
