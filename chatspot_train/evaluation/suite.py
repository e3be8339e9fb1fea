"""The parts of every suite: items to ask, predictions to keep, rows and a report to score.

A suite reads a data set in its own layout and yields items; the runner asks a model and keeps each
prediction; `score` turns predictions into rows, a table and plots. Scoring is a pure function of
the kept predictions, so the same predictions scored twice give the same numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from matplotlib.figure import Figure

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import BoxXyxy, Point, Region
from chatspot_ros.errors import ChatspotError
from chatspot_train.evaluation.metrics.intervals import Parts, Row, rows_of

NO_READER = "the model has no text reader"  # the error of an item that wants one
Identity = Mapping[str, Any]  # of a model, as plain JSON values


class MissingDataError(ChatspotError):
    """A file of a data set is missing; the message names the file and its source."""


class NoAnswersError(ChatspotError, ValueError):
    """There is nothing to score; the message says why."""

    def __init__(self, value: object = "no questions", remedy: str = "check the data") -> None:
        super().__init__("there are no answers to score", value=value, remedy=remedy)


class SuiteOptionError(ChatspotError):
    """An option has a value that its suite does not know."""


@dataclass(frozen=True)
class AskedTurn:
    """One question; `regions` in pixels, `task` one of chatspot_ros.core.tasks.TASKS. `reader` "on"
    or "off": with or without what a text reader reads in the regions; empty: as the model has it.
    `knowledge` is a folder of notes, empty: none, None: as the model has it; `needs_note` as in a
    Question.
    """

    question: str
    regions: tuple[Region, ...] = ()
    task: str = ""
    reader: str = ""
    knowledge: str | None = None
    needs_note: bool = False


@dataclass(frozen=True)
class Item:
    """One conversation about one image. The answer to the last of `turns` is scored.

    `key` is its name in the suite, the same in every run. `image` is a file, or a function that
    returns the image (uint8 H x W x 3, RGB). `truth` is what scoring needs, as plain JSON values.
    """

    key: str
    image: Path | Callable[[], RgbImage]
    turns: tuple[AskedTurn, ...]
    truth: dict[str, Any]

    def answered(
        self, answer: Answer, seconds: float, log_probabilities: Sequence[float] = ()
    ) -> Prediction:
        """Return the prediction of an answer; `log_probabilities` are of its tokens."""
        return Prediction(
            self.key, answer.text,
            tuple(region.box_xyxy_px for region in answer.grounded),
            tuple(region.label for region in answer.grounded),
            dict(answer.state), tuple((step.action, step.target) for step in answer.steps),
            answer.confidence, seconds, question=self.turns[-1].question, truth=self.truth,
            mean_log_probability=float(np.mean(log_probabilities or (0.0,))),
            least_log_probability=min(log_probabilities, default=0.0),
            uncertain=answer.uncertain, sources=answer.sources,
        )  # fmt: skip

    @property
    def wants_reader(self) -> bool:
        """True if a text reader shall be used for one of its questions."""
        return any(turn.reader == "on" for turn in self.turns)

    def failed(self, error: str) -> Prediction:
        """Return the prediction of an item without an answer."""
        return Prediction(
            self.key, "", error=error, question=self.turns[-1].question, truth=self.truth
        )


@dataclass(frozen=True)
class Prediction:
    """A model's answer to an item's last turn, as kept in predictions.jsonl.

    `boxes_xyxy_px` are the grounded boxes in pixels of the item's image, `phrases` their labels.
    `seconds` count from the request, which may hold several questions. `error` is the reason for a
    missing answer; `text` is then empty. `regions_px` are the corners of the regions in the
    question, `image` the image file, empty if there is none. Log-probabilities are natural ones
    over the answer's tokens, 0 if unknown. `asked` is a hash of the conversation and the image.
    `uncertain` and `sources` as in core.answer_parser.Answer.
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
    asked: str = ""
    uncertain: bool = False
    sources: tuple[str, ...] = ()


@dataclass
class Report:
    """`rows` for results.json; `table` in Markdown in the paper's layout, with the paper's
    numbers beside ours; `plots` by file name."""

    rows: dict[str, Row]
    table: str
    plots: dict[str, Figure] = field(default_factory=dict)


