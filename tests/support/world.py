"""A planner, a camera and a detector in the test's process, talking to a node in another one."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

WIDTH, HEIGHT = 64, 48
NAMES = (
    *("OK", "BAD_REQUEST", "BAD_REGION", "BAD_IMAGE", "NO_IMAGE", "STALE_IMAGE"),
    *("FRAME_EXPIRED", "BUSY", "TIMEOUT", "CANCELLED", "NOT_ACTIVE", "MODEL_ERROR"),
    *("SMALL_TALK", "UNSUPPORTED", "COMMAND", "STOP"),
)
STATUSES: dict[int, str] = {}
_gates = itertools.count()
_marks = itertools.count()


def wait_until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until the condition is true and return it.

    For conditions without an event, such as discovery.
    """
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not true within {timeout_s} s: {condition}")


def finish(future: Any, timeout_s: float = 60.0) -> Any:
    """Wait for a future that the spinning thread completes."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    assert done.wait(timeout_s), f"no answer within {timeout_s} s"
    return future.result()


def soon(future: Any, timeout_s: float = 2.0) -> Any:
    """Return a future's result; None if it does not arrive soon: a reply can be lost."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return future.result() if done.wait(timeout_s) else None


class Gate:
    """A question without picture that keeps the engine busy until `open`."""

    def __init__(self, folder: Path) -> None:
        number = next(_gates)
        self.question = f"hold {number}"
        self._file = folder / str(number)

    def open(self) -> None:
        self._file.touch()


class Collector:
    """Collects the messages of a topic, and waits for more."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._news = threading.Condition()

    def __call__(self, item: Any) -> None:
        with self._news:
            self.items.append(item)
            self._news.notify_all()

    def wait_for(self, wanted: Callable[[Any], bool], timeout_s: float = 60.0) -> Any:
        def find() -> Any:
            return next((item for item in self.items if wanted(item)), None)

        with self._news:
            found = self._news.wait_for(find, timeout_s)
        assert found is not None, f"not among {len(self.items)} within {timeout_s} s"
        return found


def named(reply: Any) -> Any:
    """Return a reply's fields with the name of its status."""
    fields = {field: getattr(reply, field) for field in reply.get_fields_and_field_types()}
    return SimpleNamespace(name=STATUSES[reply.status], **fields)


