"""Bags of rclpy messages, and a fake engine for their replay."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ament_index_python.packages import get_package_share_directory
from builtin_interfaces.msg import Time
from chatspot_ros.msg import Region as RegionMessage
from chatspot_ros.msg import RegionAnswer, RegionAnswers
from geometry_msgs.msg import Point32
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.engine.api import Question
from chatspot_ros.ros.conversions import to_image_message
from chatspot_ros.server.settings import Settings
from chatspot_ros.tools.bags import Bag, typestore
from chatspot_ros.tools.replay import replay
from chatspot_ros.tools.replay_result import Replayed, verdict

DEFINITIONS = Path(get_package_share_directory("chatspot_ros")) / "msg"
WIDTH, HEIGHT = 64, 48
ANSWERS, IMAGE = "/region_query_node/answers", "/camera/image_raw"
TYPES = {
    Image: "sensor_msgs/msg/Image",
    CompressedImage: "sensor_msgs/msg/CompressedImage",
    RegionAnswers: "chatspot_ros/msg/RegionAnswers",
    String: "std_msgs/msg/String",
}
Entry = tuple[str, Any]


def header(sec: int) -> Header:
    return Header(stamp=Time(sec=sec, nanosec=5), frame_id="camera_optical")


def ns(sec: int) -> int:
    return sec * 10**9 + 5


def picture(sec: int, value: int = 100) -> Image:
    return to_image_message(np.full((HEIGHT, WIDTH, 3), value, np.uint8), header(sec))


def box(x1: float, y1: float, x2: float, y2: float) -> RegionMessage:
    corners = ((x1, y1), (x2, y2))
    # rclpy reads an int as 0.
    return RegionMessage(points=[Point32(x=float(x), y=float(y)) for x, y in corners])


def answer(text: str, *regions: RegionMessage, **fields: Any) -> RegionAnswer:
    return RegionAnswer(text=text, regions=list(regions), confidence=0.9, **fields)


def asked(sec: int, question: str, *answers: RegionAnswer, **fields: Any) -> RegionAnswers:
    made = RegionAnswers(question=question, answers=list(answers), model="old", **fields)
    made.header = header(sec) if sec else Header()
    return made


def write_bag(
    folder: Path,
    *entries: Entry,
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a bag of messages, as rosbag2 does; return its folder."""
    path = folder / f"bag_{storage.name.lower()}"
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    store = typestore(DEFINITIONS)
    connections: dict[str, Any] = {}
    with writer:
        for moment, (topic, message) in enumerate(entries):
            if topic not in connections:
                connections[topic] = writer.add_connection(
                    topic, TYPES[type(message)], typestore=store
                )
            data = serialize_message(message)
            writer.write(connections[topic], 1_000 + moment, data)
    return path


class FakeEngine:
    """Answers by a script (first word of the question -> answer), and records the questions."""

    name = "new"

    def __init__(self, **script: Answer) -> None:
        self.script = script
        self.asked: list[tuple[int, Question]] = []

    def prepare(self, image_rgb: np.ndarray) -> int:
        return int(image_rgb[0, 0, 0])

    def answer(self, scene: int, question: Question, *rest: Any) -> Any:
        self.asked.append((scene, question))
        return SimpleNamespace(
            answer=self._say(question), prompt=f"[{question.text}]", raw_text="said", task=""
        )

    def _say(self, question: Question) -> Answer:
        word = question.text.split()[0]
        return self.script.get(word, Answer(text=word, regions=question.regions, confidence=0.5))


def replayed(path: Path, engine: Any = None, **options: Any) -> Replayed:
    with Bag(path, DEFINITIONS) as bag:
        return replay(bag, engine or FakeEngine(), settings=Settings(), **options)


def verdicts(done: Replayed) -> list[str]:
    return [verdict(row) for row in done.rows]
