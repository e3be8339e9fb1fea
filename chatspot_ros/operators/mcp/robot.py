"""A region query node for coroutines: every wait has an end, and a cancelled question is stopped.

All of it is for the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from chatspot_ros.errors import FrameExpiredError, NoImageError, NotActiveError, RequestError
from chatspot_ros.operators.client import NOT_HELD, OK, Ask, Frame, OperatorClient, Reply
from chatspot_ros.operators.mcp.results import frame_name, read_frame_name
from chatspot_ros.operators.web.frames import CameraFeed
from chatspot_ros.operators.words import status_words

# The first picture needs the discovery of the camera; later ones only the camera's rate.
_FIRST_FRAME_S, _NEXT_FRAME_S = 8.0, 2.0
_CAMERAS_S, _LOOK_S = 6.0, 0.1
_TELL_S = 1.0
_REST_S = 5.0
_HELD_FRAMES = 4

# Gets the text that has come so far, about once a second.
Tell = Callable[[str], Awaitable[None]]


class Robot:
    """The node's cameras and answers. It watches a camera only while somebody asks about it."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client
        self._feeds: dict[str, CameraFeed] = {}
        self._held: OrderedDict[tuple[str, int], Frame] = OrderedDict()

    async def rest(self) -> None:
        """Stop watching cameras that nobody asks about, for ever; for a task of its own."""
        while True:
            await asyncio.sleep(_REST_S)
            for feed in self._feeds.values():
                feed.rest()

    def problem(self) -> str:
        """Return for a person what is wrong with the node now; or nothing."""
        return self._client.problem()

    async def cameras(self) -> tuple[str, ...]:
        """Return the names of the node's cameras, the first one first.

        Raises:
            NotActiveError: the node is not there, or tells of none.
        """
        until_s = asyncio.get_running_loop().time() + _CAMERAS_S
        while not (names := tuple(self._client.cameras())):
            if asyncio.get_running_loop().time() > until_s:
                raise NotActiveError(
                    "the robot's cameras are not known",
                    value=self.problem() or "the node has not told of any",
                    remedy="start the node, then try again",
                )
            await asyncio.sleep(_LOOK_S)
        return names

    async def camera(self, name: str) -> str:
        """Return the name of a camera; an empty one is the first.

        Raises:
            RequestError: the node has no such camera.
            NotActiveError: as `cameras`.
        """
        names = await self.cameras()
        if name and name not in names:
            raise RequestError(
                "there is no such camera", value=name, remedy=f"use one of {', '.join(names)}"
            )
        return name or names[0]

    async def newest(self, camera: str) -> Frame | None:
        """Return a frame that comes now; None if none comes for a while."""
        feed = self._feeds.setdefault(camera, CameraFeed(self._client, camera))
        before = feed.newest
        if before is None:
            found = await feed.after(0, _FIRST_FRAME_S)
        else:
            found = await feed.after(before.number, _NEXT_FRAME_S)
        return None if found is None else self.hold(found.frame)

    def last(self, camera: str) -> Frame | None:
        """Return the last frame that has come, however old: it tells the size of the picture."""
        feed = self._feeds.get(camera)
        return None if feed is None or feed.newest is None else feed.newest.frame

    async def look(self, camera: str) -> Frame:
        """Return a frame that comes now.

        Raises:
            NoImageError: none comes.
        """
        frame = await self.newest(camera)
        if frame is None:
            why = self.problem()
            raise NoImageError(
                f"no picture of the camera comes{f': {why}' if why else ''}", value=camera,
                remedy="look whether the camera runs, then try again",
            )  # fmt: skip
        return frame

    async def with_detections(self, camera: str, patience_s: float) -> Frame:
        """Return a frame that comes now, at best one with its own detections.

        Raises:
            NoImageError: none comes.
        """
        until_s = asyncio.get_running_loop().time() + patience_s
        best = frame = await self.look(camera)
        while frame.detections_stamp_ns != frame.stamp_ns:
            if asyncio.get_running_loop().time() > until_s:
                return best
            newer = await self.newest(camera)
            frame = newer or frame
            best = frame if frame.detections or not best.detections else best
        return frame

    def hold(self, frame: Frame) -> Frame:
        """Keep a frame, to send it along where the node has it no longer."""
        self._held[frame.camera, frame.stamp_ns] = frame
        self._held.move_to_end((frame.camera, frame.stamp_ns))
        while len(self._held) > _HELD_FRAMES:
            self._held.popitem(last=False)
        return frame

    def held(self, camera: str, name: str) -> tuple[int, Frame | None]:
        """Return the stamp of a frame by its name, and the frame if it is held here.

        Raises:
            RequestError: it is no name of a frame.
        """
        try:
            stamp_ns = read_frame_name(name)
        except ValueError as error:
            raise RequestError(
                "this is no name of a frame", value=name,
                remedy="give `frame` of a picture that a tool returned, or leave it out",
            ) from error  # fmt: skip
        return stamp_ns, self._held.get((camera, stamp_ns))

    def held_at(self, camera: str, stamp_ns: int) -> Frame | None:
        """Return the frame of a stamp if it is held here."""
        return self._held.get((camera, stamp_ns))

    async def ask(self, ask: Ask, frame: Frame | None, tell: Tell) -> Reply:
        """Ask, and send the picture along if the node holds it no longer.

        Raises:
            FrameExpiredError: neither the node nor this program has the frame any more.
        """
        reply = await self._ask(ask, tell)
        if reply.status in NOT_HELD and frame is not None:
            self.hold(frame)
            reply = await self._ask(replace(ask, stamp_ns=frame.stamp_ns, picture=frame), tell)
        elif reply.status in NOT_HELD and ask.stamp_ns:
            raise FrameExpiredError(
                "this picture is no longer held", value=frame_name(ask.stamp_ns),
                remedy=f"look again and ask about the new one ({status_words(reply)})",
            )  # fmt: skip
        return reply

    async def _ask(self, ask: Ask, tell: Tell) -> Reply:
        loop = asyncio.get_running_loop()
        replied: asyncio.Future[Reply] = loop.create_future()
        texts: dict[int, str] = {}

        def add(index: int, text: str) -> None:
            texts[index] = texts.get(index, "") + text

        def finish(reply: Reply) -> None:
            if not replied.done():
                replied.set_result(reply)

        asked = self._client.ask(
            ask,
            lambda index, text: _soon(loop, add, index, text),
            lambda reply: _soon(loop, finish, reply),
        )
        try:
            while not replied.done():
                await asyncio.wait((replied,), timeout=_TELL_S)
                if not replied.done():
                    await tell(" / ".join(text.strip() for _, text in sorted(texts.items())))
            return replied.result()
        finally:
            if not replied.done():
                asked.cancel()

    def close(self) -> None:
        """Stop watching all cameras."""
        for feed in self._feeds.values():
            feed.close()


def is_answered(reply: Reply) -> bool:
    """Return whether a reply has the answers that were asked for."""
    return reply.status == OK and bool(reply.answers)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *values: object) -> None:
    """Call in the loop's thread; a loop that has ended needs no calls."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call, *values)
