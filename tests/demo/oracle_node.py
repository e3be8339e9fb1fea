"""The node with an engine that answers from the truth, as a program.

The environment sets ORACLE_SEED, the seed of the demo's questions; ORACLE_WRONG, the number of
wrong answers at the beginning; ORACLE_SAYS, the only answer to all questions.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.answer_parser import read as read_answer
from chatspot_ros.core.dialects import ChatSpotDialect
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Reply
from chatspot_ros.region_query_node import RegionQueryNode
from chatspot_ros.ros.run_node import Stop, run_node
from chatspot_sim.demo import SEED
from chatspot_sim.demo_questions import draw_dozen
from chatspot_sim.truth import Truth


class Oracle:
    name = "oracle"

    def __init__(self) -> None:
        self.truth: Truth | None = None
        self.came = threading.Event()
        self.wrong_left = int(os.environ.get("ORACLE_WRONG", "0"))

    def hear(self, message: String) -> None:
        self.truth = Truth.from_json(message.data)
        self.came.set()

    def prepare(self, image_rgb: np.ndarray) -> np.ndarray:
        if "ORACLE_SAYS" not in os.environ:
            self.came.wait(10.0)
        return image_rgb

    def answer(
        self,
        scene: np.ndarray,
        question: Any,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Any:
        height, width = scene.shape[:2]
        picture = fit(PictureGeometry.STRETCH, (width, height), (224, 224))
        dialect = ChatSpotDialect()
        said, task = self._know(question, picture, dialect)
        if self.wrong_left > 0:
            self.wrong_left -= 1
            said = "a teapot"
        if on_text is not None:
            on_text(said)
        answer: Answer = read_answer(
            said, task=task, regions=question.regions, fit=picture, dialect=dialect,
            skills=("open", "close", "pick", "place", "plug_in", "unplug", "turn_on", "turn_off",
                    "fill", "empty"), confidence=0.9, truncated=False,
        )  # fmt: skip
        return Reply(answer, prompt=question.text, raw_text=said, tokens=1, seconds=0.0, task=task)

    def _know(self, question: Any, picture: Any, dialect: Any) -> tuple[str, str]:
        if "ORACLE_SAYS" in os.environ:
            return os.environ["ORACLE_SAYS"], ""
        assert self.truth is not None
        dozen = draw_dozen(self.truth, int(os.environ.get("ORACLE_SEED", SEED)))
        assert dozen is not None
        for asked in dozen:
            about = asked.about
            if about.question != question.text or asked.detections:
                continue
            regions = tuple(r for r in question.regions if r.points_px)
            if len(about.regions) != len(regions) or not all(map(same, about.regions, regions)):
                continue
            if about.box_xyxy_px is not None:
                return dialect.say(Region.box(*about.box_xyxy_px), picture), about.task
            return about.answer, about.task
        thing = min(
            self.truth.things,
            key=lambda t: np.abs(np.subtract(t.box_xyxy_px, question.regions[0].box_xyxy_px)).sum(),
        )
        return thing.name, ""


def same(a: Region, b: Region) -> bool:
    return a.kind == b.kind and np.allclose(a.points_px, b.points_px, atol=0.01)


class OracleNode(RegionQueryNode):
    def __init__(self, stop: Stop) -> None:
        oracle = Oracle()
        super().__init__(stop, lambda _: oracle)
        self.create_subscription(String, "kitchen/truth", oracle.hear, QoSProfile(depth=10))


def main() -> int:
    return run_node(partial(OracleNode), sys.argv)


if __name__ == "__main__":
    sys.exit(main())
