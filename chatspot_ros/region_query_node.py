"""The node: RegionQuery, AskRegion, clicks, answers, the annotated picture, diagnostics.

No model code here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from rclpy.callback_groups import CallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from chatspot_ros.engine.remote.config import shown
from chatspot_ros.images.cv_bridge_converter import load_cv_bridge
from chatspot_ros.ros.annotated_publisher import AnnotatedPublisher
from chatspot_ros.ros.camera_subscriber import CameraSubscriber
from chatspot_ros.ros.depth_subscriber import DepthSubscriber
from chatspot_ros.ros.diagnostics_publisher import PERIOD_S, DiagnosticsPublisher
from chatspot_ros.ros.lifecycle_node import ThreadedLifecycleNode
from chatspot_ros.ros.log_forwarding import LogForwarding
from chatspot_ros.ros.parameters import Values, declare
from chatspot_ros.ros.query_endpoints import QueryEndpoints
from chatspot_ros.ros.run_node import Stop, run_node, tell
from chatspot_ros.ros.transforms import Transforms
from chatspot_ros.ros.watcher import Watcher
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.cameras import Cameras
from chatspot_ros.server.depth_settings import OFF
from chatspot_ros.server.engine_factory import load_engine
from chatspot_ros.server.frame_buffer import NS, REORDERING_NS
from chatspot_ros.server.metrics import Metrics
from chatspot_ros.server.model_manager import ModelManager
from chatspot_ros.server.positions import DepthBuffer, Locator
from chatspot_ros.server.request_handler import RequestHandler
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import SPECS, Settings
from chatspot_ros.util import process_memory

NAME = "region_query_node"
_CLOSING_S = 2.0
LoadEngine = Callable[[Settings], Any]


class RegionQueryNode(ThreadedLifecycleNode):
    """Offers its service and action from the start; until it is active it replies NOT_ACTIVE."""

    def __init__(self, stop: Stop, load: LoadEngine = load_engine) -> None:
        """`load` returns the engine (see chatspot_ros.engine) and may take long."""
        super().__init__(NAME, stop)
        # rclpy destroys a node also where its constructor failed.
        self._endpoints: QueryEndpoints | None = None
        self._logging = LogForwarding(self.get_logger())
        self._settings = settings = Settings(**declare(self, SPECS, self._on_values))
        self._metrics = metrics = Metrics()
        self._cameras = Cameras(settings)
        self._sessions: SessionStore[Any, Any] = SessionStore(
            max_sessions=settings.max_sessions,
            max_idle_s=settings.session_idle,
            max_turns=settings.session_turns,
        )
        self._model = ModelManager(
            load, lambda: Answerer(self._settings, self._sessions, metrics.note_answer)
        )
        draw = AnnotatedPublisher(self, metrics).draw
        self.handler = RequestHandler(
            settings, self._cameras, self._sessions, self._model, self._now_ns, draw
        )
        self.handler.stop(self._hint("not configured", "configure"))
        # Callbacks await answers: others must run meanwhile.
        group = ReentrantCallbackGroup()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._locator, self._depths = self._make_locator(group)
        locate = self._locator.locate
        self._endpoints = QueryEndpoints(self, self.handler, metrics, locate, group, steady)
        watcher = Watcher(self, self._cameras.by_name, settings, self._endpoints.ask)
        self._subscribers = self._make_subscribers(group, self._endpoints, watcher)
        reporter = DiagnosticsPublisher(self, self.handler, self._model, metrics, self._subscribers)
        self.create_timer(PERIOD_S, reporter.report, group, clock=steady)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-REORDERING_NS))
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=self._on_time_jump)
        self._endpoints.open()
        self._begin(settings)

    def _make_subscribers(
        self, group: CallbackGroup, endpoints: QueryEndpoints, watcher: Watcher
    ) -> list[CameraSubscriber]:
        several = len(self._cameras.by_name) > 1
        return [
            CameraSubscriber(
                self,
                camera,
                prefix=f"{camera.name}/" if several else "",
                group=group,
                on_arrival=self.handler.frame_arrived,
                on_click=endpoints.on_click,
                on_detections=watcher.on_detections,
            )
            for camera in self._cameras.by_name.values()
        ]

    def _make_locator(self, group: CallbackGroup) -> tuple[Locator, list[DepthSubscriber]]:
        """Return what finds positions, and the subscribers of depth, where there is depth."""
        settings, names = self._settings, self._cameras.by_name
        buffers = {name: DepthBuffer(name, settings) for name in names}
        if settings.depth_images == OFF:
            return Locator(settings, buffers), []
        target = settings.target_frame
        find_motion = Transforms(self, target).find if target else None
        subscribers = [
            DepthSubscriber(
                self, buffer, settings, prefix=f"{name}/" if len(names) > 1 else "", group=group
            )
            for name, buffer in buffers.items()
        ]
        return Locator(settings, buffers, find_motion), subscribers

    def _begin(self, settings: Settings) -> None:
        if settings.autostart:
            self.handler.stop("the model is loading")
            self.start_by_itself()
        else:
            self.get_logger().info("waiting to be configured and activated (autostart is off)")

    # --- the lifecycle, in the transition's thread

    def configure(self) -> None:
        """Load the model and warm it up. Raises ModelError."""
        self.in_executor(lambda: self.handler.stop("the model is loading"))
        settings = self._settings
        self.get_logger().info(f"loading the model '{shown(settings.model)}'")
        began_s = time.monotonic()
        load_cv_bridge()  # may take seconds: not at the first picture
        self._model.load(settings)
        self.handler.model = self._model.name
        process_memory.settle()
        self.get_logger().info(
            f"model '{self._model.name}' loaded in {time.monotonic() - began_s:.1f} s"
        )
        self.in_executor(lambda: self.handler.stop(self._hint("inactive", "activate")))

    def activate(self) -> None:
        """Subscribe, and start to answer."""
        worker, name = self._model.worker, self._model.name
        if worker is None:
            raise RuntimeError("the node is inactive without a model")
        start_handler = partial(self.handler.activate, worker, name)

        def begin() -> None:
            for subscriber in self._subscribers:
                subscriber.start()
            for depths in self._depths:
                depths.start()
            start_handler()

        self.in_executor(begin)
        tell(f"ready: {self.get_name()}")

    def deactivate(self) -> None:
        """End requests in flight with NOT_ACTIVE; drop frames, scenes and conversations."""

        def end() -> None:
            self.handler.stop(self._hint("inactive", "activate"))
            for subscriber in self._subscribers:
                subscriber.stop()
            for depths in self._depths:
                depths.stop()
            self._cameras.clear()
            self._locator.clear()
            self._sessions.clear()

        self.in_executor(end)
        self._model.forget()

    def clean_up(self) -> None:
        """Free the model and the memory of its device."""
        why = self.last_failure or self._hint("not configured", "configure")
        self.in_executor(lambda: self.handler.stop(why))
        self.handler.model = ""
        if not self._model.unload():
            self.get_logger().warning(
                "the model still computes; its memory is free when it comes to the end of that step"
            )

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop serving for good."""
        result = super().on_shutdown(state)
        if result == TransitionCallbackReturn.SUCCESS:
            why = "the node is finalized: start its process again"
            self.in_executor(lambda: self.handler.stop(why))
        return result

    def _hint(self, state: str, transition: str) -> str:
        name = self.get_fully_qualified_name()
        return f"the node is {state}: ros2 lifecycle set {name} {transition}"

    def close(self) -> None:
        """End requests in flight with NOT_ACTIVE, send the replies, stop the worker."""
        self.handler.stop("the node is shutting down")
        if self._endpoints is not None:
            self._endpoints.flush(_CLOSING_S)
        self._model.unload(_CLOSING_S)
        self.finish()

    # --- changes from outside

    def _on_time_jump(self, jump: TimeJump) -> None:
        """Drop all frames: their stamps may come again on other pictures."""
        self._cameras.clear()
        self._locator.clear()
        self.get_logger().warning(
            f"time went back by {-jump.delta.nanoseconds / NS:.3f} s, or its source has changed; "
            "the frames and detections held are forgotten"
        )

    def _on_values(self, values: Values) -> None:
        settings = Settings(**values)
        self._settings = self.handler.settings = settings
        self._model.configure(settings)
        self._cameras.configure(settings)
        self._locator.settings = settings
        if self._endpoints is not None:
            self._endpoints.configure(settings)
        self._sessions.configure(
            max_sessions=settings.max_sessions,
            max_idle_s=settings.session_idle,
            max_turns=settings.session_turns,
        )

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def destroy_node(self) -> None:
        """Destroy the node and its action server."""
        if self._endpoints is not None:
            self._endpoints.destroy()
        self._logging.close()
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the node until it is told to stop."""
    run_node(RegionQueryNode, args)


if __name__ == "__main__":
    main()
