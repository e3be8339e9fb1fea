"""A camera that reads files: publishes a picture, a folder of pictures or a video as `image`.

For trying the chain without a camera. Pictures come in the order of their names, stamped with the
current time. EXIF orientation is ignored: pixels come as stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.errors import ImageError, RequestError
from chatspot_ros.images.decode import check_size, decode
from chatspot_ros.ros.conversions import to_image_message
from chatspot_ros.ros.parameters import declare
from chatspot_ros.ros.run_node import Stop, run_node, tell
from chatspot_ros.server.parameter_spec import Spec

NAME = "file_camera"
_VIDEO_SIDES = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
# TIFF and PPM are no videos either: `decode` refuses them by name.
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
SPECS = (
    Spec("path", "", "A picture, a folder of pictures, or a video. Must be set."),
    Spec("rate", 5.0, "Pictures per second; of a video too.", low=0.01, high=120.0),
    Spec("loop", True, "Begin again at the end. Off: the node ends there."),
    Spec("frame_id", NAME, "frame_id of the pictures' headers."),
    Spec("reliability", "reliable", "QoS of the pictures.", choices=("reliable", "best_effort")),
)


def read_pictures(path: Path) -> Iterator[RgbImage]:
    """Yield the pictures of a file, folder or video once, uint8 H x W x 3, RGB.

    Raises:
        ImageError: there is no picture, or one cannot be read.
    """
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.suffix.lower() in PICTURES)
        if not files:
            raise ImageError(
                "the folder has no pictures",
                value=path,
                remedy=f"put files into it that end in {', '.join(PICTURES)}",
            )
        for file in files:
            yield _read_picture(file)
    elif path.suffix.lower() in PICTURES:
        yield _read_picture(path)
    else:
        yield from _read_video(path)


def _read_picture(file: Path) -> RgbImage:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ImageError(
            "the picture cannot be read", value=error, remedy="mend its path"
        ) from None
    try:
        return decode(data)
    except ImageError as error:
        raise ImageError(
            f"the file is no picture: {error}", value=file, remedy="mend or remove it"
        ) from error


def _read_video(file: Path) -> Iterator[RgbImage]:
    video = cv2.VideoCapture(str(file)) if file.is_file() else None
    if video is None or not video.isOpened():
        raise ImageError(
            "there is no such picture, folder or video",
            value=file,
            remedy="set the parameter path to one that can be read",
        )
    count = 0
    try:
        check_size(*(int(video.get(side)) for side in _VIDEO_SIDES))
        while (read := video.read())[0]:
            count += 1
            yield np.ascontiguousarray(read[1][..., ::-1], np.uint8)
    finally:
        video.release()
    if not count:
        raise ImageError("the video has no pictures", value=file, remedy="use another one")


class FileCamera(Node):
    """Publishes picture after picture."""

    def __init__(self, stop: Stop) -> None:
        """Read the first picture. Raises RequestError, ImageError."""
        super().__init__(NAME)
        self._stop = stop
        self._settings = settings = declare(self, SPECS)
        if not settings["path"]:
            raise RequestError("no files are named", value="", remedy="set the parameter path")
        self._path = Path(settings["path"]).expanduser()
        self._pictures = read_pictures(self._path)
        self._next: RgbImage | None = next(self._pictures)
        reliability = ReliabilityPolicy[settings["reliability"].upper()]
        qos = QoSProfile(depth=2, reliability=reliability)
        self._images = self.create_publisher(Image, "image", qos)
        self._timer = self.create_timer(1.0 / settings["rate"], self._on_time)
        tell(f"ready: {self.get_name()}")

    def close(self) -> None:
        """Stop publishing."""
        self._timer.cancel()

    def _on_time(self) -> None:
        if self._next is None:
            self._stop("all pictures were shown")
            return
        now = self.get_clock().now().to_msg()
        header = Header(stamp=now, frame_id=self._settings["frame_id"])
        self._images.publish(to_image_message(self._next, header))
        try:
            self._next = next(self._pictures, None)
            if self._next is None and self._settings["loop"]:
                self._pictures = read_pictures(self._path)
                self._next = next(self._pictures)
        except ImageError as error:
            self.get_logger().fatal(str(error))
            self._stop("a picture cannot be read", exit_code=1)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the camera until it is told to stop."""
    run_node(FileCamera, args)


if __name__ == "__main__":
    main()
