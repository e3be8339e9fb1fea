"""What goes into the engine and what comes out; free of torch, so that a stand-in can use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chatspot_ros.answers import Answer
from chatspot_ros.geometry import RgbImage
from chatspot_ros.regions import Region

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
    """

    answer: Answer
    prompt: str
    raw_text: str
    tokens: int
    seconds: float
    task: str
    log_probabilities: tuple[float, ...] = ()


# Called with the index of a question, and the words added to its answer or its whole reply.
OnTextOf = Callable[[int, str], None]
OnReplyOf = Callable[[int, Reply], None]


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


def answer_each(
    engine: RegionEngine,
    scene: Any,
    questions: Sequence[Question],
    on_text: OnTextOf | None = None,
    should_stop: ShouldStop | None = None,
    on_reply: OnReplyOf | None = None,
) -> list[Reply]:
    """What `answer_many` does, one question after the other."""
    replies: list[Reply] = []
    for index, question in enumerate(questions):
        replies.append(engine.answer(scene, question, for_index(on_text, index), should_stop))
        if on_reply is not None:
            on_reply(index, replies[-1])
    return replies


def for_index(on_text: OnTextOf | None, index: int) -> OnText | None:
    """The listener of one question's words."""
    return None if on_text is None else lambda added: on_text(index, added)
