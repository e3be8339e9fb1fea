"""Reads recorded answers and their pictures from a bag, with `rosbags`, without ROS.

mcap and sqlite3, plain or compressed. A bag contains the definitions of its messages; older bags
without them are read with the definitions of ROS 2 Jazzy and of this package's .msg files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from chatspot_ros.errors import ChatspotError

ANSWERS_TYPE = "chatspot_ros/msg/RegionAnswers"
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_DRAWN = "/annotated"
_NS = 1_000_000_000


class BagError(ChatspotError):
    """A bag cannot be read, or does not contain the requested messages."""


@dataclass(frozen=True)
class Recorded:
    """One recorded message of ~/answers; `number` counts from 1."""

    number: int
    message: Any

    @property
    def stamp_ns(self) -> int:
        """The stamp of the picture, in nanoseconds; 0 without a picture."""
        return stamp_ns(self.message)


def stamp_ns(message: Any) -> int:
    """Return the header's stamp of a message, in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def typestore(definitions: Path) -> Typestore:
    """Return the types of ROS 2 Jazzy and of the .msg files in a folder."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for path in sorted(definitions.glob("*.msg")):
        name = f"chatspot_ros/msg/{path.stem}"
        types.update(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    store.register(types)
    return store


class Bag:
    """An open bag. Use it in a `with` block."""

    def __init__(self, path: Path, definitions: Path) -> None:
        """`path`: the bag's folder or an .mcap or .db3 file in it; `definitions`: our .msg files.

        Raises:
            BagError: there is no bag, or it cannot be read.
        """
        self.path = path.parent if path.suffix in (".mcap", ".db3") else path
        try:
            self._reader = AnyReader([self.path], default_typestore=typestore(definitions))
            self._reader.open()
        except Exception as error:  # rosbags, YAML, SQLite and mcap each have their own
            raise BagError(
                f"the bag cannot be read: {_first_line(error)}",
                value=path,
                remedy="give the folder with metadata.yaml; `ros2 bag reindex` mends a cut one",
            ) from error

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def answers(self, topic: str = "") -> list[Recorded]:
        """Return all recorded answers in their order, or those of one topic.

        Raises:
            BagError: the bag has none.
        """
        messages = [message for _, message in self._read((ANSWERS_TYPE,), topic)]
        if not messages:
            raise BagError(
                f"the bag holds no {ANSWERS_TYPE}",
                value=topic or ", ".join(sorted(self._reader.topics)) or "no topic at all",
                remedy="record ~/answers along with the camera's topic",
            )
        return [Recorded(number, message) for number, message in enumerate(messages, start=1)]

    def image_topics(self, wanted_ns: set[int]) -> dict[int, str]:
        """Return the topic that has the picture of each stamp; stamps without one are left out.

        Annotated pictures of this package do not count. If a topic and its compressed twin both
        have a picture, the uncompressed one is chosen.

        Raises:
            BagError: two cameras have pictures of the same stamp.
        """
        topics: dict[int, set[str]] = defaultdict(set)
        for topic, message in self._read(IMAGE_TYPES):
            if stamp_ns(message) in wanted_ns and not topic.endswith(_DRAWN):
                topics[stamp_ns(message)].add(topic)
        chosen = {}
        for stamp, names in topics.items():
            plain = {
                name for name in names if name.removesuffix("/compressed") not in names - {name}
            }
            if len(plain) > 1:
                raise BagError(
                    "several topics have pictures of the same stamp",
                    value=", ".join(sorted(plain)),
                    remedy="name the camera's: --image-topic",
                )
            chosen[stamp] = plain.pop()
        return chosen

    def images(self, wanted: dict[int, str]) -> Iterator[tuple[int, Any]]:
        """Yield (stamp in ns, image message) of each picture once; `wanted`: stamp -> topic."""
        left = dict(wanted)
        for topic, message in self._read(IMAGE_TYPES):
            stamp = stamp_ns(message)
            if left.get(stamp) == topic:
                del left[stamp]
                yield stamp, message

    def _read(self, types: tuple[str, ...], topic: str = "") -> Iterator[tuple[str, Any]]:
        chosen = [
            connection
            for connection in self._reader.connections
            if connection.msgtype in types and topic in ("", connection.topic)
        ]
        if not chosen:
            return
        try:
            for connection, _, data in self._reader.messages(connections=chosen):
                yield connection.topic, self._reader.deserialize(data, connection.msgtype)
        except AnyReaderError as error:
            raise BagError(
                f"the bag breaks off: {_first_line(error)}",
                value=self.path,
                remedy="mend it with `ros2 bag reindex`, or record anew",
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
