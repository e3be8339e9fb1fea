"""The protocols of an engine, its questions and its replies. No torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chatspot_ros.core.answer_form import AnswerForm, read_form
from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import CancelledError
from chatspot_ros.knowledge.looked_up import LookedUp

OnText = Callable[[str], None]
# Returns whether to stop, or raises the error that ends the answer.
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Turn:
    """An earlier question and its answer about the same picture, exactly as the model read them.

    They are the `prompt` and `raw_text` of that turn's Reply, and its `task` and `model`.
    """

    user_text: str
    answer_text: str
    task: str = ""
    model: str = ""


@dataclass(frozen=True)
class Question:
    """A question about all of `regions` together, after the earlier `turns`, oldest first.

    `task` is a name of tasks.TASKS; empty lets the wording decide. `max_new_tokens` None: the
    model's own limit; `reasoning_tokens` may come before, None: the model's own. An answer whose
    confidence is below `min_confidence` is uncertain; None: the model's own threshold. `hint` is
    added to the text and chooses no task.

    `look_twice`: the one region is shown once more, cut out of the image and larger
    (Chain-of-Spot). auto: where the model was trained with such cuts; on: always, and without a
    region the model first says where the answer lies; off: never. `reader` is auto, on or off:
    whether a reader of print reads the one region first; what it read are `print_lines`. `notes` go
    into the reply's.

    `choices` are the only answers, without a task: the likeliest is the answer, with the
    probability of each. `json_schema` is what the answer to the task json has to follow.

    `knowledge` is a folder of notes in which a plan or a description is looked up; empty: in none.
    With `needs_note` a plan without a note is uncertain. `names` are what the regions are called,
    `looked_up` what was found. `deadline_s` is when the answer is useless, on the clock of
    time.monotonic; None: never.
    """

    text: str
    regions: tuple[Region, ...] = ()
    task: str = ""
    turns: tuple[Turn, ...] = ()
    max_new_tokens: int | None = None
    min_confidence: float | None = None
    hint: str = ""
    reasoning_tokens: int | None = None
    look_twice: str = "auto"
    reader: str = "auto"
    print_lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    knowledge: str = ""
    needs_note: bool = False
    names: tuple[str, ...] = ()
    looked_up: LookedUp | None = None
    choices: tuple[str, ...] = ()
    json_schema: str = ""
    deadline_s: float | None = None

    @property
    def form(self) -> AnswerForm:
        """The form that the answer shall have. Raises RequestError for an unusable one."""
        return read_form(self.task, self.choices, self.json_schema)


@dataclass(frozen=True)
class Reply:
    """The reply to a question.

    `prompt` is the user's turn as the model read it, `raw_text` the generated text (both without
    the chat's control tokens, and without reasoning that ended), `tokens` the number generated,
    `log_probabilities` the natural logarithm of the probability of each token behind the reasoning,
    `seconds` the time taken, `task` the task used, `looked_twice` whether the region was shown once
    more, `print_lines` the print that the reader saw in it. `notes` are sentences
    for people on parts of the question that the prompt leaves out. `model` names the model that
    answered; empty: the engine's own.
    """

    answer: Answer
    prompt: str
    raw_text: str
    tokens: int
    seconds: float
    task: str
    log_probabilities: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    looked_twice: bool = False
    print_lines: tuple[str, ...] = ()
    model: str = ""


# Called with the index of a question, and the text added to its answer or its whole reply.
OnTextOf = Callable[[int, str], None]
OnReplyOf = Callable[[int, Reply], None]


class RegionEngine(Protocol):
    """A model that answers whole requests about pictures; used by one thread at a time.

    An engine needs no more than this: `serial_engine.as_batching` makes a `BatchingEngine` of it.
    """

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
        """Answer a question about a scene of this engine.

        `on_text` gets the text as it is generated. Call `should_stop` at least whenever text comes:
        an answer ends where it returns True or raises.

        Raises:
            RequestError, RegionError: an unusable question or region.
            CancelledError: `should_stop` returned True; what it raises goes through.
            ModelError: the model failed.
        """


class Admission(Protocol):
    """Questions that a batch has taken in, and their replies."""

    @property
    def done(self) -> bool:
        """Whether all are answered, or one of them cannot be."""

    @property
    def memory(self) -> Any:
        """The cache of this turn, for the session's next one (it has `nbytes`); None: no cache."""

    def leave(self) -> None:
        """End the unfinished questions of this admission; the batch's others go on."""

    def result(self) -> list[Reply]:
        """Return the replies in order. Raises the error of the first that was stopped or failed."""


class Batch(Protocol):
    """Questions about one scene that are answered together; more may join between two steps."""

    @property
    def merges(self) -> bool:
        """Whether further questions are cheaper in this batch than after it."""

    @property
    def live(self) -> int:
        """The number of unfinished questions."""

    def admit(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
        memory: Any = None,
        remember: bool = False,
    ) -> Admission:
        """Take questions in, each to be answered by itself; see `BatchingEngine.answer_many`.

        `memory` is the cache of an earlier turn about the same picture; with `remember` the first
        question leaves one too.
        """

    def step(self) -> None:
        """Advance every question by a token, or the batch by its smallest step."""


class BatchingEngine(RegionEngine, Protocol):
    """An engine that answers several questions about a scene together."""

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
        """Return an empty batch for questions about a scene."""

    def scene_key(self, image_rgb: RgbImage) -> Hashable:
        """Return a key of the picture's scene; equal pixels have equal keys."""

    def scene_bytes(self, scene: Any) -> int:
        """Return the bytes that a scene takes."""


def for_index(on_text: OnTextOf | None, index: int) -> OnText | None:
    """Return the text callback of one question."""
    return None if on_text is None else lambda added: on_text(index, added)


def check_stop(should_stop: ShouldStop | None) -> None:
    """Raise CancelledError when the callback returns True; its own errors go through."""
    if should_stop is not None and should_stop():
        raise CancelledError("the answer was stopped", value="a stop request", remedy="ask again")
