"""Logs answers, their ratings and their follow-ups, for `chatspot feedback`. No ROS.

Off unless the parameter feedback_log names a file. Pictures are measured, and answers written, in
a thread of its own: neither the model's thread nor the executor's waits for it. A rating is written
before its caller hears OK.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.feedback_events import (
    MAX_COMMENT_CHARS,
    AnswerLine,
    FollowUpLine,
    RatingLine,
    now,
    plain,
)
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError, ImageError, RequestError
from chatspot_ros.images.region_quality import bounds, measure
from chatspot_ros.server.feedback_log import FeedbackFiles
from chatspot_ros.server.follow_ups import FollowUps
from chatspot_ros.server.request import QueryReply
from chatspot_ros.server.settings import Settings

REMEMBERED = 1000  # answers that can still be rated
WAITING = 16  # replies, each with its picture, that may wait to be measured
_WARN_AGAIN_S = 30.0
_CLOSING_S = 2.0
_log = logging.getLogger(__name__)


class RatingError(ChatspotError):
    """A rating cannot be taken. `status` names a constant of RateAnswer."""

    status = "BAD_RATING"


class UnknownAnswerError(RatingError):
    """No answer with this id is remembered."""

    status = "UNKNOWN_ANSWER"


class NotLoggedError(RatingError):
    """There is no log to write a rating into."""

    status = "NOT_LOGGED"


class NotSavedError(RatingError):
    """The log could not be written."""

    status = "NOT_SAVED"


class Feedback:
    """Takes replies and ratings, from any thread."""

    def __init__(self, settings: Settings) -> None:
        """Raises RequestError if the log cannot be written to."""
        self._files = _open(settings) if settings.feedback_log else None
        self._follow_ups = FollowUps()
        self._lock = threading.Lock()
        self._rateable: OrderedDict[str, None] = OrderedDict()
        self._replies: queue.Queue[tuple[QueryReply, float] | None] = queue.Queue(WAITING)
        self._warned_s = -_WARN_AGAIN_S
        self._writer = threading.Thread(target=self._write_all, name="feedback", daemon=True)
        if self._files is not None:
            self._writer.start()

    def note_reply(self, reply: QueryReply) -> None:
        """Log the answers of a reply, those of background queries left out. Never raises."""
        if self._files is None or reply.query.background or not reply.answers:
            return
        with self._lock:
            self._rateable.update(dict.fromkeys(answer.id for answer in reply.answers))
            while len(self._rateable) > REMEMBERED:
                self._rateable.popitem(last=False)
        try:
            self._replies.put_nowait((reply, time.monotonic()))
        except queue.Full:
            self._warn(f"{WAITING} replies wait to be logged; the answers of {reply.id} are not")

    def rate(self, answer_id: str, rating: int, comment: str) -> None:
        """Write a rating into the log.

        Raises:
            RatingError: not from 1 to 5, or too long a comment.
            UnknownAnswerError, NotLoggedError, NotSavedError: see there.
        """
        if self._files is None:
            raise NotLoggedError(
                "the node keeps no log of answers", value="",
                remedy="start it with the parameter feedback_log",
            )  # fmt: skip
        if not 1 <= rating <= 5:
            raise RatingError(
                "the rating is not from 1 to 5", value=rating, remedy="give 1 (bad) to 5 (good)"
            )
        if len(comment) > MAX_COMMENT_CHARS:
            raise RatingError(
                f"the comment is longer than {MAX_COMMENT_CHARS} characters",
                value=f"{len(comment)} characters", remedy="shorten it",
            )  # fmt: skip
        with self._lock:
            known = answer_id in self._rateable
        if not known:
            raise UnknownAnswerError(
                "no answer with this id can be rated", value=answer_id,
                remedy=f"give answer_id of one of the node's newest {REMEMBERED} answers, "
                "the watch list's left out",
            )  # fmt: skip
        line = RatingLine(time=now(), answer_id=answer_id, rating=rating, comment=plain(comment))
        try:
            self._files.write(line)
        except OSError as error:
            raise NotSavedError(
                f"the rating could not be written: {error.strerror or error}", value=answer_id,
                remedy="make room for the file that feedback_log names, and rate again",
            ) from error  # fmt: skip

    def close(self) -> None:
        """Write what waits, for at most two seconds."""
        if self._files is None or not self._writer.is_alive():
            return
        try:
            self._replies.put(None, timeout=_CLOSING_S)
        except queue.Full:
            return
        self._writer.join(_CLOSING_S)
        if not self._writer.is_alive():
            self._files.close()

    def _write_all(self) -> None:
        """Write replies until None comes. The thread's own function."""
        while (one := self._replies.get()) is not None:
            reply, ended_s = one
            try:
                self._write(reply, ended_s)
            except OSError as error:
                self._warn(f"an answer could not be logged: {error.strerror or error}")
            except Exception:
                _log.exception("%s could not be logged", reply.id)

    def _write(self, reply: QueryReply, ended_s: float) -> None:
        files, query = self._files, reply.query
        if files is None:
            return
        image_rgb = _pixels(reply)
        for answer in reply.answers:
            files.write(_line(reply, answer, image_rgb))
            if image_rgb is not None and files.keeps_pictures:
                files.keep(answer.id, _cut(image_rgb, answer))
        if query.use_detections:  # nobody drew these regions
            return
        began_s = ended_s - reply.queued_s - reply.seeing_s - reply.answering_s
        camera = reply.picture.camera if reply.picture else query.camera
        caller = (query.via, query.session, camera)
        for found in self._follow_ups.note(caller, query.question, reply.answers, began_s, ended_s):
            files.write(
                FollowUpLine(time=now(), answer_id=found.answer_id, kind=found.kind,
                             after_s=found.after_s)
            )  # fmt: skip

    def _warn(self, text: str) -> None:
        if time.monotonic() - self._warned_s >= _WARN_AGAIN_S:
            self._warned_s = time.monotonic()
            _log.warning(text)


