"""Publishes the node's metrics on /diagnostics, once a second as is the custom."""

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
# How often circles of objects are looked for, in periods.
_TIDY_EVERY = 10


class DiagnosticsPublisher:
    """Gathers what /diagnostics tells, and has the cameras warn of what a person has to mend."""

    def __init__(
        self,
        node: ThreadedLifecycleNode,
        service: RequestHandler,
        model: ModelManager,
        metrics: Metrics,
        inputs: Sequence[CameraSubscriber],
    ) -> None:
        self._node = node
        self._service = service
        self._model = model
        self._metrics = metrics
        self._inputs = inputs
        self._count = 0
        self._publisher = node.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=10)
        )

    def report(self) -> None:
        """Publish. Call it every PERIOD_S, in the executor's thread."""
        self._count += 1
        if self._count % _TIDY_EVERY == 0:
            process_memory.tidy()
        cameras = [camera.report() for camera in self._inputs]
        for camera, report in zip(self._inputs, cameras, strict=True):
            camera.watch(report)
        self._publisher.publish(
            to_diagnostics(
                self._node.get_fully_qualified_name(),
                self._node.get_clock().now().to_msg(),
                self._report_node(),
                cameras,
            )
        )

    def _report_node(self) -> NodeReport:
        service = self._service
        return NodeReport(
            state=self._node.state,
            why_not=service.inactive_because,
            broken=self._node.last_failure or self._metrics.failing,
            waiting=self._model.waiting,
            queue_size=service.settings.queue_size,
            answered=self._metrics.answered,
            values={
                "model": service.model,
                "device": self._model.device,
                **process_memory.values(),
                "pending": service.inflight_count,
                **self._metrics.values(),
            },
        )
