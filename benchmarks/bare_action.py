"""What the window and the page are measured against: an action client and nothing else."""

from __future__ import annotations

import time
from typing import Any

from chatspot_ros.action import AskRegion
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from chatspot_ros.core.regions import Region
from chatspot_ros.ros.conversions import to_region_message

PATIENCE_S = 180.0
WARM_UP = 3
QUESTION = "What is this?"
SIZE_WH = (640, 480)
POINT = (320.0, 240.0)
# The nodes that are started.
NODE, CAMERA = "region_query_node", "kitchen_camera"


class BareClient:
    """An action client that waits by spinning in the calling thread."""

    def __init__(self) -> None:
        self.node = Node("bare_action")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.action = ActionClient(self.node, AskRegion, f"{NODE}/ask_region")
        if not self.action.wait_for_server(PATIENCE_S):
            raise TimeoutError(f"{NODE}/ask_region is not offered")

    def first_word_s(self, session: str = "") -> float:
        """Ask about the newest frame; return the seconds until the first word.

        Raises TimeoutError.
        """
        heard: list[float] = []

        def on_feedback(message: Any) -> None:
            if message.feedback.text:
                heard.append(time.perf_counter())

        goal = AskRegion.Goal(question=QUESTION, session=session)
        goal.regions = [to_region_message(Region.point(*POINT))]
        begun = time.perf_counter()
        taken = self.action.send_goal_async(goal, feedback_callback=on_feedback)
        self.executor.spin_until_future_complete(taken, PATIENCE_S)
        done = taken.result().get_result_async()
        self.executor.spin_until_future_complete(done, PATIENCE_S)
        if not heard:
            reply = done.result().result if done.done() else None
            raise TimeoutError(f"no word came: {reply and reply.message}")
        return heard[0] - begun
