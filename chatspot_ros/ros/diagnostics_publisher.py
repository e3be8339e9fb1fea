"""Publishes the state of the node on /diagnostics, once a second as usual."""

from __future__ import annotations

from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile

from chatspot_ros.ros.camera_subscriber import CameraSubscriber
from chatspot_ros.ros.diagnostics import NodeReport, to_diagnostics
from chatspot_ros.ros.lifecycle_node import ThreadedLifecycleNode
from chatspot_ros.server.metrics import Metrics
from chatspot_ros.server.model_manager import ModelManager
from chatspot_ros.server.request_handler import RequestHandler
from chatspot_ros.util import process_memory

PERIOD_S = 1.0
# How often the garbage collector runs, in periods.
_TIDY_EVERY = 10
# How often nodes of the same name are looked for, in periods.
_NAMESAKES_EVERY = 3
_WARN_AGAIN_S = 60.0


class DiagnosticsPublisher:
    """Gathers and publishes /diagnostics, and lets the cameras log their warnings."""

    def __init__(
        self,
        node: ThreadedLifecycleNode,
        handler: RequestHandler,
        model: ModelManager,
        metrics: Metrics,
        subscribers: Sequence[CameraSubscriber],
    ) -> None:
        self._node = node
        self._handler = handler
        self._model = model
        self._metrics = metrics
        self._subscribers = subscribers
        self._count = 0
        self._publisher = node.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=10)
        )

    def report(self) -> None:
        """Publish. Call it every PERIOD_S, in the executor's thread."""
        self._count += 1
        if self._count % _TIDY_EVERY == 0:
            process_memory.tidy()
        if self._count % _NAMESAKES_EVERY == 0:
            self._look_for_namesakes()
        cameras = [camera.report() for camera in self._subscribers]
        for camera, report in zip(self._subscribers, cameras, strict=True):
            camera.watch(report)
        self._publisher.publish(
            to_diagnostics(
                self._node.get_fully_qualified_name(),
                self._node.get_clock().now().to_msg(),
                self._report_node(),
                cameras,
            )
        )

    def _look_for_namesakes(self) -> None:
        own = (self._node.get_name(), self._node.get_namespace())
        if self._node.get_node_names_and_namespaces().count(own) > 1:
            self._node.get_logger().warning(
                f"there is another node {self._node.get_fully_qualified_name()}: both answer every "
                "request; end one, or give it a namespace or a name of its own (__ns, __node)",
                throttle_duration_sec=_WARN_AGAIN_S,
            )

    def _report_node(self) -> NodeReport:
        handler = self._handler
        return NodeReport(
            state=self._node.state,
            why_not=handler.inactive_because,
            broken=self._node.last_failure or self._metrics.failing,
            waiting=self._model.waiting,
            queue_size=handler.settings.queue_size,
            answered=self._metrics.answered,
            values={
                "model": handler.model,
                "device": self._model.device,
                **self._model.values(),
                **process_memory.values(self._model.device),
                "scenes and conversations held, MB": f"{self._model.cache_bytes / 1e6:.0f}",
                "pending": handler.inflight_count,
                **self._metrics.values(),
            },
        )