def request(question: str, kind: Any = None, *, timeout_s: float = 0.0, **fields: Any) -> Any:
    from builtin_interfaces.msg import Duration
    from chatspot_ros.srv import RegionQuery

    made = (kind or RegionQuery.Request)(question=question, **fields)
    seconds = int(timeout_s // 1)
    made.timeout = Duration(sec=seconds, nanosec=round((timeout_s - seconds) * 1e9))
    return made


def make_region(*points: tuple[float, float], name: str = "", label: str = "") -> Any:
    from chatspot_ros.msg import Region
    from geometry_msgs.msg import Point32

    return Region(id=name, label=label, points=[Point32(x=float(x), y=float(y)) for x, y in points])


class World:
    """Clients, a camera and a detector for one running node."""

    region = staticmethod(make_region)
    request = staticmethod(request)
    finish = staticmethod(finish)
    soon = staticmethod(soon)
    wait_until = staticmethod(wait_until)
    Collector = Collector
    size_wh = (WIDTH, HEIGHT)
    names = STATUSES

    def __init__(self, ros: Any, process: Any, namespace: str = "") -> None:
        from chatspot_ros.action import AskRegion
        from chatspot_ros.msg import RegionAnswers
        from chatspot_ros.srv import RegionQuery
        from geometry_msgs.msg import Point
        from rcl_interfaces.srv import GetParameters, SetParameters
        from rclpy.action import ActionClient
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import CompressedImage, Image
        from vision_msgs.msg import Detection2DArray

        self.ros = ros
        self.process = process
        self.namespace = namespace
        node_name = f"{namespace}/region_query_node"
        STATUSES.update({getattr(RegionQuery.Response, name): name for name in NAMES})
        self.action = self.make(lambda: ActionClient(ros, AskRegion, f"{node_name}/ask_region"))
        self.parameters = ros.create_client(GetParameters, f"{node_name}/get_parameters")
        self.parameter_setter = ros.create_client(SetParameters, f"{node_name}/set_parameters")
        self.images = ros.create_publisher(Image, f"{namespace}/image", qos_profile_sensor_data)
        self.compressed = ros.create_publisher(
            CompressedImage, f"{namespace}/image/compressed", qos_profile_sensor_data
        )
        self.detections = ros.create_publisher(Detection2DArray, f"{namespace}/detections", 10)
        self.clicks = ros.create_publisher(Point, f"{namespace}/click", 10)
        self.answers = Collector()
        ros.create_subscription(RegionAnswers, f"{node_name}/answers", self.answers, 1000)
        # The last one: a node discovers these in order, so if it replies here it knows the others.
        self.client = ros.create_client(RegionQuery, f"{node_name}/region_query")

    def make(self, constructor: Callable[[], Any]) -> Any:
        """Make a client in the executor's thread: elsewhere it is spun before it is complete."""
        made = threading.Event()
        making = self.ros.executor.create_task(constructor)
        making.add_done_callback(lambda _: made.set())
        assert made.wait(20.0)
        return making.result()

    def wait_for_services(self) -> None:
        """Wait until requests arrive at the node, and replies here."""
        assert self.parameters.wait_for_service(60.0)
        assert self.parameter_setter.wait_for_service(60.0)
        assert self.action.wait_for_server(60.0)
        assert self.client.wait_for_service(60.0)
        self.ping()
        wait_until(self._goal_comes_back)

    def wait_for_node(self) -> None:
        """Wait until requests and messages arrive at the active node."""
        self.wait_for_services()
        cameras = (self.images, self.compressed)
        wait_until(lambda: any(camera.get_subscription_count() for camera in cameras))
        wait_until(lambda: self.detections.get_subscription_count())
        wait_until(lambda: self.clicks.get_subscription_count())

    def ask(self, question: str = "what", patience_s: float = 60.0, **fields: Any) -> Any:
        return named(finish(self.client.call_async(request(question, **fields)), patience_s))

    def log_since(self, before: int) -> list[str]:
        """Return the node's log from line number `before` to the end of a query asked now.

        A reply can arrive before its line of the log. The model's thread writes these in turn.
        """
        mark = f"mark {next(_marks)}"
        self.ask(mark, stamp=self.publish_frame())
        asked = self.process.wait_for(repr(mark), after=before)
        end = asked.partition(" asked: ")[0].split()[-1] + " OK after"
        self.process.wait_for(end, after=before)
        return self.process.lines[before:]

    def ping(self) -> Any:
        """Ask until an answer comes.

        A server that does not know its new client's reader yet loses the reply.
        """

        def answered() -> Any:
            reply = soon(self.client.call_async(request("ping", camera="nowhere")))
            return reply and named(reply)

        return wait_until(answered)

    def _goal_comes_back(self) -> bool:
        from chatspot_ros.action import AskRegion

        goal = request("ping", AskRegion.Goal, camera="nowhere")
        handle = soon(self.action.send_goal_async(goal))
        return handle is not None and soon(handle.get_result_async()) is not None

    def send_goal(self, question: str, on_feedback: Any = None, **fields: Any) -> Any:
        """Send a goal; return its handle, accepted."""
        from chatspot_ros.action import AskRegion

        goal = request(question, AskRegion.Goal, **fields)
        handle = finish(self.action.send_goal_async(goal, feedback_callback=on_feedback))
        assert handle.accepted
        return handle

    def result(self, handle: Any) -> Any:
        """Wait for a goal's end; return the (action_msgs status, result)."""
        answer = finish(handle.get_result_async())
        return answer.status, named(answer.result)

    def now(self) -> Any:
        return self.ros.get_clock().now().to_msg()

    def publish_frame(self, stamp: Any = None, colour: tuple[int, int, int] = (10, 20, 30)) -> Any:
        """Publish a frame of one colour, wait until the node has it, return its stamp."""
        from std_msgs.msg import Header

        from chatspot_ros.ros.conversions import to_image_message

        stamp = stamp or self.now()
        picture = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
        header = Header(stamp=stamp, frame_id="camera_optical")
        message = to_image_message(picture, header)
        self.publish_until_it_comes(self.images, message)
        return stamp

    def publish_until_it_comes(self, publisher: Any, message: Any, camera: str = "") -> None:
        """Publish an image until the node has it: it may not know a new publisher yet."""

        def has_come() -> bool:
            publisher.publish(message)
            until = time.monotonic() + 2.0
            stamp = message.header.stamp
            while time.monotonic() < until:
                if self.ask("Has it come?", stamp=stamp, camera=camera).name in ("OK", "BAD_IMAGE"):
                    return True
            return False

        wait_until(has_come)

    def set_parameter(self, name: str, value: Any) -> Any:
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        change = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return finish(self.parameter_setter.call_async(change)).results[0]
