"""The node: RegionQuery, AskRegion, clicks, answers, the annotated picture, diagnostics.

No model code here.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image

from chatspot_ros.action import AskRegion
from chatspot_ros.annotate import Note, annotate
from chatspot_ros.answering import Answerer
from chatspot_ros.camera_input import CameraInput
from chatspot_ros.conversions import RgbImage
from chatspot_ros.diagnostics import to_diagnostics
from chatspot_ros.engine.worker import InferenceWorker
from chatspot_ros.errors import ChatspotError
from chatspot_ros.feeds import CameraFeed, Feeds
from chatspot_ros.loading import load_engine
from chatspot_ros.messages import fill, to_answers_message, to_header, to_image_message, to_query
from chatspot_ros.msg import RegionAnswers
from chatspot_ros.parameters import declare
from chatspot_ros.pending import OnText, Pending
from chatspot_ros.query import OK, Picture, Query, QueryReply
from chatspot_ros.query_service import QueryService
from chatspot_ros.regions import Region
from chatspot_ros.ros_logging import forward_logging
from chatspot_ros.serving import Stop, serve
from chatspot_ros.sessions import SessionStore
from chatspot_ros.settings import Settings
from chatspot_ros.srv import RegionQuery

NAME = "region_query_node"
_TICK_S = 0.02
_STATUS_PERIOD_S = 1.0
_CLOSING_S = 2.0
_LAST_REPLY_S = 0.1
LoadEngine = Callable[[Settings], Any]


class RegionQueryNode(Node):
    """Serves at once; until the model is loaded, queries get NOT_ACTIVE."""

    def __init__(self, stop: Stop, load: LoadEngine = load_engine) -> None:
        """`load` returns the engine (see chatspot_ros.engine) and runs in a thread of its own."""
        super().__init__(NAME)
        self._action: ActionServer | None = None
        self._stop = stop
        self._log_handler = forward_logging(self.get_logger())
        self._settings = settings = declare(self, self._on_settings)
        # Queries await their answers: a second one must get in meanwhile.
        group = ReentrantCallbackGroup()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._feeds = feeds = Feeds(settings)
        self._sessions: SessionStore[Any, Any] = SessionStore(
            max_sessions=settings.max_sessions,
            max_idle_s=settings.session_idle,
            max_turns=settings.session_turns,
        )
        self._answerer = Answerer(settings, self._sessions)
        self.service = QueryService(
            settings, feeds, self._sessions, self._answerer, self._now_ns, self._draw
        )
        self._answers = self.create_publisher(RegionAnswers, "~/answers", QoSProfile(depth=10))
        self._annotated = self.create_publisher(Image, "~/annotated", QoSProfile(depth=1))
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=10)
        )
        self._inputs = [
            CameraInput(
                self,
                feed,
                settings,
                prefix="" if index == 0 else f"{feed.name}/",
                group=group,
                on_arrival=self.service.frame_arrived,
                on_click=self._on_click,
            )
            for index, feed in enumerate(feeds.cameras.values())
        ]
        self._goals: dict[bytes, Pending] = {}
        self._outcomes: Counter[str] = Counter()
        self._replying = 0
        self._drawn = 0
        self._tick_timer = self.create_timer(_TICK_S, self._tick, group, clock=steady)
        self.create_timer(_STATUS_PERIOD_S, self._report, group, clock=steady)
        self.create_service(RegionQuery, "~/region_query", self._on_query, callback_group=group)
        self._action = ActionServer(
            self,
            AskRegion,
            "~/ask_region",
            self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=group,
        )
        self._worker: InferenceWorker | None = None
        self.get_logger().info(f"loading the model '{settings.model}'")
        threading.Thread(target=self._load, args=(load,), name="loading", daemon=True).start()

    def close(self) -> None:
        """Answer what is pending with NOT_ACTIVE, let the replies out, stop the worker."""
        self.service.stop("the node is shutting down")
        until_s = time.monotonic() + _CLOSING_S
        while self._replying and time.monotonic() < until_s:
            time.sleep(0.01)
        # The result of a goal leaves in a step of its own, after its callback.
        time.sleep(_LAST_REPLY_S)
        if self._worker is not None:
            self._worker.stop(timeout_s=_CLOSING_S)

    # --- the model

    def _load(self, load: LoadEngine) -> None:
        """Load the model (in a thread of its own) and begin to answer, or end the process."""
        began_s = time.monotonic()
        try:
            engine = load(self._settings)
        except ChatspotError as error:
            self.get_logger().fatal(f"cannot start: {error}")
            self._stop("the model cannot be loaded", exit_code=1)
            return
        except Exception:
            self.get_logger().fatal(
                f"cannot start: the model failed to load\n{traceback.format_exc()}"
            )
            self._stop("the model failed to load", exit_code=1)
            return
        self._worker = InferenceWorker(engine, queue_size=self._settings.queue_size)
        self.service.activate(self._worker, engine.name)
        self.get_logger().info(
            f"model '{engine.name}' loaded in {time.monotonic() - began_s:.1f} s"
        )
        print(f"ready: {self.get_name()}", flush=True)

    # --- queries

    async def _ask(
        self,
        query: Query,
        on_text: OnText | None = None,
        on_pending: Callable[[Pending], None] | None = None,
    ) -> QueryReply:
        """Put a query through and publish its outcome."""
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
            pending = self.service.submit(query, on_reply, on_text)
            if on_pending is not None:
                on_pending(pending)
            reply: QueryReply = await replied
            self._outcomes[reply.status] += 1
            self._answers.publish(to_answers_message(reply))
            return reply
        finally:
            self._replying -= 1

    async def _on_query(
        self, request: RegionQuery.Request, response: RegionQuery.Response
    ) -> RegionQuery.Response:
        return fill(response, await self._ask(to_query(request)))

    async def _on_click(self, feed: CameraFeed, x: float, y: float) -> None:
        query = Query(
            self._settings.default_question, camera=feed.name, regions=(Region.point(x, y),)
        )
        await self._ask(query)

    async def _on_goal(self, goal: Any) -> AskRegion.Result:
        key = bytes(goal.goal_id.uuid)

        def send_text(index: int, added: str) -> None:
            goal.publish_feedback(AskRegion.Feedback(answer_index=index, text=added))

        def note(pending: Pending) -> None:
            self._goals[key] = pending
            if goal.is_cancel_requested:
                self.service.cancel(pending)

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
        pending = self._goals.get(bytes(goal.goal_id.uuid))
        if pending is not None:
            self.service.cancel(pending)
        return CancelResponse.ACCEPT

    # --- what happens besides

    def _draw(self, picture: Picture, image_rgb: RgbImage, reply: QueryReply) -> None:
        """Publish the annotated picture, when somebody listens.

        In the worker's thread, after the reply.
        """
        if not self._annotated.get_subscription_count():
            return
        notes = [Note(answer.regions, answer.text, answer.grounded) for answer in reply.answers]
        drawn = annotate(image_rgb, notes)
        self._annotated.publish(to_image_message(drawn, to_header(picture)))
        self._drawn += 1

    def _tick(self) -> None:
        self.service.tick()
        if not self.service.pending_count:
            self._tick_timer.cancel()

    def _report(self) -> None:
        for camera in self._inputs:
            camera.watch()
        self._diagnostics.publish(
            to_diagnostics(
                self.get_fully_qualified_name(),
                self.get_clock().now().to_msg(),
                self.service,
                self._inputs,
                self._outcomes,
                self._drawn,
            )
        )

    def _on_settings(self, settings: Settings) -> None:
        self._settings = self.service.settings = self._answerer.settings = settings
        self._feeds.configure(settings)
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
        logging.getLogger("chatspot_ros").removeHandler(self._log_handler)
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the node until it is told to stop."""
    serve(RegionQueryNode, args)


if __name__ == "__main__":
    main()
