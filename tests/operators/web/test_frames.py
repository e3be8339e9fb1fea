"""Each browser gets the newest frame at its own pace; nothing is queued for a slow one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import Frame
from chatspot_ros.operators.web import frames
from chatspot_ros.operators.web.frames import WIDEST_PX, CameraFeed, packed, to_jpeg


class FakeCamera:
    """A client of a node with one camera."""

    def __init__(self) -> None:
        self.on_frame: Callable[[Frame], None] | None = None
        self.watches = 0

    def watch(self, camera: str, on_frame: Callable[[Frame], None]) -> Callable[[], None]:
        self.on_frame = on_frame
        self.watches += 1

        def end() -> None:
            self.on_frame = None

        return end

    async def send(self, stamp_ns: int, width: int = 64, **fields: Any) -> None:
        """Send a frame from another thread, as a client does."""
        assert self.on_frame is not None
        picture = np.full((48, width, 3), stamp_ns % 256, np.uint8)
        frame = Frame("front", stamp_ns, picture, **fields)
        thread = threading.Thread(target=self.on_frame, args=(frame,))
        thread.start()
        thread.join()
        await asyncio.sleep(0)  # the loop takes it


def run(test: Callable[[FakeCamera, CameraFeed], Any]) -> None:
    async def prepared() -> None:
        camera = FakeCamera()
        await test(camera, CameraFeed(camera, "front"))  # type: ignore[arg-type]

    asyncio.run(prepared())


async def first(camera: FakeCamera, feed: CameraFeed, stamp_ns: int = 1) -> Any:
    asking = asyncio.ensure_future(feed.after(0, 60.0))
    await asyncio.sleep(0)
    await camera.send(stamp_ns)
    return await asking


def test_a_slow_browser_gets_the_newest_and_no_other() -> None:
    async def test(camera: FakeCamera, feed: CameraFeed) -> None:
        one = await first(camera, feed)
        for stamp_ns in range(2, 30):
            await camera.send(stamp_ns)
        next_one = await feed.after(one.number, 60.0)
        assert next_one.frame.stamp_ns == 29

    run(test)


def test_many_browsers_share_one_watch_and_one_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    encode = frames.to_jpeg

    def counted(image: Any) -> bytes:
        made.append(1)
        return encode(image)

    monkeypatch.setattr(frames, "to_jpeg", counted)

    async def test(camera: FakeCamera, feed: CameraFeed) -> None:
        one = await first(camera, feed)
        jpegs = await asyncio.gather(*(feed.jpeg(one) for _ in range(10)))
        assert len(set(jpegs)) == 1
        assert (len(made), camera.watches) == (1, 1)

    run(test)


def test_without_a_new_frame_the_wait_ends() -> None:
    async def test(camera: FakeCamera, feed: CameraFeed) -> None:
        one = await first(camera, feed)
        assert await feed.after(one.number, 0.01) is None

    run(test)


def test_the_camera_is_watched_only_while_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(camera: FakeCamera, feed: CameraFeed) -> None:
        one = await first(camera, feed)
        feed.rest()
        assert camera.on_frame is not None
        monkeypatch.setattr(frames, "_IDLE_S", -1.0)
        feed.rest()
        assert camera.on_frame is None
        again = await first(camera, feed, 7)
        assert (again.frame.stamp_ns, camera.watches) == (7, 2)
        assert again.number != one.number

    run(test)


@pytest.mark.parametrize("width", [64, WIDEST_PX, WIDEST_PX * 2 + 1])
def test_a_picture_is_at_most_so_wide_and_says_its_true_size(width: int) -> None:
    async def test(camera: FakeCamera, feed: CameraFeed) -> None:
        asking = asyncio.ensure_future(feed.after(0, 60.0))
        await asyncio.sleep(0)
        box = Region(((1.0, 2.0), (3.0, 4.0)), label="mug")
        await camera.send(5_000_000_000, width, detections=(box,))
        one = await asking
        data = packed(one, await feed.jpeg(one))
        end = 4 + int.from_bytes(data[:4], "big")
        about = json.loads(data[4:end])
        assert about["size"] == [width, 48]
        assert about["stamp_s"] == 5.0
        assert about["detections"] == [{"box": [1.0, 2.0, 3.0, 4.0], "label": "mug"}]
        picture = cv2.imdecode(np.frombuffer(data[end:], np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[1] == min(width, WIDEST_PX)

    run(test)


def test_a_picture_keeps_its_colours() -> None:
    image_rgb = np.full((32, 32, 3), (200, 100, 20), np.uint8)
    picture = cv2.imdecode(np.frombuffer(to_jpeg(image_rgb), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert np.abs(picture[16, 16, ::-1].astype(int) - (200, 100, 20)).max() < 6
