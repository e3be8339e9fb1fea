"""Notices that somebody asks again, or draws the region anew, right after an answer. No ROS."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz.fuzz import ratio

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.boxes import iou
from chatspot_ros.core.feedback_events import FollowUpKind
from chatspot_ros.core.regions import BoxXyxy, Region, RegionKind

WITHIN_S = 10.0
BY_HAND_S = 0.5  # nobody draws a region sooner: a program asks about several
SAME_PLACE_IOU = 0.8
SIMILAR_WORDS = 60.0  # per cent of the letters, of which the same words have 100
SAME_WORDS = 95.0
POINT_SIDE_PX = 40.0  # of the box that a point stands for
_CALLERS = 100
_TYPED = re.compile(r"<box>[^<]*</box>")


@dataclass(frozen=True)
class _Asked:
    question: str
    answers: tuple[Answer, ...]
    ended_s: float


@dataclass(frozen=True)
class FollowUp:
    """An answer that was followed, how, and after how many seconds."""

    answer_id: str
    kind: FollowUpKind
    after_s: float


class FollowUps:
    """Compares each request with the one before it of the same caller. Thread-safe.

    A caller is whatever `caller` says, such as the way, the session and the camera of a request:
    ROS 2 does not tell who asked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[Hashable, _Asked] = OrderedDict()

    def note(
        self,
        caller: Hashable,
        question: str,
        answers: Sequence[Answer],
        began_s: float,
        ended_s: float,
    ) -> list[FollowUp]:
        """Store a request from its arrival to its reply (monotonic seconds); return which answers
        of the request before it was a follow-up of."""
        words = _TYPED.sub("<region>", question.casefold()).split()
        asked = _Asked(" ".join(words), tuple(answers), ended_s)
        with self._lock:
            before = self._last.pop(caller, None)
            self._last[caller] = asked
            if len(self._last) > _CALLERS:
                self._last.popitem(last=False)
        after_s = began_s - before.ended_s if before is not None else -1.0
        if before is None or not 0 <= after_s <= WITHIN_S:
            return []
        return [
            FollowUp(one.id, kind, after_s)
            for one, kind in _followed(before, asked)
            if kind == "asked_again" or after_s >= BY_HAND_S
        ]


def _followed(before: _Asked, asked: _Asked) -> Iterator[tuple[Answer, FollowUpKind]]:
    alike = ratio(before.question, asked.question)
    if alike < SIMILAR_WORDS:
        return
    for one in before.answers:
        kinds = {_kind(one.regions, new.regions, alike) for new in asked.answers}
        if "asked_again" in kinds:
            yield one, "asked_again"
        elif "another_region" in kinds:
            yield one, "another_region"


def _kind(old: Sequence[Region], new: Sequence[Region], alike: float) -> FollowUpKind | None:
    if tuple(one.points_px for one in old) == tuple(one.points_px for one in new):
        return "asked_again"
    if len(old) != 1 or len(new) != 1:
        return None
    (a, b) = (_box(old[0]), _box(new[0]))
    if a is None or b is None:
        return None
    if iou(a, b) >= SAME_PLACE_IOU:
        return "asked_again"
    return "another_region" if iou(a, b) > 0 and alike >= SAME_WORDS else None


def _box(region: Region) -> BoxXyxy | None:
    """Return the bounds of a region; of a point those of a square around it; of an image None."""
    if region.kind is RegionKind.IMAGE:
        return None
    x1, y1, x2, y2 = region.box_xyxy_px
    half = POINT_SIDE_PX / 2 if region.kind is RegionKind.POINT else 0.0
    return x1 - half, y1 - half, x2 + half, y2 + half
