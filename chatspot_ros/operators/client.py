"""What a window or a page asks of a region query node, without ROS: a protocol and its data.

`chatspot_ros.ros.operator_client` speaks it over ROS 2. A client calls back from its own thread:
a window hands each call to its own loop. Nothing here blocks; what takes time has a deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.regions import Region

OK = "OK"
# Not of the node: it is not there, or does not answer.
UNREACHABLE = "UNREACHABLE"
# The node has the shown picture no longer, or it never came to the node: send it with the question.
NOT_HELD = ("FRAME_EXPIRED", "NO_IMAGE")


@dataclass(frozen=True)
class Frame:
    """A camera's picture, H x W x 3, RGB, 0 to 255, with its stamp and its detections in pixels.

    `detections_stamp_ns` is the stamp of the frame that the detector saw: this one, or one up to
    2 s before where the detector is slower than the camera. Ask about a detection with that stamp.
    0: there are no detections.
    """

    camera: str
    stamp_ns: int
    image_rgb: NDArray[np.uint8]
    detections: tuple[Region, ...] = ()
    detections_stamp_ns: int = 0


@dataclass(frozen=True)
class Ask:
    """A question; the fields have the meaning of RegionQuery's.

    `stamp_ns` 0: the newest frame. `timeout_s` 0: the node's own deadline. `picture`: sent along,
    where the node may no longer hold a frame of that stamp; None: the camera's frame.
    """

    question: str
    regions: tuple[Region, ...] = ()
    camera: str = ""
    stamp_ns: int = 0
    use_detections: bool = False
    marks: bool = False
    task: str = ""
    choices: tuple[str, ...] = ()
    json_schema: str = ""
    session: str = ""
    timeout_s: float = 0.0
    picture: Frame | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Answer:
    """The answer about `regions`; `grounded` are the places that it names. Confidence 0 to 1, and
    so the probabilities of the question's choices, in their order."""

    text: str
    regions: tuple[Region, ...] = ()
    state: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    grounded: tuple[Region, ...] = ()
    confidence: float = 0.0
    uncertain: bool = False
    truncated: bool = False
    looked_twice: bool = False
    json: str = ""
    choice_probabilities: tuple[float, ...] = ()
    print_lines: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    answer_id: str = ""


@dataclass(frozen=True)
class Reply:
    """The end of a question. `status` is the name of one of RegionQuery's, or UNREACHABLE; then
    `message` says the problem and the remedy. Times in seconds."""

    status: str
    message: str = ""
    answers: tuple[Answer, ...] = ()
    stamp_ns: int = 0
    model: str = ""
    queued_s: float = 0.0
    seeing_s: float = 0.0
    answering_s: float = 0.0


class AskedQuestion(Protocol):
    """A question on its way."""

    def cancel(self) -> None:
        """Ask the node to stop; the reply comes all the same, its status CANCELLED."""


class OperatorClient(Protocol):
    """A region query node as an operator's program sees it."""

    def cameras(self) -> Sequence[str]:
        """Return the names of the node's cameras, as far as they are known by now."""

    def watch(self, camera: str, on_frame: Callable[[Frame], None]) -> Callable[[], None]:
        """Call back with every new frame; return what ends it. An empty name is the first camera.

        Frames that come while `on_frame` runs are dropped, never queued. A frame comes again, with
        the same picture, when its detections come after it.
        """

    def ask(
        self, ask: Ask, on_text: Callable[[int, str], None], on_reply: Callable[[Reply], None]
    ) -> AskedQuestion:
        """Ask; `on_text` gets (index of the answer, more of its text), `on_reply` exactly one end.

        The reply comes even where the node is missing or dies: UNREACHABLE, within seconds. The
        last words may come with it alone.
        """

    def rate(
        self, answer_id: str, rating: int, comment: str, on_done: Callable[[str], None]
    ) -> None:
        """Rate an answer from 1 to 5; `on_done` gets the problem, empty where there is none."""

    def problem(self) -> str:
        """Return for a person what is wrong with the node now (missing, inactive); or nothing."""

    def close(self) -> None:
        """End everything; no call back comes afterwards."""
