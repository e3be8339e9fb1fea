"""An operator's client over ROS 2: a node, an executor and a thread of its own, so that a window,
a page or a command of any kind may use it beside its own loop."""

from __future__ import annotations

import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from chatspot_ros.action import AskRegion
from chatspot_ros.errors import RequestError
from chatspot_ros.operators.client import UNREACHABLE, Ask, Frame, Reply
from chatspot_ros.ros.operator_camera import OperatorCamera
from chatspot_ros.ros.operator_link import SILENT_TOO_LONG_S, OperatorLink
from chatspot_ros.ros.operator_messages import to_goal, to_reply
from chatspot_ros.srv import RateAnswer

DEFAULT_NODE = "/region_query_node"
_TICK_S = 0.05
# A question waits so long for a node to be found; for a found one to get to know this client, which
# takes its time on a busy machine; for its taking; and for its end after its deadline.
_MISSING_S, _SETTLED_S, _TAKEN_S, _OVERDUE_S = 5.0, 10.0, 5.0, 5.0
_RATED_S, _RATE_AGAIN_S = 6.0, 2.0
_CLOSING_S = 2.0

OnText = Callable[[int, str], None]
OnReply = Callable[[Reply], None]


class RosOperatorClient:
    """An `OperatorClient` (chatspot_ros.operators.client) of one region query node.

    Every call is safe from any thread and returns at once; `close` waits at most 2 s.
    """

    def __init__(self, node: str = DEFAULT_NODE) -> None:
        """`node` is the region query node's full name, such as /robot1/region_query_node.

        Raises:
            RequestError: it is no name of a node.
        """
        name = node if node.startswith("/") else f"/{node}"
        self._closed = self._ended = False
        self._questions: list[_Question] = []
        self._ratings: list[_Rating] = []
        self._watches: list[OperatorCamera] = []
        self._context = rclpy.Context()
        # The arguments and signals of the program are its own.
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(
            f"chatspot_operator_{uuid.uuid4().hex[:8]}",
            context=self._context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self.link = OperatorLink(self.node, name)
        try:
            self.action = ActionClient(self.node, AskRegion, f"{name}/ask_region")
        except (InvalidTopicNameException, ValueError) as error:
            rclpy.shutdown(context=self._context)
            raise RequestError(
                "this is no name of a node", value=node,
                remedy=f"give its full name, such as {DEFAULT_NODE}",
            ) from error  # fmt: skip
        self.rater = self.node.create_client(RateAnswer, f"{name}/rate_answer")
        self.link.open()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.node.create_timer(_TICK_S, self._tick, clock=steady)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True, name="chatspot operator")
        self._thread.start()

    # --- for a window or a page

    def cameras(self) -> Sequence[str]:
        """Return the names of the node's cameras, as far as they are known by now."""
        return tuple(self.link.cameras)

    def watch(self, camera: str, on_frame: Callable[[Frame], None]) -> Callable[[], None]:
        """Call back with every new frame, in a thread of its own; return what ends it."""
        watch = OperatorCamera(self.node, camera, partial(self.call_back, on_frame))
        self.in_thread(lambda: self._watches.append(watch))

        def end() -> None:
            watch.end()
            self.in_thread(lambda: self._end_watch(watch))

        return end

    def ask(self, ask: Ask, on_text: OnText, on_reply: OnReply) -> _Question:
        """Ask by the action AskRegion; `on_reply` gets exactly one end, within seconds if the node
        is missing or dies."""
        question = _Question(self, ask, on_text, on_reply)

        def begin() -> None:
            self._questions.append(question)
            question.tick(time.monotonic())

        self.in_thread(begin)
        return question

    def rate(
        self, answer_id: str, rating: int, comment: str, on_done: Callable[[str], None]
    ) -> None:
        """Rate an answer from 1 to 5; `on_done` gets the problem, empty where there is none."""
        if rating not in range(1, 6):
            said = f"the rating is from 1 to 5 (got {rating})"
            self.in_thread(lambda: self.call_back(on_done, said))
            return
        one = _Rating(self, (answer_id, rating, comment), on_done)
        self.in_thread(lambda: self._ratings.append(one))

    def problem(self) -> str:
        """Return for a person what is wrong with the node or its pictures now; or nothing."""
        pictures = next((watch.problem for watch in tuple(self._watches) if watch.problem), "")
        return self.link.problem() or pictures

    def close(self) -> None:
        """Stop what the node still answers, and end everything; no call back comes afterwards."""
        if self._closed:
            return
        self._closed = True

        def end() -> None:
            for question in self._questions:
                question.stop()
            for watch in tuple(self._watches):
                self._end_watch(watch)
            self._ended = True

        self._executor.create_task(end)
        for thread in (self._thread, *(watch.thread for watch in tuple(self._watches))):
            if thread is not threading.current_thread():
                thread.join(_CLOSING_S)

    def __enter__(self) -> RosOperatorClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the thread

    def call_back(self, what: Callable[..., None], *values: Any) -> None:
        """Call what a caller gave; its faults are logged and stop nothing."""
        if self._closed:
            return
        try:
            what(*values)
        except Exception:
            self.node.get_logger().error(f"a call back failed:\n{traceback.format_exc()}")

    def _spin(self) -> None:
        while not self._ended:
            try:
                self._executor.spin_once()
            except (ExternalShutdownException, rclpy_implementation.InvalidHandle):
                break
            except Exception:
                self.node.get_logger().error(f"the client goes on:\n{traceback.format_exc()}")
        # Here alone nothing else uses the node; and Fast DDS may wait for ever as it destroys one
        # (eProsima/Fast-DDS#6066).
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def in_thread(self, what: Callable[[], None]) -> None:
        """Do something in the executor's thread: elsewhere it meets what is half made."""
        if not self._closed:
            self._executor.create_task(what)

    def _end_watch(self, watch: OperatorCamera) -> None:
        watch.close()
        if watch in self._watches:
            self._watches.remove(watch)

    def _tick(self) -> None:
        self.link.tick()
        cameras = self.link.cameras
        for watch in self._watches:
            camera = watch.name or next(iter(cameras), "")
            if camera in cameras:
                watch.follow(camera, cameras[camera])
        now_s = time.monotonic()
        for question in tuple(self._questions):
            question.tick(now_s)
        for rating in tuple(self._ratings):
            rating.tick(now_s)
        self._questions = [one for one in self._questions if not one.done]
        self._ratings = [one for one in self._ratings if not one.done]


