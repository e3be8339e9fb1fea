"""The kitchen's acts over ROS: at a position, reported late, and another kitchen while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from chatspot_ros.msg import ActionStep
from chatspot_ros.srv import KitchenAct
from geometry_msgs.msg import PointStamped
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_msgs.msg import String

from chatspot_sim.inventory import Inventory

CAMERA = ("python", "-m", "chatspot_sim.kitchen_camera")
NS = "/acts"


class Room:
    """A running kitchen of seed 3: its fridge is closed, and it holds two bottles."""

    def __init__(self, node: Any) -> None:
        self.inventories: list[Inventory] = []
        self._news = threading.Condition()
        node.create_subscription(String, f"{NS}/kitchen/inventory", self._hear, 10)
        self._act = node.create_client(KitchenAct, f"{NS}/kitchen/act")
        self._set = node.create_client(SetParameters, f"{NS}/kitchen_camera/set_parameters")

    def _hear(self, message: String) -> None:
        with self._news:
            self.inventories.append(Inventory.from_json(message.data))
            self._news.notify_all()

    def wait(self, is_so: Callable[[Inventory], bool]) -> Inventory:
        """Wait for a picture of a kitchen in which something is so."""
        before = len(self.inventories)
        with self._news:
            assert self._news.wait_for(lambda: any(map(is_so, self.inventories[before:])), 60.0), (
                self.inventories[-1:]
            )
            return next(one for one in self.inventories[before:] if is_so(one))

    def begin(self, action: str, target: str, frame: str = "", xyz: Any = (0, 0, 0)) -> Any:
        position = PointStamped()
        position.header.frame_id = frame
        point = position.point
        point.x, point.y, point.z = map(float, xyz)
        step = ActionStep(action=action, target=target)
        return self._act.call_async(KitchenAct.Request(step=step, position=position))

    def act(self, *step: Any) -> KitchenAct.Response:
        return self.finish(self.begin(*step))

    def set(self, name: str, value: Any) -> Any:
        change = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[change])
        return self.finish(self._set.call_async(request)).results[0]

    @staticmethod
    def finish(future: Any) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(60.0)
        return future.result()


@pytest.fixture(scope="module")
def room(module_ros_node: Any, module_spawn: Callable[..., Any], settle: Any) -> Room:
    room = Room(module_ros_node)
    values = [f"{k}:={v}" for k, v in (("seed", 3), ("width", 320), ("height", 240), ("rate", 4.0))]
    given = [word for value in values for word in ("-p", value)]
    module_spawn(*CAMERA, "--ros-args", *given, "-r", f"__ns:={NS}", ready="ready: kitchen_camera")
    settle(module_ros_node, f"{NS}/kitchen_camera")
    return room


def is_open(inventory: Inventory) -> bool:
    return any(one.kind == "fridge" and one.state["door"] == "open" for one in inventory.things)


@pytest.mark.parametrize(
    ("frame", "xyz", "words"),
    [
        (
            "base_link",
            (0, 0, 2),
            "'base_link' cannot be used; give it in the frame of the pictures",
        ),
        ("kitchen_camera", (0, 0, 0.1), "there is no 'fridge' at this position"),
        ("kitchen_camera", (float("nan"), 0, 1), "a position is finite"),
        ("kitchen_camera", (0, 0, float("inf")), "a position is finite"),
    ],
)
def test_a_position_that_cannot_be_used_is_refused_with_its_remedy(
    room: Room, frame: str, xyz: tuple[float, ...], words: str
) -> None:
    report = room.act("open", "fridge", frame, xyz)
    assert not report.done
    assert words in report.message
    room.wait(lambda inventory: not is_open(inventory))


def test_a_late_report_comes_after_pictures_of_what_was_done(room: Room) -> None:
    assert room.set("act_late_s", 600.0).successful
    assert room.set("act_faults", "late").successful
    report = room.begin("open", "fridge")
    # The act is done, pictures go on, other acts are served: only the report is not there.
    room.wait(is_open)
    assert room.act("close", "fridge").done
    room.wait(lambda inventory: not is_open(inventory))
    assert not report.done()


def test_another_seed_draws_another_kitchen_with_faults_of_its_own(room: Room) -> None:
    assert room.set("act_fault_rate", 1.0).successful
    outcomes = []
    for seed in (5, 3, 5):
        assert room.set("seed", seed).successful
        room.wait(lambda inventory, seed=seed: inventory.seed == seed)
        assert room.set("act_late_s", 0.0).successful  # the faults begin anew with this, too
        reports = [room.act("open", "fridge") for _ in range(6)]
        outcomes.append([(report.done, report.message) for report in reports])
    assert outcomes[0] == outcomes[2] != outcomes[1]
    assert room.set("act_fault_rate", 0.0).successful


def test_a_fault_that_is_unknown_is_refused_and_changes_nothing(room: Room) -> None:
    result = room.set("act_faults", "topples")
    assert not result.successful
    assert "topples" in result.reason
    assert room.act("close", "fridge").done
    assert not room.set("width", 64).successful  # only what the kitchen can change while it runs
