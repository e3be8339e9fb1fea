"""Checks of a written dialogue: pure functions from text to accepted turns and faults."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shapely.geometry import Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from chatspot_ros.core.prompts import control_strings, neutralise
from chatspot_ros.core.regions import MAX_CORNERS, REGION_MARK, Region, RegionKind
from chatspot_ros.errors import RegionError, shorten
from chatspot_train.data.augment_text import follows_up
from chatspot_train.data.records import RecordTurn
from chatspot_train.data.region_chat.annotations import Annotated

MIN_IOU = 0.5
_FORBIDDEN = (
    *control_strings(),
    REGION_MARK,
    "<point>",
    "</point>",
    "<|",
    "|>",
    "[INST]",
    "[/INST]",
)
_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_TAGGED = re.compile(r"<(box|point)>(.*?)</\1>", re.DOTALL)
_TAG = re.compile(r"</?(box|point)>")
_SEPARATORS = re.compile(r"[\s,;()\[\]]+")
_BARE_NUMBERS = re.compile(r"[01]?\.\d+[\s,;()]+[01]?\.\d+|[\[(]\s*\d+\s*,\s*\d+\s*[,\])]")


class Reason(StrEnum):
    """Why a turn, or a whole reply, is rejected."""

    NOT_JSON = "the reply is not JSON"
    NOT_A_LIST = "the reply is not a list of turns"
    NOT_A_TURN = "a turn has not a question and an answer as text"
    NO_QUESTION = "the question is empty"
    NO_ANSWER = "the answer is empty"
    NO_COORDINATES = "the question points at no region"
    BAD_COORDINATES = "the coordinates cannot be read"
    OUTSIDE = "the region is not inside the picture"
    NOT_ANNOTATED = "nothing is annotated at the region"
    COORDINATES_IN_WORDS = "there are coordinates outside a region"
    CONTROL_STRING = "there is a control string in the text"
    LEANS_ON_DROPPED = "the turn leans on one that was dropped"


@dataclass(frozen=True)
class Fault:
    """A fault of turn number `turn` of a reply (from 0; None: of the whole reply)."""

    reason: Reason
    detail: str
    turn: int | None = None


class TurnError(ValueError):
    """A turn is rejected."""

    def __init__(self, reason: Reason, detail: object) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, shorten(detail)


@dataclass(frozen=True)
class Checked:
    """The accepted turns of a reply, and its faults."""

    turns: tuple[RecordTurn, ...]
    faults: tuple[Fault, ...]


def check_reply(text: str, picture: Annotated) -> Checked:
    """Parse a reply and check its turns; drop a turn that depends on a dropped one."""
    try:
        raw_turns = _parse(text)
    except TurnError as error:
        return Checked((), (Fault(error.reason, error.detail),))
    turns: list[RecordTurn] = []
    faults: list[Fault] = []
    dropped = False
    for k, raw in enumerate(raw_turns):
        try:
            turn = check_turn(raw, picture)
            if dropped and follows_up(turn):
                raise TurnError(Reason.LEANS_ON_DROPPED, turn.question)
        except TurnError as error:
            faults.append(Fault(error.reason, error.detail, k))
            dropped = True
            continue
        dropped = False
        turns.append(turn)
    return Checked(tuple(turns), tuple(faults))


def check_turn(raw: Any, picture: Annotated) -> RecordTurn:
    """Return the turn with regions in pixels and a `<region>` for each. Raises TurnError."""
    said = raw if isinstance(raw, dict) else {}
    question, answer = said.get("question"), said.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str):
        raise TurnError(Reason.NOT_A_TURN, raw)
    question, answer = " ".join(question.split()), " ".join(answer.split())
    if not _TAGGED.sub("", question).strip(" ?.!,"):
        raise TurnError(Reason.NO_QUESTION, repr(question))
    if not answer:
        raise TurnError(Reason.NO_ANSWER, question)
    words = _TAGGED.split(question)
    rest = "".join(words[::3])
    if _TAG.search(rest):
        raise TurnError(Reason.BAD_COORDINATES, question)
    if _TAG.search(answer) or _BARE_NUMBERS.search(answer) or _BARE_NUMBERS.search(rest):
        raise TurnError(Reason.COORDINATES_IN_WORDS, f"{question} {answer}")
    for text in (rest, answer):
        if neutralise(text, _FORBIDDEN) != text:
            raise TurnError(Reason.CONTROL_STRING, repr(text))
    regions = tuple(_region(kind, inner, picture)
                    for kind, inner in zip(words[1::3], words[2::3], strict=True))  # fmt: skip
    if not regions:
        raise TurnError(Reason.NO_COORDINATES, question)
    return RecordTurn(_TAGGED.sub(REGION_MARK, question), answer, regions)


def _parse(text: str) -> Sequence[Any]:
    """Return the turns of a JSON reply, with or without a code fence. Raises TurnError."""
    fenced = _FENCE.match(text)
    try:
        found = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError) as error:
        raise TurnError(Reason.NOT_JSON, f"{error}: {text}") from error
    if isinstance(found, dict):
        found = found.get("turns", found.get("dialogue"))
    if not isinstance(found, list) or not found:
        raise TurnError(Reason.NOT_A_LIST, text)
    return found


def _region(kind: str, inner: str, picture: Annotated) -> Region:
    """Return the region of 2 (point), 4 (box) or more (polygon) numbers, fractions of the image.

    Raises TurnError.
    """
    try:
        numbers = [float(word) for word in _SEPARATORS.split(inner) if word]
    except ValueError as error:
        raise TurnError(Reason.BAD_COORDINATES, inner) from error
    if not numbers or len(numbers) % 2 or (kind == "point" and len(numbers) != 2):
        raise TurnError(Reason.BAD_COORDINATES, inner)
    if not all(0 <= number <= 1 for number in numbers):
        raise TurnError(Reason.OUTSIDE, inner)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    points = tuple((round(x * picture.width, 2), round(y * picture.height, 2)) for x, y in pairs)
    try:
        region = Region(points).clipped(picture.width, picture.height, MAX_CORNERS)
    except RegionError as error:
        raise TurnError(Reason.BAD_COORDINATES, f"{error.problem}: {inner}") from error
    if not any(_is_about(region, one) for one in picture.boxes):
        raise TurnError(Reason.NOT_ANNOTATED, inner)
    return region


def _is_about(region: Region, annotated: Region) -> bool:
    """Return True if a point lies in the annotated box, or the IoU with it is at least MIN_IOU."""
    target = box(*annotated.box_xyxy_px)
    if region.kind is RegionKind.POINT:
        return bool(target.covers(Point(region.points_px[0])))
    shape: BaseGeometry = (
        box(*region.box_xyxy_px) if region.kind is RegionKind.BOX else Polygon(region.points_px)
    )
    common = shape.intersection(target).area
    return bool(common >= MIN_IOU * (shape.area + target.area - common))
