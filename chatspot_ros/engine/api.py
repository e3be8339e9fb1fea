"""What goes into the engine and what comes out; free of torch, so that a stand-in can use it."""

from __future__ import annotations

from collections.abc import Callable
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
    model's own limit.
    """

    text: str
    regions: tuple[Region, ...] = ()
    task: str = ""
    turns: tuple[Turn, ...] = ()
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Reply:
    """What came of a question.

    `prompt` is the user's turn as the model read it, `raw_text` its words (both without the chat's
    control tokens), `tokens` how many it took, `seconds` how long, `task` the one that was used.
    """

    answer: Answer
    prompt: str
    raw_text: str
    tokens: int
    seconds: float
    task: str


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
