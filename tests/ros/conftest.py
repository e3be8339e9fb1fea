"""A planner, a camera and a detector in the test's process, talking to a node in another one."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

FAKE_NODE = str(Path(__file__).with_name("fake_node.py"))
WIDTH, HEIGHT = 64, 48
NAMES = (
    *("OK", "BAD_REQUEST", "BAD_REGION", "BAD_IMAGE", "NO_IMAGE", "STALE_IMAGE"),
    *("FRAME_EXPIRED", "BUSY", "TIMEOUT", "CANCELLED", "NOT_ACTIVE", "MODEL_ERROR"),
)
STATUSES: dict[int, str] = {}
_namespaces = itertools.count()


def wait_until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until the condition is true and return it.

    For what no event tells, such as discovery.
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


class Collector:
    """What came on a topic, and the wait for more."""

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
    """A reply's fields, and the name of its status."""
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
        self.client = ros.create_client(RegionQuery, f"{node_name}/region_query")
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
        ros.create_subscription(RegionAnswers, f"{node_name}/answers", self.answers, 10)

    def make(self, constructor: Callable[[], Any]) -> Any:
        """Make a client in the executor's own thread: elsewhere it is spun half made."""
        made = threading.Event()
        making = self.ros.executor.create_task(constructor)
        making.add_done_callback(lambda _: made.set())
        assert made.wait(20.0)
        return making.result()

    def wait_for_node(self) -> None:
        assert self.client.wait_for_service(60.0)
        assert self.action.wait_for_server(60.0)
        assert self.parameters.wait_for_service(60.0)
        cameras = (self.images, self.compressed)
        wait_until(lambda: any(camera.get_subscription_count() for camera in cameras))
        wait_until(lambda: self.detections.get_subscription_count())
        wait_until(lambda: self.clicks.get_subscription_count())
        self.ping()

    def ask(self, question: str = "what", patience_s: float = 60.0, **fields: Any) -> Any:
        return named(finish(self.client.call_async(request(question, **fields)), patience_s))

    def ping(self) -> Any:
        """Ask until an answer comes.

        A server that does not know its new client's reader yet loses the reply.
        """

        def answered() -> Any:
            asked = self.client.call_async(request("ping", camera="nowhere"))
            done = threading.Event()
            asked.add_done_callback(lambda _: done.set())
            return named(asked.result()) if done.wait(2.0) else None

        return wait_until(answered)

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
        """Publish a frame of one colour and wait until the node has it; return its stamp."""
        from std_msgs.msg import Header

        from chatspot_ros.messages import to_image_message

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
                if self.ask("come?", stamp=stamp, camera=camera).name in ("OK", "BAD_IMAGE"):
                    return True
            return False

        wait_until(has_come)

    def set_parameter(self, name: str, value: Any) -> Any:
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        change = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return finish(self.parameter_setter.call_async(change)).results[0]


@pytest.fixture(scope="module")
def fake(module_spawn: Any, module_ros_node: Any) -> World:
    """A node with the scripted engine, and what talks to it; one for all tests of a file."""
    process = module_spawn(sys.executable, FAKE_NODE, ready="ready: region_query_node")
    world = World(module_ros_node, process)
    world.wait_for_node()
    return world


@pytest.fixture
def start_fake(spawn: Any, ros_node: Any) -> Callable[..., World]:
    """Start a node of the test's own: `start_fake("-p", "queue_size:=1", FAKE_LOAD_BREAKS="1")`."""

    def start(*arguments: str, ready: str | None = "ready: region_query_node", **env: str) -> World:
        # The node of the whole file still runs, so this one keeps to itself.
        namespace = f"/own_{next(_namespaces)}"
        command = (sys.executable, FAKE_NODE, "--ros-args", "-r", f"__ns:={namespace}")
        process = spawn(*command, *arguments, ready=ready, env=env)
        return World(ros_node, process, namespace)

    return start


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    """What talks to a node that the test itself has started."""
    return World
