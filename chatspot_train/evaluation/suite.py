"""What every suite is made of: things to ask, what was answered, and a report.

A suite reads a data set in its own layout and says what to ask (`items`); the runner asks a model
and keeps every answer; `score` turns the answers into rows, a table and plots. Scoring is a pure
function of the kept answers, so the same answers scored twice give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import BoxXyxy, Point, Region
from chatspot_ros.errors import ChatspotError
from chatspot_train.evaluation.intervals import Row


class MissingDataError(ChatspotError):
    """A suite does not find its files; the message names the file and where it comes from."""


@dataclass(frozen=True)
class AskedTurn:
    """One question; `regions` in pixels, `task` one of chatspot_ros.core.tasks.TASKS."""

    question: str
    regions: tuple[Region, ...] = ()
    task: str = ""


@dataclass(frozen=True)
class Item:
    """One thing to ask of one picture. The last of `turns` counts; each follows the answers before.

    `key` is its name in the suite, the same in every run. `image` is a file, or a function that
    makes the picture (uint8 H x W x 3, RGB). `truth` is what scoring needs, as plain JSON values.
    """

    key: str
    image: Path | Callable[[], RgbImage]
    turns: tuple[AskedTurn, ...]
    truth: dict[str, Any]


@dataclass(frozen=True)
class Predicted:
    """What a model answered to an item's last turn.

    `boxes_xyxy_px` are the boxes it points at, with `phrases` for what, in pixels of the item's
    picture. `seconds` count from when the question was put, which several may have been together.
    `error` says why there is no answer (its text is then empty). `regions_px` are the corners of
    the regions that were asked about, `image` the picture's file; empty where it is in none. The
    log-probabilities are natural ones, over the answer's tokens; 0 where they are not known.
    """

    key: str
    text: str
    boxes_xyxy_px: tuple[BoxXyxy, ...] = ()
    phrases: tuple[str, ...] = ()
    state: dict[str, str] = field(default_factory=dict)
    steps: tuple[tuple[str, str], ...] = ()
    confidence: float = 0.0
    seconds: float = 0.0
    error: str = ""
    question: str = ""
    truth: dict[str, Any] = field(default_factory=dict)
    regions_px: tuple[tuple[Point, ...], ...] = ()
    image: str = ""
    mean_log_probability: float = 0.0
    least_log_probability: float = 0.0


@dataclass
class Report:
    """`rows` for results.json; `table` in Markdown, laid out like the paper's, with the paper's
    numbers beside ours where it has them; `plots` by file name."""

    rows: dict[str, Row]
    table: str
    plots: dict[str, Figure] = field(default_factory=dict)


class Suite(Protocol):
    """One benchmark. `wants` says in one line which files it needs, in their own layout."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def wants(self) -> str:
        """Which files, where from."""

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """All there is to ask, `limit` things at most (0: all). Raises MissingDataError."""

    def score(self, predictions: Sequence[Predicted]) -> Report:
        """Rows, table and plots. Raises ValueError for no predictions."""


def need(path: Path, wants: str) -> Path:
    """Return the path. Raises MissingDataError where it does not exist."""
    if not path.exists():
        raise MissingDataError("a file of the data set is missing", value=path, remedy=wants)
    return path


def markdown(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers with three digits behind the point."""

    def said(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    rule = ["---"] * len(header)
    return "\n".join(
        "| " + " | ".join(said(value) for value in line) + " |" for line in (header, rule, *lines)
    )
