"""A camera node in a simulated kitchen: publishes pictures and their truth, applies actions.

Topics: `image` (or `image/compressed`), `camera_info`, `depth/image`, `depth/camera_info`,
`kitchen/truth` (JSON of chatspot_sim.truth.Truth). Service: `kitchen/act`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from chatspot_ros.srv import KitchenAct
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from chatspot_ros.errors import RequestError
from chatspot_ros.ros.conversions import to_image_message, to_ns
from chatspot_ros.ros.parameters import declare
from chatspot_ros.ros.run_node import Stop, run_node, tell
from chatspot_sim.camera_messages import camera_info, compressed_image, depth_image
from chatspot_sim.kitchen import STATES, draw_kitchen
from chatspot_sim.kitchen_parameters import CAMERA, CAMERA_SPECS
from chatspot_sim.sensor import sense_depth
from chatspot_sim.world import World

_CLOSING_S = 2.0
FAULTS = ("works", "fails", "slips")


class KitchenCamera(Node):
    """Renders, acts and publishes in the executor's one thread, which owns the GL context."""

    def __init__(self, stop: Stop) -> None:
        """Draw the kitchen. Raises RequestError for a parameter that cannot be used."""
        super().__init__(CAMERA)
        self._stop = stop
        self._settings = settings = declare(self, CAMERA_SPECS)
        self._faults = parse_faults(settings["act_faults"])
        self._world = World(
            draw_kitchen(settings["seed"], settings["split"]), settings["width"], settings["height"]
        )
        self._life = np.random.default_rng([settings["seed"], 5])
        self._grain = np.random.default_rng([settings["seed"], 6])
        self._is_ready = False
        self._compressed = settings["transport"] == "compressed"
        topic = self.resolve_topic_name("image") + ("/compressed" if self._compressed else "")
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy[settings["reliability"].upper()])
        kind = CompressedImage if self._compressed else Image
        self._images = self.create_publisher(kind, topic, qos)
        self._infos = self.create_publisher(CameraInfo, "camera_info", qos)
        self._depths = self._depth_infos = None
        if settings["depth"] != "off":
            self._depths = self.create_publisher(Image, "depth/image", qos)
            self._depth_infos = self.create_publisher(CameraInfo, "depth/camera_info", qos)
        self._truths = self.create_publisher(String, "kitchen/truth", QoSProfile(depth=10))
        self.create_service(KitchenAct, "kitchen/act", self._on_act)
        self._timers = [self.create_timer(1.0 / settings["rate"], self._on_frame)]
        if settings["life_period_s"] > 0:
            self._timers.append(self.create_timer(settings["life_period_s"], self._on_life))

    def close(self) -> None:
        """Free the GL context in the thread that made it, while the executor still spins."""
        done = threading.Event()

        def end() -> None:
            for timer in self._timers:
                timer.cancel()
            self._world.close()
            done.set()

        self.executor.create_task(end)
        done.wait(_CLOSING_S)

    def _on_frame(self) -> None:
        try:
            self._publish()
        except Exception as error:
            # The next picture would fail, too.
            self.get_logger().fatal(
                f"cannot render the kitchen ({type(error).__name__}: {error}); install Mesa's EGL "
                "(Debian: libegl1 libgl1-mesa-dri), or set MUJOCO_GL=osmesa and install libosmesa6"
            )
            self._stop("the kitchen cannot be rendered", exit_code=1)
            return
        if not self._is_ready:
            self._is_ready = True
            tell(f"ready: {self.get_name()}")

    def _publish(self) -> None:
        """Publish the picture of now, its camera info and its truth, all with one stamp."""
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._settings["frame_id"])
        frame = self._world.frame(to_ns(header.stamp), measure_visibility=True)
        if self._compressed:
            message: Any = compressed_image(frame.rgb, self._settings["compressed_format"], header)
        else:
            message = to_image_message(frame.rgb, header)
        fovy_deg = self._world.kitchen.view.fovy_deg
        info = camera_info(fovy_deg, self._world.width, self._world.height, header)
        # Before the picture goes out: whoever has it need not wait for its depth.
        depth = self._depth(header)
        self._images.publish(message)
        self._infos.publish(info)
        if depth is not None and self._depths is not None:
            self._depths.publish(depth)
        if self._depth_infos is not None:
            self._depth_infos.publish(info)
        self._truths.publish(String(data=frame.truth.to_json()))

    def _depth(self, header: Header) -> Image | None:
        """Return the depth picture of now; None if nobody subscribes."""
        if self._depths is None or not self._depths.get_subscription_count():
            return None
        settings = self._settings
        sensed_m = sense_depth(
            self._world.depth_m(), settings["depth_noise"], settings["depth_holes"], self._grain
        )
        return depth_image(sensed_m, settings["depth"], header)

    def _on_act(
        self, request: KitchenAct.Request, response: KitchenAct.Response
    ) -> KitchenAct.Response:
        step = request.step
        match self._faults.pop(0) if self._faults else "works":
            case "fails":
                response.done, response.message = False, "the gripper slipped off"
            case "slips":
                response.done, response.message = True, f"{step.action} {step.target}: done"
            case _:
                response.done, response.message = self._world.act(step.action, step.target)
        self.get_logger().info(f"{step.action} {step.target}: {response.message}")
        return response

    def _on_life(self) -> None:
        """Change the state of one thing, as a person in the room might."""
        choices = [(item, name) for item in self._world.kitchen.items for name in item.state]
        if not choices:
            return
        item, name = choices[int(self._life.integers(len(choices)))]
        values = STATES[item.kind][name]
        value = values[1] if item.state[name] == values[0] else values[0]
        self._world.set_state(item.id, name, value)
        self.get_logger().info(f"by itself: {item.id} {name}: {value}")


def parse_faults(text: str) -> list[str]:
    """Return the words of the parameter act_faults. Raises RequestError for an unknown one."""
    words = text.replace(",", " ").split()
    unknown = [word for word in words if word not in FAULTS]
    if unknown:
        raise RequestError(
            "act_faults has an unknown word", value=unknown[0], remedy=f"use {', '.join(FAULTS)}"
        )
    return words


def main(args: Sequence[str] | None = None) -> int:
    """Run the camera until it is told to stop; return the process's exit code."""
    return run_node(KitchenCamera, args)


if __name__ == "__main__":
    sys.exit(main())
