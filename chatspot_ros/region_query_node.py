"""The node: RegionQuery, AskRegion, clicks, answers, the annotated picture, diagnostics.

No model code here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from rclpy.task import Future

from chatspot_ros.action import AskRegion
from chatspot_ros.core.regions import Region
from chatspot_ros.msg import RegionAnswers
from chatspot_ros.ros.annotated_publisher import AnnotatedPublisher
from chatspot_ros.ros.camera_subscriber import CameraSubscriber
from chatspot_ros.ros.conversions import fill, to_answers_message, to_query
from chatspot_ros.ros.deferred_service import DeferredService, SendReply
from chatspot_ros.ros.diagnostics_publisher import PERIOD_S, DiagnosticsPublisher
from chatspot_ros.ros.lifecycle_node import ThreadedLifecycleNode
from chatspot_ros.ros.log_forwarding import LogForwarding
from chatspot_ros.ros.parameters import declare
from chatspot_ros.ros.run_node import Stop, run_node, tell
from chatspot_ros.ros.watcher import Watcher
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.cameras import Camera, Cameras
from chatspot_ros.server.engine_factory import load_engine
from chatspot_ros.server.frame_buffer import NS, REORDERING_NS
from chatspot_ros.server.inflight_request import InflightRequest, OnText
from chatspot_ros.server.metrics import Metrics
from chatspot_ros.server.model_manager import ModelManager
from chatspot_ros.server.request import OK, Query, QueryReply
from chatspot_ros.server.request_handler import RequestHandler
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings
from chatspot_ros.srv import RegionQuery
from chatspot_ros.util import process_memory

NAME = "region_query_node"
_TICK_S = 0.02
_CLOSING_S = 2.0
_LAST_REPLY_S = 0.1
_PASS_ON_S = 50e-6
# Of the usual 10 an eleventh request that comes in one moment would be lost, without a status.
_REQUESTS = QoSProfile(depth=1000)
LoadEngine = Callable[[Settings], Any]


class RegionQueryNode(ThreadedLifecycleNode):
    """Its service and action are there from the start; until it is active they say NOT_ACTIVE."""

    def __init__(self, stop: Stop, load: LoadEngine = load_engine) -> None:
        """`load` returns the engine (see chatspot_ros.engine); it may take its time."""
        super().__init__(NAME, stop)
        self._action: ActionServer | None = None
        self._logging = LogForwarding(self.get_logger())
        self._settings = settings = declare(self, self._on_settings)
        # Queries await their answers: a second one must get in meanwhile.
        group = ReentrantCallbackGroup()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._metrics = Metrics()
        self._cameras = Cameras(settings)
        self._sessions: SessionStore[Any, Any] = SessionStore(
            max_sessions=settings.max_sessions,
            max_idle_s=settings.session_idle,
            max_turns=settings.session_turns,
        )
        self._model = ModelManager(
            load, lambda: Answerer(self._settings, self._sessions), self._metrics
        )
        drawing = AnnotatedPublisher(self, self._metrics)
        self.service = RequestHandler(
            settings, self._cameras, self._sessions, self._model, self._now_ns, drawing.draw
        )
        self.service.stop(self._hint("not configured", "configure"))
        self._answers = self.create_publisher(RegionAnswers, "~/answers", QoSProfile(depth=10))
        watching = Watcher(self, self._cameras.cameras, settings, self._ask)
        several = len(self._cameras.cameras) > 1
        self._inputs = [
            CameraSubscriber(
                self,
                camera,
                prefix=f"{camera.name}/" if several else "",
                group=group,
                on_arrival=self.service.frame_arrived,
                on_click=self._on_click,
                on_detections=watching.on_detections,
            )
            for camera in self._cameras.cameras.values()
        ]
        self._goals: dict[bytes, InflightRequest] = {}
        self._replying = 0
        reporter = DiagnosticsPublisher(
            self, self.service, self._model, self._metrics, self._inputs
        )
        self._tick_timer = self.create_timer(_TICK_S, self._tick, group, clock=steady)
        self.create_timer(PERIOD_S, reporter.report, group, clock=steady)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-REORDERING_NS))
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=self._on_time_jump)
        self._queries = DeferredService(
            self,
            RegionQuery,
            "~/region_query",
            self._on_query,
            qos_profile=_REQUESTS,
            callback_group=group,
        )
        self._action = ActionServer(
            self,
            AskRegion,
            "~/ask_region",
            self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=group,
            goal_service_qos_profile=_REQUESTS,
            result_service_qos_profile=_REQUESTS,
            cancel_service_qos_profile=_REQUESTS,
        )
        if settings.autostart:
            self.service.stop("the model is loading")
            self.start_by_itself()
        else:
            self.get_logger().info("waiting to be configured and activated (autostart is off)")

    # --- the lifecycle, in the transition's thread

    def configure(self) -> None:
        """Load the model and let it answer once. Raises ModelError: why it cannot."""
        self.in_executor(lambda: self.service.stop("the model is loading"))
        settings = self._settings
        self.get_logger().info(f"loading the model '{settings.model}'")
        began_s = time.monotonic()
        self._model.load(settings)
        self.service.model = self._model.name
        process_memory.settle()
        self.get_logger().info(
            f"model '{self._model.name}' loaded in {time.monotonic() - began_s:.1f} s"
        )
        self.in_executor(lambda: self.service.stop(self._hint("inactive", "activate")))

    def activate(self) -> None:
        """Subscribe, and begin to answer."""
        worker, name = self._model.worker, self._model.name
        if worker is None:
            raise RuntimeError("the node is inactive without a model")
        service = partial(self.service.activate, worker, name)

        def begin() -> None:
            for camera in self._inputs:
                camera.start()
            service()

        self.in_executor(begin)
        tell(f"ready: {self.get_name()}")

    def deactivate(self) -> None:
        """Answer what is pending with NOT_ACTIVE; forget pictures, scenes and conversations."""

        def end() -> None:
            self.service.stop(self._hint("inactive", "activate"))
            for camera in self._inputs:
                camera.stop()
            self._cameras.clear()
            self._sessions.clear()

        self.in_executor(end)
        self._model.forget()

    def clean_up(self) -> None:
        """Free the model and the memory of its device."""
        why = self.last_failure or self._hint("not configured", "configure")
        self.in_executor(lambda: self.service.stop(why))
        self.service.model = ""
        if not self._model.unload():
            self.get_logger().warning(
                "the model still computes; its memory is free when it comes to the end of that step"
            )

    def _hint(self, state: str, transition: str) -> str:
        name = self.get_fully_qualified_name()
        return f"the node is {state}: ros2 lifecycle set {name} {transition}"

    def close(self) -> None:
        """Answer what is pending with NOT_ACTIVE, let the replies out, stop the worker."""
        self.service.stop("the node is shutting down")
        until_s = time.monotonic() + _CLOSING_S
        while (self._replying or self._queries.waiting) and time.monotonic() < until_s:
            time.sleep(0.01)
        # The result of a goal leaves in a step of its own, after its callback.
        time.sleep(_LAST_REPLY_S)
        self._model.unload(_CLOSING_S)
        self.finish()

    # --- queries

    async def _ask(
        self,
        query: Query,
        on_text: OnText | None = None,
        on_inflight: Callable[[InflightRequest], None] | None = None,
    ) -> QueryReply:
        """Put a query through and publish its outcome, for who awaits it in the executor."""
        executor = self.executor
        replied: Future = Future(executor=executor)

        def on_reply(reply: QueryReply) -> None:
            # In whichever thread the query ended: the future keeps a lock, and waking makes the
            # executor look at it.
            replied.set_result(reply)
            executor.wake()

        self._replying += 1
        try:
            self._tick_timer.reset()
            inflight = self.service.submit(query, on_reply, on_text)
            if on_inflight is not None:
                on_inflight(inflight)
            reply: QueryReply = await replied
            self._publish(reply)
            return reply
        finally:
            self._replying -= 1

    def _on_query(
        self, request: RegionQuery.Request, response: RegionQuery.Response, send: SendReply
    ) -> None:
        def on_reply(reply: QueryReply) -> None:
            # In whichever thread the query ended; the caller first.
            send(fill(response, reply))
            self._publish(reply)

        self._tick_timer.reset()
        self.service.submit(to_query(request), on_reply)
        # The model's thread has begun; while this one waits, it need not share Python's lock with
        # the executor's half a millisecond of Python.
        time.sleep(_PASS_ON_S)

    def _publish(self, reply: QueryReply) -> None:
        """Count an outcome, and tell it to all who listen."""
        self._metrics.note_reply(reply)
        self._answers.publish(to_answers_message(reply))

    async def _on_click(self, camera: Camera, x: float, y: float) -> None:
        query = Query(
            self._settings.default_question, camera=camera.name, regions=(Region.point(x, y),)
        )
        await self._ask(query)

    async def _on_goal(self, goal: Any) -> AskRegion.Result:
        key = bytes(goal.goal_id.uuid)
        first_word = self._metrics.first_token_timer()

        def send_text(index: int, added: str) -> None:
            goal.publish_feedback(AskRegion.Feedback(answer_index=index, text=added))
            if added:
                first_word()

        def note(inflight: InflightRequest) -> None:
            self._goals[key] = inflight
            if goal.is_cancel_requested:
                self.service.cancel(inflight)

        try:
            reply = await self._ask(to_query(goal.request), send_text, note)
        finally:
            self._goals.pop(key, None)
        if reply.status == OK:
            goal.succeed()
        elif reply.status == "CANCELLED" and goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return fill(AskRegion.Result(), reply)

    def _on_cancel(self, goal: Any) -> CancelResponse:
        inflight = self._goals.get(bytes(goal.goal_id.uuid))
        if inflight is not None:
            self.service.cancel(inflight)
        return CancelResponse.ACCEPT

    # --- what happens besides

    def _tick(self) -> None:
        self.service.tick()
        if not self.service.inflight_count:
            self._tick_timer.cancel()

    def _on_time_jump(self, jump: TimeJump) -> None:
        """Forget all frames: their stamps may come again, on other pictures."""
        self._cameras.clear()
        self.get_logger().warning(
            f"time went back by {-jump.delta.nanoseconds / NS:.3f} s, or its source has changed; "
            "the frames and detections held are forgotten"
        )

    def _on_settings(self, settings: Settings) -> None:
        self._settings = self.service.settings = settings
        self._model.configure(settings)
        self._cameras.configure(settings)
        self._sessions.configure(
            max_sessions=settings.max_sessions,
            max_idle_s=settings.session_idle,
            max_turns=settings.session_turns,
        )

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def destroy_node(self) -> None:
        """Destroy the node with its action server, which rclpy leaves alone."""
        if self._action is not None:
            self._action.destroy()
        self._logging.close()
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the node until it is told to stop."""
    run_node(RegionQueryNode, args)


if __name__ == "__main__":
    main()