def _open(settings: Settings) -> FeedbackFiles:
    path = Path(settings.feedback_log).expanduser()
    try:
        return FeedbackFiles(path, settings.feedback_log_mb, settings.feedback_pictures_mb)
    except OSError as error:
        raise RequestError(
            f"the feedback log cannot be written: {error.strerror or error}", value=str(path),
            remedy="set the parameter feedback_log to a file in a folder that can be written to",
        ) from error  # fmt: skip


def _pixels(reply: QueryReply) -> RgbImage | None:
    """Return the pixels of a reply's picture; None if there are none."""
    try:
        # The request was within the limit, or it would have no answers.
        return None if reply.picture is None else reply.picture.rgb(sys.maxsize)
    except ImageError:
        return None


def _cut(image_rgb: RgbImage, answer: Answer) -> RgbImage:
    """Return the part of the picture that holds all regions of an answer."""
    height, width = image_rgb.shape[:2]
    regions = answer.regions or (Region.image(),)
    boxes = [bounds(region, (width, height)) for region in regions]
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return image_rgb[min(tops) : max(bottoms), min(lefts) : max(rights)]


def _line(reply: QueryReply, answer: Answer, image_rgb: RgbImage | None) -> AnswerLine:
    query = reply.query
    quality = None if image_rgb is None else measure(image_rgb, answer.regions)
    return AnswerLine(
        time=now(),
        answer_id=answer.id,
        via=query.via,
        camera=plain(reply.picture.camera if reply.picture else query.camera),
        question=plain(query.question),
        task=answer.task,
        text=plain(answer.text),
        status=reply.status,
        region=str(answer.regions[0].kind) if answer.regions else "image",
        region_share=None if quality is None else quality.share,
        sharpness=None if quality is None else quality.sharpness,
        light=None if quality is None else quality.light,
        model=plain(reply.model),
        queued_s=max(reply.queued_s, 0.0),
        seeing_s=max(reply.seeing_s, 0.0),
        answering_s=max(reply.answering_s, 0.0),
        confidence=answer.confidence,
        uncertain=answer.uncertain,
        truncated=answer.truncated,
    )
