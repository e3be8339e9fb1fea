"""A camera in the test's process that goes on publishing, as a real one does."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from world import World


class LiveCamera:
    """Publishes a picture of one colour ten times a second, with detections. `stamp` is that of the
    newest picture."""

    def __init__(self, world: World, picture: Any = None) -> None:
        self.world = world
        self.picture = np.full((48, 64, 3), (10, 20, 30), np.uint8) if picture is None else picture
        self.boxes: tuple[Any, ...] = ()
        self.stamp: Any = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def show(self, *colour: int) -> None:
        self.picture = np.full((48, 64, 3), colour, np.uint8)

    def end(self) -> None:
        self._ended.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        from detected import publish
        from std_msgs.msg import Header

        from chatspot_ros.ros.conversions import to_image_message

        while not self._ended.wait(0.1):
            stamp = self.world.now()
            header = Header(stamp=stamp, frame_id="camera_optical")
            self.world.images.publish(to_image_message(self.picture, header))
            self.stamp = stamp
            if self.boxes:
                publish(self.world, stamp, *self.boxes)
