"""One person at the page: the picture in view, the drawing, the conversation about it.

The first question of a conversation holds the picture; later ones are about the same picture, until
the person goes live again. What is seen is what is asked about. All of it is for the event loop's
thread.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import NOT_HELD, OK, Ask, AskedQuestion, OperatorClient, Reply
from chatspot_ros.operators.drawing import Drawing
from chatspot_ros.operators.exchange import Exchange
from chatspot_ros.operators.questions import History
from chatspot_ros.operators.web.frames import CameraFeed, NumberedFrame

_LONGEST_WAIT_S = 5.0
_MOST_REGIONS, _MOST_POINTS, _FARTHEST_PX = 64, 64, 1e5
_MOST_EXCHANGES = 50


class Conversation:
    """What one browser's page shows and asks."""

    def __init__(
        self,
        client: OperatorClient,
        feed: Callable[[str], CameraFeed],
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called in the event loop's thread after every change of what is shown."""
        self.drawing = Drawing()
        self.history = History()
        self.exchanges: list[Exchange] = []
        self.grounded: tuple[Region, ...] = ()
        self.camera = ""
        self.shown: NumberedFrame | None = None
        self.held: NumberedFrame | None = None
        self.marks = False
        self._on_change = on_change
        self._client = client
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._asked: AskedQuestion | None = None
        self._turned = asyncio.Event()
        self.session, self._continues = _new_name(), False

    # --- the picture

    async def next_frame(self, number: int) -> NumberedFrame | None:
        """Return the frame to show instead of the one with this number; None: none for a while."""
        if self.held is not None and self.held.number != number:
            return self.held
        turned = asyncio.ensure_future(self._turned.wait())
        frame = asyncio.ensure_future(self._feed(self.camera).after(number, _LONGEST_WAIT_S))
        waits = (turned,) if self.held else (turned, frame)
        try:
            await asyncio.wait(waits, timeout=_LONGEST_WAIT_S, return_when="FIRST_COMPLETED")
            found = frame.result() if frame.done() and self.held is None else None
        finally:
            turned.cancel()
            frame.cancel()
        if self.held is not None:
            return self.held if self.held.number != number else None
        if found is not None:
            self._show(found)
        return found

    async def jpeg(self, shown: NumberedFrame) -> bytes:
        """Return a frame as a JPEG for the browser."""
        return await self._feed(self.camera).jpeg(shown)

    def look_at(self, camera: str) -> None:
        """Show another camera; the drawing was made on another picture and is dropped.

        An empty name is the first camera, until its name is known.
        """
        before, self.camera = self.camera, camera
        if before and camera != before:
            self.shown = None
            self.drawing.clear()
            self.go_live()

    def hold(self) -> None:
        """Keep the picture that is shown."""
        self.held = self.shown
        self._turn()

    def go_live(self) -> None:
        """Show new pictures again; the next question begins a new conversation."""
        self.held = None
        self.grounded = ()
        self.session, self._continues = _new_name(), False
        self._turn()

    def begin_anew(self) -> None:
        """Forget the drawing and all answers, and show new pictures."""
        self.cancel()
        self.exchanges = []
        self.drawing.clear()
        self.go_live()

    def _show(self, shown: NumberedFrame) -> None:
        before, self.shown = self.shown, shown
        self.drawing.image_wh = shown.size_wh
        self.drawing.detections = shown.frame.detections
        if before is None or before.size_wh != shown.size_wh:
            self._on_change()

    def wake(self) -> None:
        """Let what waits for a frame look again."""
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    def _turn(self) -> None:
        self.wake()
        self._on_change()

    # --- the drawing

    def drew(self) -> None:
        """Take note that the regions have changed: places that an answer named belong to others."""
        self.grounded = ()
        self._on_change()

    # --- questions

    @property
    def is_asking(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self.exchanges) and self.exchanges[-1].reply is None

    def ask(self, question: str) -> str:
        """Ask about the drawn regions; return the problem where it cannot be, else nothing."""
        text = question.strip()
        if not text:
            return "Type a question first."
        if self.is_asking:
            return "Wait for the answer, or cancel it."
        if self.held is None:
            self.held = self.shown
        regions = self.drawing.regions
        ask = Ask(
            text,
            regions=regions,
            camera=self.camera,
            marks=self.marks and bool(regions),
            session=self.session,
        )
        exchange = Exchange(ask, self.held.frame if self.held else None)
        self.exchanges = [*self.exchanges[1 - _MOST_EXCHANGES :], exchange]
        self.grounded = ()
        self.history.add(text)
        self.drawing.cancel()
        self.drawing.asked()
        self._send(exchange, with_picture=False)
        self._turn()
        return ""

    def cancel(self) -> None:
        """Stop the answer that is awaited; its reply comes all the same."""
        if self.is_asking and self._asked is not None:
            self._asked.cancel()

    def rate(self, answer_id: str, rating: int, on_done: Callable[[str], None]) -> None:
        """Rate an answer from 1 to 5; `on_done` gets the problem, in the event loop's thread."""

        def done(problem: str) -> None:
            self._loop.call_soon_threadsafe(on_done, problem)

        self._client.rate(answer_id, rating, "", done)

    def close(self) -> None:
        """End what is going on."""
        self.cancel()
        self._on_change = lambda: None

    def _send(self, exchange: Exchange, *, with_picture: bool) -> None:
        ask, frame = exchange.ask, exchange.frame
        if frame is not None and with_picture:
            # The node holds a frame for seconds; a person looks at it for minutes.
            ask = replace(ask, stamp_ns=frame.stamp_ns, picture=frame)
        elif frame is not None and not self._continues:
            ask = replace(ask, stamp_ns=frame.stamp_ns)

        def on_text(index: int, text: str) -> None:
            self._loop.call_soon_threadsafe(self._add, exchange, index, text)

        def on_reply(reply: Reply) -> None:
            self._loop.call_soon_threadsafe(self._finish, exchange, reply, with_picture)

        self._asked = self._client.ask(ask, on_text, on_reply)

    def _add(self, exchange: Exchange, index: int, text: str) -> None:
        exchange.add_text(index, text)
        self._on_change()

    def _finish(self, exchange: Exchange, reply: Reply, with_picture: bool) -> None:
        frame = exchange.frame
        is_lost = reply.status in NOT_HELD or (
            # The node has forgotten the conversation, and took the newest frame instead.
            reply.status == OK and frame is not None and reply.stamp_ns != frame.stamp_ns
        )
        if is_lost and frame is not None and not with_picture:
            exchange.texts.clear()
            self._send(exchange, with_picture=True)
        else:
            exchange.reply = reply
            self._continues = reply.status == OK and self.session == exchange.ask.session
            if self.exchanges and exchange is self.exchanges[-1]:
                self.grounded = exchange.grounded
        self._on_change()

    # --- after the page was loaded again

    def saved(self) -> dict[str, Any]:
        """Return what the browser keeps for the person."""
        regions = [
            {"points": region.points_px, "id": region.id, "label": region.label}
            for region in self.drawing.regions
        ]
        return {
            "camera": self.camera,
            "regions": regions,
            "questions": self.history.questions[-20:],
        }

    def restore(self, saved: Any) -> None:
        """Take what `saved` returned; what is not of its form is left out."""
        if not isinstance(saved, Mapping):
            return
        camera, questions = saved.get("camera"), saved.get("questions")
        if isinstance(camera, str):
            self.camera = camera
        for question in questions if isinstance(questions, list) else ():
            if isinstance(question, str):
                self.history.add(question)
        regions = saved.get("regions")
        for one in regions[:_MOST_REGIONS] if isinstance(regions, list) else ():
            region = _read_region(one)
            if region is not None:
                self.drawing.choose(region)
        self._turn()


def _new_name() -> str:
    return f"page-{secrets.token_hex(8)}"


def _read_region(saved: Any) -> Region | None:
    if not isinstance(saved, Mapping):
        return None
    points, words = saved.get("points"), (saved.get("id", ""), saved.get("label", ""))
    if not isinstance(points, list) or not 1 <= len(points) <= _MOST_POINTS:
        return None
    if not all(isinstance(word, str) and len(word) <= 200 for word in words):
        return None
    pairs = [read_xy(point) for point in points]
    if any(pair is None for pair in pairs):
        return None
    return Region(tuple(pair for pair in pairs if pair), id=words[0], label=words[1])


def read_xy(given: Any) -> tuple[float, float] | None:
    """Return a place that a browser sent, in image pixels; None where it is none."""
    if not isinstance(given, list) or len(given) != 2:
        return None
    if not all(isinstance(one, int | float) and abs(one) <= _FARTHEST_PX for one in given):
        return None
    x, y = float(given[0]), float(given[1])
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None
