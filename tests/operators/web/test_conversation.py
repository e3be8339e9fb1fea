"""What is seen is what is asked about, for as long as a person looks at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import OK, Answer, Ask, Frame, Reply
from chatspot_ros.operators.web.conversation import Conversation
from chatspot_ros.operators.web.frames import CameraFeed


class FakeNode:
    """Holds one camera's frame and the questions that were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Ask, Any, Any]] = []
        self.cancelled = 0
        self.on_frame: Any = None

    def watch(self, camera: str, on_frame: Any) -> Callable[[], None]:
        self.on_frame = on_frame
        return lambda: None

    def ask(self, ask: Ask, on_text: Any, on_reply: Any) -> FakeNode:
        self.asked.append((ask, on_text, on_reply))
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def see(self, stamp_ns: int) -> None:
        self.on_frame(Frame("front", stamp_ns, np.full((48, 64, 3), stamp_ns, np.uint8)))

    async def reply(self, status: str = OK, stamp_ns: int = 0, **fields: Any) -> None:
        self.asked[-1][2](Reply(status, stamp_ns=stamp_ns, **fields))
        await asyncio.sleep(0.01)


def run(test: Callable[[FakeNode, Conversation], Awaitable[None]]) -> None:
    async def prepared() -> None:
        node = FakeNode()
        feeds: dict[str, CameraFeed] = {}

        def feed(camera: str) -> CameraFeed:
            return feeds.setdefault(camera, CameraFeed(node, camera))  # type: ignore[arg-type]

        await test(node, Conversation(node, feed, lambda: None))  # type: ignore[arg-type]

    asyncio.run(prepared())


async def look(node: FakeNode, person: Conversation, stamp_ns: int) -> Any:
    """Let the person see a new frame."""
    number = person.shown.number if person.shown else 0
    asking = asyncio.ensure_future(person.next_frame(number))
    await asyncio.sleep(0.01)
    node.see(stamp_ns)
    return await asking


def test_a_question_is_about_the_frame_in_view_and_keeps_it_there() -> None:
    async def test(node: FakeNode, person: Conversation) -> None:
        await look(node, person, 5)
        assert person.ask("what?") == ""
        ask = node.asked[-1][0]
        assert (ask.stamp_ns, ask.picture) == (5, None)
        node.see(6)
        held = await person.next_frame(0)
        assert held is not None
        assert held.frame.stamp_ns == 5

    run(test)


def test_a_follow_up_is_about_the_conversations_own_frame() -> None:
    async def test(node: FakeNode, person: Conversation) -> None:
        await look(node, person, 5)
        person.ask("what?")
        await node.reply(stamp_ns=5)
        person.ask("And its colour?")
        before, after = node.asked[0][0], node.asked[1][0]
        assert (after.stamp_ns, after.session) == (0, before.session)
        await node.reply(stamp_ns=5)
        person.go_live()
        await look(node, person, 7)
        person.ask("And now?")
        assert node.asked[-1][0].stamp_ns == 7
        assert node.asked[-1][0].session != before.session

    run(test)


@pytest.mark.parametrize(("status", "stamp_ns"), [("FRAME_EXPIRED", 0), (OK, 9)])
def test_a_frame_that_the_node_no_longer_holds_is_sent_along(status: str, stamp_ns: int) -> None:
    async def test(node: FakeNode, person: Conversation) -> None:
        await look(node, person, 200)
        person.ask("what?")
        node.asked[-1][1](0, "of another picture")
        await node.reply(status, stamp_ns)
        ask = node.asked[-1][0]
        assert len(node.asked) == 2
        assert ask.stamp_ns == 200
        assert ask.picture is person.exchanges[0].frame
        assert ask.picture is not None
        assert ask.picture.stamp_ns == 200
        assert person.is_asking
        assert person.exchanges[0].texts == []
        await node.reply("FRAME_EXPIRED")
        assert not person.is_asking
        assert len(node.asked) == 2

    run(test)


def test_one_question_at_a_time_and_none_without_words() -> None:
    async def test(node: FakeNode, person: Conversation) -> None:
        assert person.ask("  ")
        person.ask("one")
        assert person.ask("two")
        person.cancel()
        assert (len(node.asked), node.cancelled) == (1, 1)
        await node.reply("CANCELLED")
        assert person.ask("two") == ""

    run(test)


def test_a_new_session_forgets_and_goes_live() -> None:
    async def test(node: FakeNode, person: Conversation) -> None:
        await look(node, person, 5)
        person.drawing.choose(Region.box(1, 2, 30, 40))
        person.ask("one")
        place = Region.box(1, 1, 9, 9)
        await node.reply(stamp_ns=5, answers=(Answer("a", grounded=(place,)),))
        assert person.grounded == (place,)
        session = person.session
        person.begin_anew()
        assert (person.exchanges, person.drawing.regions, person.held) == ([], (), None)
        assert person.grounded == ()
        assert person.session != session

    run(test)


def test_an_answer_that_comes_after_all_is_forgotten_stops_nothing() -> None:
    async def test(node: FakeNode, person: Conversation) -> None:
        person.ask("one")
        person.begin_anew()
        assert node.cancelled == 1
        await node.reply("CANCELLED")
        assert person.ask("two") == ""

    run(test)


def test_what_the_browser_keeps_comes_back() -> None:
    async def test(node: FakeNode, person: Conversation) -> None:
        person.camera = "wrist"
        person.history.add("Is it open?")
        person.drawing.choose(Region(((1.0, 2.0), (3.0, 4.0)), id="d1", label="mug"))
        person.drawing.choose(Region.point(5, 6))
        saved = json.loads(json.dumps(person.saved()))
        other = Conversation(node, lambda _: None, lambda: None)  # type: ignore[arg-type, return-value]
        other.restore(saved)
        assert other.drawing.regions == person.drawing.regions
        assert other.saved() == person.saved()

    run(test)


@pytest.mark.parametrize(
    "saved",
    [
        None, 3, [], {"regions": 1}, {"regions": [1, None, {}]}, {"questions": [1, None]},
        {"regions": [{"points": [[1]]}]}, {"regions": [{"points": [["a", 2]]}]},
        {"regions": [{"points": [[1e300, 2]]}]}, {"regions": [{"points": [[float("nan"), 2]]}]},
        {"regions": [{"points": [[1, 2]] * 1000}]}, {"regions": [{"points": [[1, 2]], "id": 3}]},
        {"regions": [{"points": [[1, 2]], "label": "x" * 1000}]}, {"camera": 5},
    ],
)  # fmt: skip
def test_what_is_not_of_its_form_is_left_out(saved: Any) -> None:
    async def test(node: FakeNode, person: Conversation) -> None:
        person.restore(saved)
        assert person.drawing.regions == ()
        assert person.camera == ""

    run(test)