class Answerer(Protocol):
    """A model under test: a local engine or an endpoint."""

    @property
    def name(self) -> str:
        """The model's name, for reports."""

    @property
    def identity(self) -> Identity | None:
        """Everything that its answers depend on. None: its answers are asked anew by each run."""

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        """Answer several items about one image (uint8 H x W x 3, RGB), in order."""


@dataclass(frozen=True)
class Option:
    """A suite's option `--name` of the command line; `type` None is a switch."""

    name: str
    help: str
    type: Callable[[str], Any] | None = str


class Suite(ABC):
    """One benchmark: one file of `suites/`, found by `registry.register`.

    `name` is its name on the command line. `headline` maps the rows of the summary to their
    meaning; `lower_is_better` names those with 0 as the best value. `options` are its own options
    of the command line. `on_kitchen`: the simulated kitchen is exported in its layout.
    `makes_data`: it writes its own data set into the result folder.
    """

    name: ClassVar[str]
    headline: ClassVar[Mapping[str, str]] = {}
    lower_is_better: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[Option, ...]] = ()
    on_kitchen: ClassVar[bool] = False
    makes_data: ClassVar[bool] = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build from command-line options by name. Raises SuiteOptionError."""
        return cls()

    @classmethod
    def kitchen_variants(cls, data: Path) -> dict[str, Suite]:
        """Return the suites to run on the kitchen files in `data`, by the prefix of their rows."""
        return {cls.name: cls()} if cls.on_kitchen else {}

    @property
    @abstractmethod
    def wants(self) -> str:
        """The files it needs and their source, as the remedy of an error."""

    @property
    def paper(self) -> Mapping[str, float]:
        """The paper's values in [0, 1], by row."""
        return {}

    @abstractmethod
    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """Yield all items, at most `limit` (0: all). Raises MissingDataError."""

    @abstractmethod
    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """Return the contribution of each question to each row."""

    @abstractmethod
    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Return rows, table and plots. Raises NoAnswersError for no predictions."""

    def rows(self, predictions: Sequence[Prediction]) -> dict[str, Row]:
        """Return every row of `parts` with its interval. Raises NoAnswersError."""
        if not predictions:
            raise NoAnswersError
        return rows_of(self.parts(predictions))

    def answerer(self) -> Answerer | None:
        """Return the suite's own answerer, if it does not measure a model."""
        return None

    def begin(self, out: Path, fresh: bool) -> None:
        """Look at what earlier runs kept in `out` besides answers, before anything is asked; if
        `fresh`, drop it."""
        return

    def export(self, predictions: Sequence[Prediction], out: Path) -> None:
        """Write files for an external judge into `out`, or ask the judge."""
        return

    def judged(self, predictions: Sequence[Prediction], out: Path) -> list[Prediction]:
        """Return the predictions with an external judge's verdicts kept in `out`."""
        return list(predictions)

    def companions(self, data: Path, limit: int) -> dict[str, Suite]:
        """Return further suites to run on the same data, by the prefix of their rows."""
        return {}


class JudgingSuite(Suite):
    """A suite that can tell right answers from wrong ones."""

    @abstractmethod
    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each right answer, False for a missing one.

        Raises ValueError if the truth is unknown.
        """

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """Return the parts of the share of right answers, as the row `right`."""
        good = zip(predictions, self.right(predictions), strict=True)
        return {"right": {p.key: (float(hit), 1.0) for p, hit in good}}


class RegionSuite(JudgingSuite):
    """A suite about boxes, for suites that ask it again. Its truths hold `size`: width, height."""

    @classmethod
    def of_boxes(cls, options: Mapping[str, Any]) -> RegionSuite:
        """Return the variant whose every question has a box."""
        return cls.from_options(options)


def need(path: Path, wants: str) -> Path:
    """Return the path. Raises MissingDataError if it does not exist."""
    if not path.exists():
        raise MissingDataError("a file of the data set is missing", value=path, remedy=wants)
    return path


def markdown(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; numbers have three decimals."""

    def cell(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    rule = ["---"] * len(header)
    return "\n".join(
        "| " + " | ".join(cell(value) for value in line) + " |" for line in (header, rule, *lines)
    )
