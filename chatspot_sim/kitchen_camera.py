"""A camera node in a simulated kitchen: publishes pictures and their truth, applies actions.

Topics: `image` (or `image/compressed`), `camera_info`, `depth/image`, `depth/camera_info`,
`kitchen/truth` (JSON of chatspot_sim.truth.Truth), `kitchen/inventory` (JSON of
chatspot_sim.inventory.Inventory: also what the picture does not show). Service: `kitchen/act`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from chatspot_ros.srv import KitchenAct
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from chatspot_ros.ros.conversions import to_image_message, to_ns
from chatspot_ros.ros.parameters import declare
from chatspot_ros.ros.run_node import Stop, run_node, tell
from chatspot_sim.act_faults import ActFaults, problem_of
from chatspot_sim.camera_messages import camera_info, compressed_image, depth_image
from chatspot_sim.inventory import Inventory
from chatspot_sim.kitchen import STATES, draw_kitchen
from chatspot_sim.kitchen_parameters import CAMERA, CAMERA_SPECS
from chatspot_sim.sensor import sense_depth
from chatspot_sim.world import World

_CLOSING_S = 2.0
_CHANGED_BY_HAND = ("seed", "act_faults", "act_fault_rate", "act_late_s")
_SPECS = [replace(spec, read_only=spec.name not in _CHANGED_BY_HAND) for spec in CAMERA_SPECS]


class KitchenCamera(Node):
    """Renders, acts and publishes in the executor's one thread, which owns the GL context."""

    def __init__(self, stop: Stop) -> None:
        """Draw the kitchen. Raises RequestError for a parameter that cannot be used."""
        super().__init__(CAMERA)
        self._stop = stop
        self._settings = settings = declare(
            self, _SPECS, self._on_change, lambda values: problem_of(values["act_faults"])
        )
        self._faults = _faults_of(settings)
        self._world = _world_of(settings)
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
        self._inventories = self.create_publisher(String, "kitchen/inventory", QoSProfile(depth=10))
        # Pictures go on while an act awaits its late report.
        self.create_service(
            KitchenAct, "kitchen/act", self._on_act, callback_group=ReentrantCallbackGroup()
        )
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
        inventory = Inventory.of(self._world.kitchen, to_ns(header.stamp))
        self._inventories.publish(String(data=inventory.to_json()))

    def _depth(self, header: Header) -> Image | None:
        """Return the depth picture of now; None if nobody subscribes."""
        if self._depths is None or not self._depths.get_subscription_count():
            return None
        settings = self._settings
        sensed_m = sense_depth(
            self._world.depth_m(), settings["depth_noise"], settings["depth_holes"], self._grain
        )
        return depth_image(sensed_m, settings["depth"], header)

    async def _on_act(
        self, request: KitchenAct.Request, response: KitchenAct.Response
    ) -> KitchenAct.Response:
        step = request.step
        fault = self._faults.next()
        match fault:
            case "fails":
                response.done, response.message = False, "the gripper slipped off"
            case "slips":
                response.done, response.message = True, f"{step.action} {step.target}: done"
            case _:
                response.done, response.message = self._act(request)
        self.get_logger().info(f"{step.action} {step.target} ({fault}): {response.message}")
        if fault == "late":
            await self._pause(self._settings["act_late_s"])
        return response

    def _act(self, request: KitchenAct.Request) -> tuple[bool, str]:
        step, header, point = request.step, request.position.header, request.position.point
        if not header.frame_id:
            return self._world.act(step.action, step.target)
        if header.frame_id != self._settings["frame_id"]:
            return False, (
                f"a position in the frame {header.frame_id!r} cannot be used; give it in the "
                f"frame of the pictures, {self._settings['frame_id']!r}"
            )
        place_m = (point.x, point.y, point.z)
        if not np.isfinite(place_m).all():
            return False, f"a position is finite (got {place_m}); leave its frame_id empty for none"
        return self._world.act(step.action, step.target, place_m)

    async def _pause(self, seconds: float) -> None:
        """Wait while the executor goes on."""
        over = Future(executor=self.executor)
        timer = self.create_timer(max(seconds, 1e-3), lambda: over.set_result(None))
        await over
        self.destroy_timer(timer)

    def _on_change(self, values: dict[str, Any]) -> None:
        """Take changed parameters; draw the kitchen of another seed."""
        before, self._settings = self._settings, values
        self._faults = _faults_of(values)
        if values["seed"] != before["seed"]:
            self._world.close()
            self._world = _world_of(values)
            self._life = np.random.default_rng([values["seed"], 5])
            self._grain = np.random.default_rng([values["seed"], 6])
            self.get_logger().info(f"the kitchen is now that of seed {values['seed']}")

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


def _world_of(settings: dict[str, Any]) -> World:
    kitchen = draw_kitchen(settings["seed"], settings["split"])
    return World(kitchen, settings["width"], settings["height"])


def _faults_of(settings: dict[str, Any]) -> ActFaults:
    return ActFaults(settings["act_faults"], settings["act_fault_rate"], settings["seed"])


def main(args: Sequence[str] | None = None) -> int:
    """Run the camera until it is told to stop; return the process's exit code."""
    return run_node(KitchenCamera, args)


if __name__ == "__main__":
    sys.exit(main())
