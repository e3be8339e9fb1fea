"""What an operator's program knows of its node: is it there, does it answer, where its cameras are.

Once a second the node is asked for two parameters, which shows that it lives; its state and its
cameras stand in /diagnostics.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.qos import QoSProfile

_PARAMETERS = ("detection_space", "detection_tolerance")
_PING_S, _LOOK_S = 1.0, 0.25
# A reply may be lost while the node does not know its new client; then it is soon asked again.
_FIRST_PING_S = 0.3
# A node that says nothing for so long is called silent, and its questions are given up.
_SILENT_S, SILENT_TOO_LONG_S = 3.0, 6.0
_LOOKING_S = 3.0
_GOAL_TYPE = "chatspot_ros/action/AskRegion_FeedbackMessage"
_FEEDBACK = "/ask_region/_action/feedback"


@dataclass(frozen=True)
class CameraTopics:
    """The topics of a camera of the node, resolved, and how its detections are laid out."""

    image: str
    detections: str
    detection_space: str = "camera"
    detection_tolerance_s: float = 0.0

    @property
    def compressed(self) -> bool:
        """Return True for sensor_msgs/CompressedImage: the node adds this end to its name."""
        return self.image.endswith("/compressed")


class OperatorLink:
    """Listens to one node. All but `problem` and `cameras` is for the executor's thread."""

    def __init__(self, node: Node, name: str) -> None:
        """`name` is the region query node's full name, such as /robot1/region_query_node."""
        self._node = node
        self.name = name
        self._began_s = time.monotonic()
        self._heard_s: float | None = None
        self._state = ""
        self._cameras: dict[str, tuple[str, str]] = {}
        self._camera_problem = ""
        self._layout: tuple[str, float] = ("camera", 0.0)
        self._known = False
        self._servers: frozenset[bytes] = frozenset()
        self._others: list[str] = []
        self._ping: tuple[float, Any] | None = None
        self._next_look_s = 0.0
        node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10)
        )

    def open(self) -> None:
        """Begin to ask. Call it when all other clients are made.

        The node hears of clients in the order in which they are made, so when it replies to this
        last one, it knows all.
        """
        self._client = self._node.create_client(GetParameters, f"{self.name}/get_parameters")

    # --- what is known

    @property
    def ready(self) -> bool:
        """Return True if the node is there and its replies come here."""
        return self._known

    @property
    def servers(self) -> frozenset[bytes]:
        """Return what tells the running node from another one of its name."""
        return self._servers

    @property
    def cameras(self) -> Mapping[str, CameraTopics]:
        """Return the cameras by their names, in the node's order."""
        return {
            name: CameraTopics(*topics, *self._layout) for name, topics in self._cameras.items()
        }

    def heard(self) -> None:
        """Note that the node has said something."""
        self._heard_s = time.monotonic()

    def silent_s(self) -> float:
        """Return for how many seconds nothing has come from the node, since the start at most."""
        return time.monotonic() - (self._heard_s or self._began_s)

    def problem(self) -> str:
        """Return for a person why the node cannot answer now; empty if it can."""
        silent_s = self.silent_s()
        if self._heard_s is None and silent_s < _LOOKING_S:
            return f"looking for {self.name}"
        if self._heard_s is None or (silent_s > _SILENT_S and not self._servers):
            return self.missing()
        if silent_s > _SILENT_S:
            # No number: whoever shows the words shows them again where they change.
            return (
                f"{self.name} says nothing any more: it was ended, hangs or cannot be reached; "
                "look at its terminal"
            )
        return self._state or self._camera_problem

    def missing(self) -> str:
        """Return the words for a node that is not there."""
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        elsewhere = f"; there is {', '.join(self._others)}: give its name" if self._others else ""
        return (
            f"there is no {self.name} in ROS domain {domain}{elsewhere}: start it (ros2 launch "
            "chatspot_ros region_query.launch.py), or set ROS_DOMAIN_ID as it has it"
        )

    # --- once in a while

    def tick(self) -> None:
        """Look whether the node is there, and ask it whether it lives."""
        now_s = time.monotonic()
        if self._known and now_s < self._next_look_s:
            return
        self._next_look_s = now_s + _LOOK_S
        servers = frozenset(
            bytes(one.endpoint_gid)
            for one in self._node.get_publishers_info_by_topic(f"{self.name}{_FEEDBACK}")
        )
        if servers != self._servers:
            # Another one has come, which has to get to know us.
            self._servers, self._known = servers, False
            self._drop_ping()
        if not servers:
            self._others = self._find_others()
            return
        if not self._client.service_is_ready():
            return
        if self._ping is None or now_s - self._ping[0] > (
            _PING_S if self._known else _FIRST_PING_S
        ):
            self._drop_ping()
            future = self._client.call_async(GetParameters.Request(names=list(_PARAMETERS)))
            self._ping = now_s, future
            future.add_done_callback(self._on_parameters)

    def _drop_ping(self) -> None:
        if self._ping is not None and not self._ping[1].done():
            self._client.remove_pending_request(self._ping[1])
        self._ping = None

    def _on_parameters(self, future: Any) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        self.heard()
        self._known = True
        values = future.result().values
        if len(values) == len(_PARAMETERS):
            self._layout = values[0].string_value or "camera", values[1].double_value

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        own = [one for one in message.status if one.name.split(": camera ")[0] == self.name]
        if not own:
            return
        self.heard()
        cameras: dict[str, tuple[str, str]] = {}
        problems: list[str] = []
        for one in own:
            bad = one.level != DiagnosticStatus.OK
            values = {pair.key: pair.value for pair in one.values}
            if one.name == self.name:
                self._state = one.message if bad else ""
                continue
            name = one.name.partition(": camera ")[2]
            cameras[name] = values.get("topic", ""), values.get("detections topic", "")
            if bad:
                problems.append(f"camera {name}: {one.message}")
        self._cameras, self._camera_problem = cameras, "; ".join(problems)

    def _find_others(self) -> list[str]:
        return [
            topic.removesuffix(_FEEDBACK)
            for topic, types in self._node.get_topic_names_and_types()
            if _GOAL_TYPE in types
            and topic.endswith(_FEEDBACK)
            # A client has the topic, too.
            and self._node.count_publishers(topic)
        ]
