"""What goes into the engine and what comes out; free of torch, so that a stand-in can use it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region

OnText = Callable[[str], None]
# Returns whether to stop, or raises the error that the answer is to end with.
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Turn:
    """An earlier question and its answer on the same picture, exactly as the model saw them.

    They are the `prompt` and `raw_text` of the Reply of that time.
    """

    user_text: str
    answer_text: str


@dataclass(frozen=True)
class Question:
    """A question about all of `regions` together, after the earlier `turns`, oldest first.

    `task` is one of prompts.TASKS; empty lets the wording decide. `max_new_tokens` None: the
    model's own limit. An answer whose confidence is below `min_confidence` is uncertain; None: the
    model's own threshold.
    """

    text: str
    regions: tuple[Region, ...] = ()
    task: str = ""
    turns: tuple[Turn, ...] = ()
    max_new_tokens: int | None = None
    min_confidence: float | None = None


@dataclass(frozen=True)
class Reply:
    """What came of a question.

    `prompt` is the user's turn as the model read it, `raw_text` its words (both without the chat's
    control tokens), `tokens` how many it took, `log_probabilities` the natural one of each token,
    `seconds` how long, `task` the one that was used.
    `notes` say, in sentences for people, what of the question the model could not be told.
    """

    answer: Answer
    prompt: str
    raw_text: str
    tokens: int
    seconds: float
    task: str
    log_probabilities: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


# Called with the index of a question, and the words added to its answer or its whole reply.
OnTextOf = Callable[[int, str], None]
OnReplyOf = Callable[[int, Reply], None]


class Admission(Protocol):
    """Questions that were taken into a batch, and what has become of them."""

    @property
    def done(self) -> bool:
        """Whether all are answered, or one of them cannot be."""

    @property
    def memory(self) -> Any:
        """What the next turn can go on from (it has `nbytes`); None when there is nothing."""

    def leave(self) -> None:
        """End those that still go on; the others of the batch are left alone."""

    def result(self) -> list[Reply]:
        """The replies in order. Raises the error of the first that was stopped or failed."""


class Batch(Protocol):
    """Questions about one scene that are answered together; more may come between two steps."""

    @property
    def merges(self) -> bool:
        """Whether further questions are cheaper in this batch than after it."""

    @property
    def live(self) -> int:
        """How many questions are being answered."""

    def admit(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
        memory: Any = None,
        remember: bool = False,
    ) -> Admission:
        """Take questions in, each to be answered by itself; see `RegionEngine.answer_many`.

        `memory` is what an earlier turn about the same picture left; with `remember` the first
        question leaves one too.
        """

    def step(self) -> None:
        """Go on by a token of every question, or by as little as can be done."""


class RegionEngine(Protocol):
    """A model that answers questions about prepared pictures; used by one thread at a time."""

    @property
    def name(self) -> str:
        """The model's name, for replies and logs."""

    def prepare(self, image_rgb: RgbImage) -> Any:
        """Return a scene of the picture (uint8 H x W x 3, RGB, 0 to 255). Raises ImageError."""

    def answer(
        self,
        scene: Any,
        question: Question,
        on_text: OnText | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Reply:
        """Answer a question about a scene of this engine; see `Engine.answer`."""

    def answer_many(
        self,
        scene: Any,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
    ) -> list[Reply]:
        """Answer several questions about a scene, each by itself; see `Engine.answer_many`."""

    def open(self, scene: Any) -> Batch:
        """Begin to answer questions about a scene, which may come and go one by one."""

    def scene_key(self, image_rgb: RgbImage) -> Hashable:
        """Return what tells the scenes of pictures apart; equal pixels have equal keys."""

    def scene_bytes(self, scene: Any) -> int:
        """How many bytes a scene takes."""


def for_index(on_text: OnTextOf | None, index: int) -> OnText | None:
    """The listener of one question's words."""
    return None if on_text is None else lambda added: on_text(index, added)
