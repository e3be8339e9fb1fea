"""The ways to ask the node, to hear its replies and to rate them: services, action, clicks,
~/answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future

from chatspot_ros.action import AskRegion
from chatspot_ros.core.regions import Region
from chatspot_ros.msg import RegionAnswers
from chatspot_ros.ros.conversions import fill, to_answers_message, to_query
from chatspot_ros.ros.deferred_service import DeferredService, SendReply
from chatspot_ros.ros.feedback_stream import FeedbackStream
from chatspot_ros.server.cameras import Camera
from chatspot_ros.server.feedback import Feedback, RatingError
from chatspot_ros.server.inflight_request import InflightRequest, OnText
from chatspot_ros.server.metrics import Metrics
from chatspot_ros.server.request import OK, Query, QueryReply
from chatspot_ros.server.request_handler import RequestHandler
from chatspot_ros.server.settings import Settings
from chatspot_ros.srv import RateAnswer, RegionQuery

_TICK_S = 0.02
_POLL_S = 0.01
_LAST_REPLY_S = 0.1
_PASS_ON_S = 50e-6
# With the default depth of 10, an eleventh simultaneous request would be lost without a status.
_REQUESTS = QoSProfile(depth=1000)
_FEEDBACK = QoSProfile(depth=100)


class QueryEndpoints:
    """Offers ~/region_query, ~/ask_region and ~/rate_answer; publishes every reply on ~/answers."""

    def __init__(
        self,
        node: Node,
        handler: RequestHandler,
        metrics: Metrics,
        locate: Callable[[QueryReply], QueryReply],
        group: CallbackGroup,
        steady: Clock,
    ) -> None:
        """`locate` gives the regions of a reply their places, in any thread. `group` is
        reentrant: requests await their answers. Nothing is offered before `open`.

        Raises RequestError if the feedback log cannot be written to.
        """
        self._feedback = Feedback(handler.settings)
        self._node = node
        self._handler = handler
        self._metrics = metrics
        self._locate = locate
        self._group = group
        self._answers = node.create_publisher(RegionAnswers, "~/answers", QoSProfile(depth=10))
        self._tick_timer = node.create_timer(_TICK_S, self._tick, group, clock=steady)
        self._goals: dict[bytes, InflightRequest] = {}
        self._streams: dict[bytes, FeedbackStream] = {}
        self._next_ticks: list[Future] = []
        self._replying = 0
        self._queries: DeferredService | None = None
        self._action: ActionServer | None = None

    def open(self) -> None:
        """Offer the service and the action."""
        self._queries = DeferredService(
            self._node,
            RegionQuery,
            "~/region_query",
            self._on_query,
            qos_profile=_REQUESTS,
            callback_group=self._group,
        )
        self.configure(self._handler.settings)
        self._node.create_service(
            RateAnswer,
            "~/rate_answer",
            self._on_rating,
            qos_profile=_REQUESTS,
            callback_group=self._group,
        )
        self._action = ActionServer(
            self._node,
            AskRegion,
            "~/ask_region",
            self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=self._group,
            goal_service_qos_profile=_REQUESTS,
            result_service_qos_profile=_REQUESTS,
            cancel_service_qos_profile=_REQUESTS,
            feedback_pub_qos_profile=_FEEDBACK,
        )

    def configure(self, settings: Settings) -> None:
        """Use new settings."""
        if self._queries is not None:
            self._queries.introspect(settings.service_introspection)

    def flush(self, timeout_s: float) -> None:
        """Wait until all replies are sent, or the time is over."""
        until_s = time.monotonic() + timeout_s
        while self._unsent and time.monotonic() < until_s:
            time.sleep(_POLL_S)
        self._feedback.close()
        # rclpy sends the result of a goal in a step of its own, after the callback.
        time.sleep(_LAST_REPLY_S)

    def destroy(self) -> None:
        """Destroy the action server, which rclpy does not destroy with its node."""
        if self._action is not None:
            self._action.destroy()

    async def ask(
        self,
        query: Query,
        on_text: OnText | None = None,
        on_inflight: Callable[[InflightRequest], None] | None = None,
    ) -> QueryReply:
        """Submit a query, publish its reply and return it. To be awaited in the executor."""
        executor = self._node.executor
        replied: Future = Future(executor=executor)

        def on_reply(reply: QueryReply) -> None:
            # In the thread where the request ended: the future is thread-safe, and the executor
            # must wake up to look at it.
            replied.set_result(self._locate(reply))
            executor.wake()

        self._replying += 1
        try:
            self._tick_timer.reset()
            inflight = self._handler.submit(query, on_reply, on_text)
            if on_inflight is not None:
                on_inflight(inflight)
            reply: QueryReply = await replied
            self._publish(reply)
            return reply
        finally:
            self._replying -= 1

    async def on_click(self, camera: Camera, x: float, y: float) -> None:
        """Ask the default question about a point (pixels) of the newest frame."""
        question = self._handler.settings.default_question or Settings.default_question
        point = (Region.point(x, y),)
        await self.ask(Query(question, camera=camera.name, regions=point, via="click"))

    @property
    def _unsent(self) -> int:
        return self._replying + (0 if self._queries is None else self._queries.waiting)

    def _on_query(
        self, request: RegionQuery.Request, response: RegionQuery.Response, send: SendReply
    ) -> None:
        def on_reply(reply: QueryReply) -> None:
            # In the thread where the request ended; first to the caller.
            reply = self._locate(reply)
            send(fill(response, reply))
            self._publish(reply)

        self._tick_timer.reset()
        self._handler.submit(to_query(request), on_reply)
        # The model's thread has started. While this thread sleeps, the other one does not have to
        # share the interpreter lock with half a millisecond of the executor's Python.
        time.sleep(_PASS_ON_S)

    def _publish(self, reply: QueryReply) -> None:
        self._metrics.note_reply(reply)
        self._answers.publish(to_answers_message(reply))
        self._feedback.note_reply(reply)

    def _on_rating(
        self, request: RateAnswer.Request, response: RateAnswer.Response
    ) -> RateAnswer.Response:
        try:
            self._feedback.rate(request.answer_id, request.rating, request.comment)
        except RatingError as error:
            response.status = getattr(RateAnswer.Response, error.status)
            response.message = str(error)
        return response

    async def _on_goal(self, goal: Any) -> AskRegion.Result:
        key = bytes(goal.goal_id.uuid)
        first_word = self._metrics.first_token_timer()

        def publish(index: int, added: str) -> None:
            goal.publish_feedback(AskRegion.Feedback(answer_index=index, text=added))

        def send_text(index: int, added: str) -> None:
            stream.add(index, added)
            if added:
                first_word()

        def on_inflight(inflight: InflightRequest) -> None:
            self._goals[key] = inflight
            if goal.is_cancel_requested:
                self._handler.cancel(inflight)

        stream = self._streams[key] = FeedbackStream(publish)
        try:
            query = replace(to_query(goal.request), via="action")
            reply = await self.ask(query, send_text, on_inflight)
            while not stream.flush(at_end=True):
                await self._next_tick()
        finally:
            self._goals.pop(key, None)
            self._streams.pop(key, None)
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
            self._handler.cancel(inflight)
        return CancelResponse.ACCEPT

    async def _next_tick(self) -> None:
        if self._tick_timer.is_canceled():
            self._tick_timer.reset()
        tick: Future = Future(executor=self._node.executor)
        self._next_ticks.append(tick)
        await tick

    def _tick(self) -> None:
        self._handler.tick()
        for stream in self._streams.values():
            stream.flush()
        ticks, self._next_ticks = self._next_ticks, []
        for tick in ticks:
            tick.set_result(None)
        if not self._handler.inflight_count and not self._streams:
            self._tick_timer.cancel()
