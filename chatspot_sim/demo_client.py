"""The demo's planner: a ROS node that asks by service and action, and acts in the kitchen."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rclpy
from builtin_interfaces.msg import Duration
from chatspot_ros.action import AskRegion
from chatspot_ros.msg import ActionStep
from chatspot_ros.srv import KitchenAct, RegionQuery
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.images.decode import message_to_rgb
from chatspot_ros.ros.conversions import to_ns, to_region_message, to_time
from chatspot_sim.truth import Truth

_NODE = "region_query_node"
_HELD = 8
QUERY_S = 60
_REPLY_S = QUERY_S + 10


class DemoError(RuntimeError):
    """The demo cannot continue; the message says why."""


@dataclass(frozen=True)
class Moment:
    """One picture (uint8 H x W x 3, RGB), its truth, and the number of detections."""

    stamp_ns: int
    image_rgb: RgbImage
    truth: Truth
    detections: int


@dataclass(frozen=True)
class Reply:
    """A RegionQuery response or an AskRegion result, and the seconds that it took.

    `pieces` counts the feedback messages of an action.
    """

    message: Any
    seconds: float
    pieces: int = 0

    @property
    def ok(self) -> bool:
        """True if every question was answered."""
        return bool(self.message.status == RegionQuery.Response.OK)


class Planner:
    """A node with an executor thread; its methods block. Use it in a `with` block."""

    def __init__(self, check: Callable[[], None]) -> None:
        """`check` is called during waits; it raises if the wait cannot succeed."""
        self._check = check
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("demo_planner", context=self._context)
        self._news = threading.Condition()
        self._images: dict[int, Image] = {}
        self._truths: dict[int, Truth] = {}
        self._detections: dict[int, int] = {}
        self._query = self._node.create_client(RegionQuery, f"{_NODE}/region_query")
        self._ask = ActionClient(self._node, AskRegion, f"{_NODE}/ask_region")
        self._set = self._node.create_client(SetParameters, f"{_NODE}/set_parameters")
        self._act = self._node.create_client(KitchenAct, "kitchen/act")
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        # The executor may be shut down while it handles a message.
        with contextlib.suppress(ExternalShutdownException, rclpy_implementation.InvalidHandle):
            self._executor.spin()

    def __enter__(self) -> Planner:
        return self

    def __exit__(self, *_: object) -> None:
        # The node is not destroyed: Fast DDS 3.2 may wait for ever there while another program
        # sends to it over TCP (eProsima/Fast-DDS#6066). Ending the process is enough.
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)

    # --- pictures ---------------------------------------------------------------------------------

    def watch(self) -> None:
        """Subscribe to pictures, truths and detections."""
        reliable = QoSProfile(depth=10)
        self._node.create_subscription(Image, "image", self._on_image, reliable)
        self._node.create_subscription(String, "kitchen/truth", self._on_truth, reliable)
        self._node.create_subscription(
            Detection2DArray, "detections", self._on_detections, reliable
        )

    def moment(self, after_ns: int = 0, timeout_s: float = 30.0) -> Moment:
        """Return the next picture after `after_ns` with its truth and detections.

        Raises DemoError if none arrives in time.
        """

        def find() -> int | None:
            return next((k for k in self._detections if k > after_ns and k in self._images
                         and k in self._truths), None)  # fmt: skip

        self._wait(lambda: find() is not None, timeout_s, "no picture with truth and detections")
        with self._news:
            stamp = find()
            assert stamp is not None
            picture, truth = self._images[stamp], self._truths[stamp]
            return Moment(stamp, message_to_rgb(picture), truth, self._detections[stamp])

    def truth_after(self, stamp_ns: int, timeout_s: float = 10.0) -> Truth:
        """Return the first truth after `stamp_ns`. Raises DemoError."""

        def find() -> Truth | None:
            return next((truth for k, truth in self._truths.items() if k > stamp_ns), None)

        self._wait(lambda: find() is not None, timeout_s, "no further truth of the kitchen")
        with self._news:
            truth = find()
            assert truth is not None
            return truth

    def _on_image(self, message: Image) -> None:
        self._hold(self._images, to_ns(message.header.stamp), message)

    def _on_truth(self, message: String) -> None:
        truth = Truth.from_json(message.data)
        self._hold(self._truths, truth.stamp_ns, truth)

    def _on_detections(self, message: Detection2DArray) -> None:
        self._hold(self._detections, to_ns(message.header.stamp), len(message.detections))

    def _hold(self, where: dict[int, Any], stamp_ns: int, what: Any) -> None:
        with self._news:
            where[stamp_ns] = what
            while len(where) > _HELD:
                del where[min(where)]
            self._news.notify_all()

    # --- questions and actions --------------------------------------------------------------------

    def now_ns(self) -> int:
        """Return the current time, on the clock of the pictures' stamps."""
        return int(self._node.get_clock().now().nanoseconds)

    def query(self, **fields: Any) -> Reply:
        """Ask by the service RegionQuery; `fields` are the request's (see `request_fields`)."""
        self._wait_for_server(self._query.service_is_ready, "region_query")
        began = time.monotonic()
        message = self._result(self._query.call_async(RegionQuery.Request(**fields)))
        return Reply(message, time.monotonic() - began)

    def ask(self, **fields: Any) -> Reply:
        """Ask by the action AskRegion; `fields` are the goal's (see `request_fields`)."""
        self._wait_for_server(self._ask.server_is_ready, "ask_region")
        pieces: list[str] = []
        began = time.monotonic()
        handle = self._result(
            self._ask.send_goal_async(
                AskRegion.Goal(**fields), lambda news: pieces.append(news.feedback.text)
            )
        )
        if not handle.accepted:
            raise DemoError("the node refused the goal of an AskRegion")
        result = self._result(handle.get_result_async()).result
        return Reply(result, time.monotonic() - began, len(pieces))

    def act(self, step: ActionStep) -> tuple[bool, str]:
        """Do one step in the kitchen; return whether that worked, and the effect or the reason."""
        self._wait_for_server(self._act.service_is_ready, "kitchen/act")
        response = self._result(self._act.call_async(KitchenAct.Request(step=step)))
        return response.done, response.message

    def set_parameter(self, name: str, value: str) -> None:
        """Set a text parameter of the node. Raises DemoError: it refuses the value."""
        self._wait_for_server(self._set.service_is_ready, "set_parameters")
        one = Parameter(name, Parameter.Type.STRING, value).to_parameter_msg()
        response = self._result(self._set.call_async(SetParameters.Request(parameters=[one])))
        if not response.results[0].successful:
            raise DemoError(f"{name} cannot be set: {response.results[0].reason}")

    def _wait_for_server(self, is_ready: Callable[[], bool], name: str) -> None:
        until = time.monotonic() + 15.0
        while not is_ready():
            self._check()
            if time.monotonic() > until:
                raise DemoError(f"{name} is not offered by any node (waited 15 s)")
            # rclpy has no event for a new server.
            time.sleep(0.02)

    def _result(self, future: Future) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        until = time.monotonic() + _REPLY_S
        while not done.wait(0.25):
            self._check()
            if time.monotonic() > until:
                raise DemoError(f"no reply within {_REPLY_S} s")
        return future.result()

    def _wait(self, condition: Callable[[], bool], timeout_s: float, problem: str) -> None:
        until = time.monotonic() + timeout_s
        with self._news:
            while not self._news.wait_for(condition, 0.25):
                self._check()
                if time.monotonic() > until:
                    raise DemoError(f"{problem} within {timeout_s:.0f} s")


def request_fields(
    question: str,
    regions: tuple[Region, ...] = (),
    *,
    task: str = "",
    stamp_ns: int = 0,
    session: str = "",
    use_detections: bool = False,
) -> dict[str, Any]:
    """Return the fields of a RegionQuery request, which an AskRegion goal has, too."""
    return {
        "question": question,
        "task": task,
        "stamp": to_time(stamp_ns),
        "regions": [to_region_message(region) for region in regions],
        "use_detections": use_detections,
        "session": session,
        "timeout": Duration(sec=QUERY_S),
    }