class _Question:
    """A question on its way. All but `cancel` runs in the executor's thread."""

    def __init__(
        self, client: RosOperatorClient, ask: Ask, on_text: OnText, on_reply: OnReply
    ) -> None:
        self._client = client
        self._ask = ask
        self._on_text = on_text
        self._on_reply = on_reply
        self._began_s = time.monotonic()
        self._sent_s: float | None = None
        self._cancelled_s: float | None = None
        self._servers: frozenset[bytes] = frozenset()
        self._handle: Any = None
        self.done = False

    def cancel(self) -> None:
        """Ask the node to stop; the reply comes all the same, its status CANCELLED."""
        self._client.in_thread(self._cancel)

    def _cancel(self) -> None:
        if self.done or self._cancelled_s is not None:
            return
        self._cancelled_s = time.monotonic()
        if self._sent_s is None:
            self._end("CANCELLED", "it was cancelled before the node was found")
        self.stop()

    def stop(self) -> None:
        """Have the node stop, if it has the question."""
        if self._handle is not None and not self.done:
            self._handle.cancel_goal_async()

    def tick(self, now_s: float) -> None:
        """Go on, or give up."""
        link = self._client.link
        if self.done:
            return
        if self._sent_s is None:
            if link.ready and self._client.action.server_is_ready():
                self._send(now_s)
            elif now_s - self._began_s > (_SETTLED_S if link.servers else _MISSING_S):
                self._end(UNREACHABLE, link.problem() or f"{link.name} does not take questions")
            return
        if not self._servers & link.servers:
            self._end(UNREACHABLE, f"{link.name} has ended, and the answer with it: ask again")
        elif min(link.silent_s(), now_s - self._sent_s) > SILENT_TOO_LONG_S:
            self._end(UNREACHABLE, link.problem() or f"{link.name} has said nothing")
        elif self._handle is None and now_s - self._sent_s > _TAKEN_S:
            self._end(UNREACHABLE, f"{link.name} has not taken the question: ask again")
        elif self._cancelled_s is not None and now_s - self._cancelled_s > _OVERDUE_S:
            self._end("CANCELLED", "the node was told to stop, and has not replied")
        elif 0 < self._ask.timeout_s < now_s - self._sent_s - _OVERDUE_S:
            self._end(UNREACHABLE, f"{link.name} has not replied by the deadline: ask again")

    def _send(self, now_s: float) -> None:
        self._sent_s, self._servers = now_s, self._client.link.servers
        try:
            sent = self._client.action.send_goal_async(
                to_goal(self._ask), feedback_callback=self._on_feedback
            )
        except Exception as error:  # a message cannot hold a value
            self._end("BAD_REQUEST", f"the question cannot be sent: {error}")
            return
        sent.add_done_callback(self._on_taken)

    def _on_taken(self, future: Any) -> None:
        handle = None if future.exception() else future.result()
        if self.done:
            return
        if handle is None or not handle.accepted:
            self._end(UNREACHABLE, f"{self._client.link.name} refuses the question")
            return
        self._handle = handle
        handle.get_result_async().add_done_callback(self._on_result)
        if self._cancelled_s is not None:
            self.stop()

    def _on_feedback(self, message: Any) -> None:
        self._client.link.heard()
        if not self.done and message.feedback.text:
            self._client.call_back(
                self._on_text, int(message.feedback.answer_index), message.feedback.text
            )

    def _on_result(self, future: Any) -> None:
        if future.exception() or future.result().status == GoalStatus.STATUS_UNKNOWN:
            self._end(UNREACHABLE, f"{self._client.link.name} has lost the question: ask again")
        else:
            self._finish(to_reply(future.result().result))

    def _end(self, status: str, message: str) -> None:
        self._finish(Reply(status, message))

    def _finish(self, reply: Reply) -> None:
        if not self.done:
            self.done = True
            self._client.call_back(self._on_reply, reply)


class _Rating:
    """A rating on its way; it is sent again while no reply comes: the second replaces the first."""

    def __init__(
        self,
        client: RosOperatorClient,
        values: tuple[str, int, str],
        on_done: Callable[[str], None],
    ) -> None:
        self._client = client
        self._values = values
        self._on_done = on_done
        self._began_s = time.monotonic()
        self._sent_s = 0.0
        self.done = False

    def tick(self, now_s: float) -> None:
        """Send, send again, or give up. For the executor's thread."""
        link = self._client.link
        if self.done:
            return
        if now_s - self._began_s > _RATED_S:
            self._end(link.problem() or f"{link.name} does not take ratings")
        elif link.ready and self._client.rater.service_is_ready() and (
            now_s - self._sent_s > _RATE_AGAIN_S
        ):  # fmt: skip
            self._sent_s = now_s
            answer_id, rating, comment = self._values
            request = RateAnswer.Request(answer_id=answer_id, rating=rating, comment=comment)
            self._client.rater.call_async(request).add_done_callback(self._on_reply)

    def _on_reply(self, future: Any) -> None:
        if not future.exception():
            self._end(future.result().message)

    def _end(self, problem: str) -> None:
        if not self.done:
            self.done = True
            self._client.call_back(self._on_done, problem)
