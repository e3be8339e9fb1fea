"""A client without a node, which answers when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import OK, Answer, Ask, Frame, Reply

CUP = Region(((100, 100), (200, 200)), id="1", label="cup")


@dataclass
class FakeQuestion:
    ask: Ask
    on_text: Callable[[int, str], None]
    on_reply: Callable[[Reply], None]
    was_cancelled: bool = False

    def cancel(self) -> None:
        self.was_cancelled = True
        self.on_reply(Reply("CANCELLED", "stopped by the caller"))


@dataclass
class FakeClient:
    """`frame` shows a picture; `asked` has the questions, `rated` the ratings."""

    names: tuple[str, ...] = ("image",)
    said: str = ""
    asked: list[FakeQuestion] = field(default_factory=list)
    rated: list[tuple[str, int, str]] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    is_closed: bool = False
    _on_frame: Callable[[Frame], None] | None = None

    def cameras(self) -> tuple[str, ...]:
        return self.names

    def watch(self, camera: str, on_frame: Callable[[Frame], None]) -> Callable[[], None]:
        self.watched.append(camera)
        self._on_frame = on_frame

        def stop() -> None:
            self._on_frame = None

        return stop

    def frame(
        self,
        stamp_ns: int = 1,
        wh: tuple[int, int] = (640, 480),
        detections: tuple[Region, ...] = (),
        grey: int = 90,
    ) -> Frame:
        made = Frame("image", stamp_ns, np.full((wh[1], wh[0], 3), grey, np.uint8), detections)
        assert self._on_frame is not None
        self._on_frame(made)
        return made

    def ask(
        self, ask: Ask, on_text: Callable[[int, str], None], on_reply: Callable[[Reply], None]
    ) -> FakeQuestion:
        self.asked.append(FakeQuestion(ask, on_text, on_reply))
        return self.asked[-1]

    def answer(self, *texts: str, status: str = OK, **fields: object) -> None:
        """Answer the newest question, one text for each region."""
        question = self.asked[-1]
        regions = question.ask.regions or (Region.image(),)
        answers = tuple(
            Answer(text, (regions[min(k, len(regions) - 1)],), confidence=0.9, answer_id=f"id{k}")
            for k, text in enumerate(texts)
        )
        question.on_reply(Reply(status, answers=answers, **fields))

    def rate(
        self, answer_id: str, rating: int, comment: str, on_done: Callable[[str], None]
    ) -> None:
        self.rated.append((answer_id, rating, comment))
        on_done("")

    def problem(self) -> str:
        return self.said

    def close(self) -> None:
        self.is_closed = True
