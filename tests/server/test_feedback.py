"""The feedback log: what is in it, its bounds, and what becomes of it where there is no room."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.feedback_events import (
    AnswerLine,
    FeedbackLine,
    FollowUpLine,
    RatingLine,
    now,
    read_line,
)
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RequestError
from chatspot_ros.server import feedback
from chatspot_ros.server.feedback import (
    Feedback,
    NotLoggedError,
    NotSavedError,
    RatingError,
    UnknownAnswerError,
)
from chatspot_ros.server.feedback_log import FeedbackFiles
from chatspot_ros.server.request import Picture, Query, QueryReply, new_answer_id
from chatspot_ros.server.settings import Settings

BOX = Region.box(0, 0, 32, 24)


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Files cannot grow further than this, as on a disk that is full then; Linux, no root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def picture(data: bytes | None = None) -> Picture:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    message = SimpleNamespace(format="png", data=encoded if data is None else data)
    return Picture(lambda: message, camera="front")


def reply(*regions: Region, seen: Picture | None = None, **query: Any) -> QueryReply:
    answers = [
        Answer("a mug", regions=(region,), confidence=0.5, task="read", id=new_answer_id())
        for region in regions or (BOX,)
    ]
    return QueryReply(
        Query(query.pop("question", "What is this?"), **query), id="q1", status="TIMEOUT",
        picture=seen or picture(), answers=answers, model="tiny", queued_s=0.1, seeing_s=0.2,
        answering_s=0.3,
    )  # fmt: skip


def lines(path: Path) -> list[FeedbackLine]:
    return [read_line(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def settings(path: Path, **changes: Any) -> Settings:
    return Settings(feedback_log=str(path), **changes)


def test_an_answer_its_rating_and_its_follow_up_are_in_the_log(path: Path) -> None:
    kept = Feedback(settings(path))
    first = reply(via="click", session="s")
    name = first.answers[0].id
    kept.note_reply(first)
    kept.rate(name, 2, "not a mug \ud800")
    again = reply(via="click", session="s")
    again.queued_s = again.seeing_s = again.answering_s = 0.0  # it came after the first reply
    kept.note_reply(again)
    kept.close()
    found = lines(path)
    answer = next(one for one in found if isinstance(one, AnswerLine))
    assert answer.answer_id == name
    assert (answer.via, answer.camera, answer.task, answer.text) == (
        "click", "front", "read", "a mug",
    )  # fmt: skip
    assert (answer.question, answer.region, answer.model) == ("What is this?", "box", "tiny")
    assert (answer.queued_s, answer.seeing_s, answer.answering_s) == (0.1, 0.2, 0.3)
    assert (answer.status, answer.confidence) == ("TIMEOUT", 0.5)
    assert answer.region_share == pytest.approx(0.25)
    assert answer.sharpness is not None
    assert answer.sharpness > 1000  # noise
    assert answer.light == pytest.approx(0.5, abs=0.05)
    (rating,) = (one for one in found if isinstance(one, RatingLine))
    assert (rating.answer_id, rating.rating, rating.comment) == (name, 2, "not a mug ?")
    (followed,) = (one for one in found if isinstance(one, FollowUpLine))
    assert (followed.answer_id, followed.kind) == (name, "asked_again")
    assert not list(path.parent.glob("*.pictures"))


def test_the_watch_list_and_detections_leave_no_traces_of_people(path: Path) -> None:
    kept = Feedback(settings(path))
    watched = reply(background=True)
    kept.note_reply(watched)
    for _ in range(2):
        kept.note_reply(reply(use_detections=True))
    with pytest.raises(UnknownAnswerError):
        kept.rate(watched.answers[0].id, 1, "")
    kept.close()
    assert [one.event for one in lines(path)] == ["answer", "answer"]


def test_what_cannot_be_rated_is_said(path: Path) -> None:
    kept = Feedback(settings(path))
    answered = reply()
    kept.note_reply(answered)
    name = answered.answers[0].id
    for rating, comment in ((0, ""), (6, ""), (255, ""), (3, "x" * 1001)):
        with pytest.raises(RatingError) as refused:
            kept.rate(name, rating, comment)
        assert refused.value.status == "BAD_RATING"
    for wrong in ("", "no such", name.upper() + "0"):
        with pytest.raises(UnknownAnswerError, match="newest 1000"):
            kept.rate(wrong, 3, "")
    with pytest.raises(NotLoggedError, match="feedback_log"):
        Feedback(Settings()).rate(name, 3, "")
    kept.close()
    assert [one.event for one in lines(path)] == ["answer"]


def test_only_the_newest_answers_are_remembered(path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(feedback, "REMEMBERED", 3)
    kept = Feedback(settings(path))
    old, new = reply(), reply(BOX, BOX, BOX)
    kept.note_reply(old)
    kept.note_reply(new)
    with pytest.raises(UnknownAnswerError):
        kept.rate(old.answers[0].id, 3, "")
    for answer in new.answers:
        kept.rate(answer.id, 3, "")
    kept.close()


def test_a_picture_that_cannot_be_read_costs_only_its_measures(path: Path) -> None:
    kept = Feedback(settings(path, feedback_pictures_mb=1))
    kept.note_reply(reply(seen=picture(b"no picture")))
    kept.close()
    (found,) = lines(path)
    assert isinstance(found, AnswerLine)
    assert (found.light, found.sharpness, found.region_share) == (None, None, None)


def test_the_files_rotate_within_their_bound(path: Path) -> None:
    files = FeedbackFiles(path, 0.02, 0)
    for number in range(500):
        files.write(RatingLine(time=now(), answer_id=str(number), rating=3, comment="x" * 50))
    files.close()
    there = sorted(path.parent.iterdir())
    assert [one.name for one in there] == ["log.jsonl", *(f"log.jsonl.{k}" for k in (1, 2, 3))]
    assert 10_000 < sum(one.stat().st_size for one in there) <= 20_000
    assert lines(path)[-1].answer_id == "499"


def test_no_room_is_said_and_nothing_is_written_later(path: Path) -> None:
    kept = Feedback(settings(path))
    answered = reply()
    kept.note_reply(answered)
    name = answered.answers[0].id
    kept.rate(name, 3, "before")
    kept.close()
    kept = Feedback(settings(path))
    kept.note_reply(reply())
    kept._rateable[name] = None
    with (
        files_of_at_most(path.stat().st_size + 40),
        pytest.raises(NotSavedError, match="make room"),
    ):
        kept.rate(name, 1, "in vain")
    kept.rate(name, 5, "after")
    kept.close()
    readable = []
    for line in path.read_bytes().splitlines():
        try:
            readable.append(read_line(line))
        except ValueError:
            assert b"in vain" not in line  # only its beginning found room
    assert [one.comment for one in readable if isinstance(one, RatingLine)] == ["before", "after"]


def test_a_cut_last_line_costs_only_itself(path: Path) -> None:
    path.write_text('{"event":"ra')
    files = FeedbackFiles(path, 1, 0)
    files.write(RatingLine(time=now(), answer_id="a", rating=3))
    files.close()
    cut, whole = path.read_text().splitlines()
    assert cut == '{"event":"ra'
    assert read_line(whole).answer_id == "a"


def test_pictures_are_kept_where_that_is_allowed_and_bounded(path: Path) -> None:
    kept = Feedback(settings(path, feedback_pictures_mb=1))
    answered = reply()
    kept.note_reply(answered)
    kept.close()
    (file,) = (path.parent / "log.jsonl.pictures").iterdir()
    assert file.stem == answered.answers[0].id
    assert cv2.imread(str(file)).shape == (24, 32, 3)
    # A file of somebody else's is not counted and not removed.
    (file.parent / "notes.txt").write_text("mine")
    files = FeedbackFiles(path, 1, 0.01)
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    names = [new_answer_id() for _ in range(12)]
    for name in names:
        files.keep(name, noise)
    files.close()
    there = [one for one in file.parent.iterdir() if one.suffix == ".jpg"]
    assert 2_000 < sum(one.stat().st_size for one in there) <= 10_000
    assert names[-1] in {one.stem for one in there}
    assert file not in there
    assert (file.parent / "notes.txt").exists()


@pytest.mark.parametrize("name", ["missing/log.jsonl", "."])
def test_a_log_that_cannot_be_is_refused_with_its_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="feedback_log"):
        Feedback(settings(tmp_path / name))


def test_without_a_log_nothing_is_done() -> None:
    off = Feedback(Settings())
    off.note_reply(reply())
    off.close()
    assert not off._writer.is_alive()
    assert not off._rateable
