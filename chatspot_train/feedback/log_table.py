"""Reads a feedback log into a table: one row an answer, one array a factor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.feedback_events import (
    AT_MOST_BAD,
    AnswerLine,
    FollowUpLine,
    RatingLine,
    read_line,
)
from chatspot_ros.errors import ChatspotError, shorten

Numbers = NDArray[np.float64]
Names = NDArray[np.str_]
Flags = NDArray[np.bool_]
PARTS_OF_DAY = ("night", "morning", "afternoon", "evening")  # of six hours each, from midnight
OTHER = "(other)"
SHORT = "short"  # the task of short answers, which has no name
_MOST_LEVELS = 12
_LEAST_OF_LEVEL = 0.02  # of the answers
_OLDER_FILES = 9


class LogError(ChatspotError):
    """A feedback log cannot be read, or holds too little."""


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer with its last rating (None: not rated), the comment and its follow-ups' kinds."""

    line: AnswerLine
    rating: int | None = None
    comment: str = ""
    follow_ups: tuple[str, ...] = ()


@dataclass
class FeedbackLog:
    """The answers of a log, oldest first. `damaged` lines could not be read; `strays` are ratings
    and follow-ups of answers that are no longer in the log."""

    answers: list[JudgedAnswer] = field(default_factory=list)
    damaged: int = 0
    strays: int = 0


@dataclass(frozen=True)
class Table:
    """Columns of one length. `numbers`: light (0 to 1), and the natural logarithms of sharpness,
    region_share and seconds. `names`: task, model, camera, part_of_day. `rating` is 0 where an
    answer was not rated. Answers without a measured picture are left out: `unmeasured` counts
    them."""

    numbers: dict[str, Numbers]
    names: dict[str, Names]
    rating: NDArray[np.int64]
    followed: Flags
    unmeasured: int = 0

    @property
    def rated(self) -> Flags:
        """Which answers were rated."""
        return self.rating > 0

    @property
    def bad(self) -> Flags:
        """Which answers were rated 1 or 2."""
        return self.rated & (self.rating <= AT_MOST_BAD)

    def where(self, chosen: Flags) -> Table:
        """Return the table of some answers."""
        return Table(
            {name: column[chosen] for name, column in self.numbers.items()},
            {name: column[chosen] for name, column in self.names.items()},
            self.rating[chosen],
            self.followed[chosen],
        )


def read_log(path: Path) -> FeedbackLog:
    """Read a log and its older files, `path`.1 and so on. Raises LogError if none is there."""
    older = [path.with_name(f"{path.name}.{number}") for number in range(_OLDER_FILES, 0, -1)]
    files = [file for file in (*older, path) if file.is_file()]
    if not files:
        raise LogError(
            "there is no such feedback log", value=path,
            remedy="give the file that the node's parameter feedback_log names",
        )  # fmt: skip
    return read_lines(_lines(files))


def read_lines(lines: Iterable[str | bytes]) -> FeedbackLog:
    """Join ratings and follow-ups to their answers. A line that cannot be read costs itself."""
    log = FeedbackLog()
    answers: dict[str, AnswerLine] = {}
    ratings: dict[str, RatingLine] = {}
    follow_ups: dict[str, list[str]] = {}
    for text in lines:
        if not text.strip():
            continue
        try:
            line = read_line(text)
        except ValueError:
            log.damaged += 1
            continue
        if isinstance(line, AnswerLine):
            answers[line.answer_id] = line
        elif isinstance(line, RatingLine):
            ratings[line.answer_id] = line
        elif isinstance(line, FollowUpLine):
            follow_ups.setdefault(line.answer_id, []).append(line.kind)
    log.strays = len((set(ratings) | set(follow_ups)) - set(answers))
    for name, answer in answers.items():
        rating = ratings.get(name)
        log.answers.append(
            JudgedAnswer(
                answer,
                rating.rating if rating else None,
                rating.comment if rating else "",
                tuple(follow_ups.get(name, ())),
            )
        )
    return log


def make_table(answers: Sequence[JudgedAnswer]) -> Table:
    """Return the factors of all answers whose picture was measured. Raises LogError for none."""
    kept = [one for one in answers if one.line.light is not None]
    if not kept:
        raise LogError(
            "the log has no answer with a measured picture", value=f"{len(answers)} answers",
            remedy="ask the node questions while its parameter feedback_log is set",
        )  # fmt: skip
    lines = [one.line for one in kept]
    seconds = np.array([one.queued_s + one.seeing_s + one.answering_s for one in lines])
    numbers = {
        "light": np.array([one.light for one in lines], float),
        "sharpness": np.log1p(np.array([one.sharpness or 0.0 for one in lines])),
        "region_share": np.log(np.maximum([one.region_share or 0.0 for one in lines], 1e-6)),
        "seconds": np.log(np.maximum(seconds, 1e-3)),
    }
    names = {
        "task": _levels([one.task or SHORT for one in lines]),
        "model": _levels([one.model for one in lines]),
        "camera": _levels([one.camera for one in lines]),
        "part_of_day": _levels([PARTS_OF_DAY[one.time.hour // 6] for one in lines]),
    }
    return Table(
        numbers,
        names,
        np.array([one.rating or 0 for one in kept]),
        np.array([bool(one.follow_ups) for one in kept]),
        len(answers) - len(kept),
    )


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            yield from file


def _levels(values: Sequence[str]) -> Names:
    """Return names with the rare ones under one."""
    named = [shorten(value, 40) for value in values]
    counts = Counter(named).most_common(_MOST_LEVELS)
    kept = {name for name, count in counts if count >= _LEAST_OF_LEVEL * len(named)}
    return np.array([name if name in kept else OTHER for name in named])
