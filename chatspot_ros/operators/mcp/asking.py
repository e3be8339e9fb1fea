"""The tools ask_region and watch: each returns its values and its picture."""

from __future__ import annotations

import contextlib
import json
from asyncio import sleep
from collections.abc import Sequence
from time import monotonic

from chatspot_ros.errors import ChatspotError, DeadlineError, NoImageError
from chatspot_ros.operators.client import OK, Answer, Ask, Frame, Reply
from chatspot_ros.operators.mcp.arguments import region_of
from chatspot_ros.operators.mcp.pictures import part_around, show_part
from chatspot_ros.operators.mcp.results import (
    AskResult,
    SeenPicture,
    WatchResult,
    seen_answer,
    seen_answers,
    seen_picture,
)
from chatspot_ros.operators.mcp.robot import Robot, Tell, is_answered
from chatspot_ros.operators.words import status_words

_DETECTIONS_S = 1.0
_NO_PICTURE = "the picture has not come here, so none is attached"


class NotAnsweredError(ChatspotError):
    """The robot did not answer; its own words say why and what to do."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(status_words(reply), value=None, remedy="")
        self.reply = reply

    def __str__(self) -> str:
        """Return the status in words, and the answers that were finished all the same."""
        done = [one.model_dump(mode="json") for one in seen_answers(self.reply.answers)]
        said = f"; finished: {json.dumps(done, ensure_ascii=False)}" if done else ""
        return f"not answered: {self.problem}{said}"


async def ask_region(
    robot: Robot,
    tell: Tell,
    question: str,
    regions: Sequence[Sequence[float]],
    *,
    camera: str = "",
    frame_name: str = "",
    task: str = "",
    use_detections: bool = False,
    session: str = "",
    timeout_s: float = 0.0,
) -> tuple[AskResult, bytes | None]:
    """Return the answers to a question about a frame: the named one, else the newest.

    Raises:
        ChatspotError: an argument cannot be used, or the robot did not answer.
    """
    began_s = monotonic()
    name = await robot.camera(camera)
    frame, stamp_ns = await _frame_of(robot, name, frame_name, use_detections)
    ask = Ask(
        question,
        regions=tuple(region_of(one, frame or robot.last(name)) for one in regions),
        camera=name,
        stamp_ns=stamp_ns,
        use_detections=use_detections,
        task=task,
        session=session,
        timeout_s=timeout_s,
    )
    reply = await robot.ask(ask, frame, tell)
    if reply.status != OK:
        raise NotAnsweredError(reply)
    # In a session that continues, the node takes the session's own frame.
    about = frame if frame is not None and frame.stamp_ns == reply.stamp_ns else None
    if about is None:
        about = robot.held_at(name, reply.stamp_ns)
    picture, jpeg = _shown(about, reply.answers)
    values = AskResult(
        answers=seen_answers(reply.answers),
        picture=picture,
        note="; ".join(one for one in (reply.message, "" if picture else _NO_PICTURE) if one),
        model=reply.model,
        seconds=round(monotonic() - began_s, 2),
    )
    return values, jpeg


async def _frame_of(
    robot: Robot, camera: str, frame_name: str, use_detections: bool
) -> tuple[Frame | None, int]:
    """Return the frame to ask about, if it is at hand, and its stamp in ns; 0: the node chooses."""
    if frame_name:
        stamp_ns, frame = robot.held(camera, frame_name)
        return frame, stamp_ns
    if use_detections:
        # Else the node takes the newest frame that has detections.
        with contextlib.suppress(NoImageError):
            frame = await robot.with_detections(camera, _DETECTIONS_S)
            if frame.detections_stamp_ns == frame.stamp_ns:
                return frame, frame.stamp_ns
        return None, 0
    frame = await robot.newest(camera)
    return frame, 0 if frame is None else frame.stamp_ns


def _shown(
    frame: Frame | None, answers: Sequence[Answer]
) -> tuple[SeenPicture | None, bytes | None]:
    if frame is None:
        return None, None
    about = [region for answer in answers for region in answer.regions]
    grounded = [region for answer in answers for region in answer.grounded]
    whole = any(not region.points_px for region in about)
    drawn = [region for region in about if region.points_px]
    part = part_around(frame.image_rgb, [] if whole else [*drawn, *grounded])
    shown = show_part(frame.image_rgb, about, grounded, part)
    return seen_picture(frame, shown), shown.jpeg


async def watch(
    robot: Robot,
    tell: Tell,
    question: str,
    region: Sequence[float],
    *,
    camera: str = "",
    task: str = "",
    until: str = "",
    every_s: float = 2.0,
    timeout_s: float = 60.0,
) -> tuple[WatchResult, bytes | None]:
    """Ask again and again until the answer changes, or is `until`, or the time is over.

    Raises:
        ChatspotError: an argument cannot be used, or the robot did not answer.
    """
    began_s = monotonic()
    name = await robot.camera(camera)
    watched = _Watched(until)
    frame: Frame | None = None
    while True:
        frame = await robot.newest(name)
        left_s = timeout_s - (monotonic() - began_s)
        if watched.looks and left_s <= 0:
            break
        ask = Ask(
            question,
            regions=(region_of(region, frame or robot.last(name)),) if region else (),
            camera=name,
            stamp_ns=0 if frame is None else frame.stamp_ns,
            task=task,
            # The robot's own limit where it is shorter; the last look may not be cut short.
            timeout_s=0.0,
        )
        reply = await robot.ask(ask, frame, tell)
        if not is_answered(reply):
            raise NotAnsweredError(reply)
        if watched.take(reply.answers[0]):
            break
        left_s = timeout_s - (monotonic() - began_s)
        if left_s <= 0:
            break
        await tell(f"look {watched.looks}: {_words(reply.answers[0])}")
        # A change is looked at again at once.
        await sleep(0.0 if watched.is_in_doubt else min(every_s, left_s))
    if watched.now is None or watched.before is None:
        raise DeadlineError("no look was done", value=f"{timeout_s} s", remedy="give more time")
    picture, jpeg = _shown(frame, (watched.now,))
    values = WatchResult(
        changed=watched.has_changed,
        before=seen_answer(watched.before, 1),
        now=seen_answer(watched.now, 1),
        looks=watched.looks,
        seconds=round(monotonic() - began_s, 2),
        picture=picture,
    )
    return values, jpeg


class _Watched:
    """What the looks have said so far."""

    def __init__(self, until: str) -> None:
        self._until = _plain(until)
        self.looks = 0
        self.before: Answer | None = None
        self.now: Answer | None = None
        self.has_changed = self.is_in_doubt = False

    def take(self, answer: Answer) -> bool:
        """Take the newest answer; return True when the wait is over: two looks agree on it."""
        self.looks += 1
        before, last, self.now = self.before, self.now, answer
        if answer.uncertain or answer.truncated:
            self.before = before or answer
            self.is_in_doubt = False
            return False
        if before is None or before.uncertain or before.truncated:
            before = self.before = answer
        said = _said(answer)
        is_news = self._until in said if self._until else said != _said(before)
        agrees = bool(self._until) or (last is not None and _said(last) == said)
        if is_news and self.is_in_doubt and agrees:
            self.has_changed = True
            return True
        self.is_in_doubt = is_news
        return False


def _said(answer: Answer) -> frozenset[str]:
    """Return what an answer says, to compare it: the values of its state, else its text."""
    values = [f"{key}: {value}" for key, value in answer.state.items()]
    values += answer.state.values() or [answer.text]
    return frozenset(map(_plain, values))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")


def _words(answer: Answer) -> str:
    return ", ".join(f"{key} = {value}" for key, value in answer.state.items()) or answer.text
