"""A lifecycle node that keeps answering during a transition.

rclpy runs a transition in the executor's thread, where loading a model would block every service,
parameter and timer. Here a transition runs in its own thread, and the callback of the service
`change_state` awaits it in a callback group that runs other callbacks meanwhile. Changes to the
node's subscriptions are handed back to the executor's thread, which may be using them.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.task import Future

from chatspot_ros.errors import ChatspotError
from chatspot_ros.ros.run_node import Stop

ResultT = TypeVar("ResultT")
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
_CAN_SHUT_DOWN = ("unconfigured", "inactive", "active")
_HANDED_OVER_S = 20.0
_AT_ONCE_S = 0.001


class ThreadedLifecycleNode(LifecycleNodeMixin, Node):
    """Runs `configure`, `activate`, `deactivate` and `clean_up` of a subclass as transitions.

    They run in their own thread, one at a time. After a ChatspotError the node stays in its state
    (FAILURE). Any other exception is an ERROR: everything is cleaned up, and the node can be
    configured again. The log and `last_failure` have the reason.
    """

    def __init__(self, name: str, stop: Stop) -> None:
        """`stop` ends the process if `start_by_itself` fails."""
        Node.__init__(self, name)
        # In the default group no other callback would run while a transition is awaited.
        self._transitions = ReentrantCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self._transitions)
        self.last_failure = ""
        self._stop = stop
        self._starting = False
        self._changing = threading.Lock()
        # After the constructor, `change_state` is an ordinary service with a callback to replace.
        service = next(one for one in self.services if one.srv_type is ChangeState)
        self._change_state = service.callback
        service.callback = self._on_change_state

    def configure(self) -> None:
        """Acquire everything that the active state needs."""

    def activate(self) -> None:
        """Start to serve."""

    def deactivate(self) -> None:
        """Stop serving; keep the resources of `configure`."""

    def clean_up(self) -> None:
        """Release the resources of `configure`, as far as there are any."""

    @property
    def state(self) -> str:
        """The lifecycle state: unconfigured, configuring, inactive, active, ..."""
        return str(self._state_machine.current_state[1])

    def start_by_itself(self) -> None:
        """Configure and activate once the executor spins; end the process if that fails."""

        def start() -> None:
            self._starting = True
            failed = self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS
            self._starting = False
            if failed:
                self.get_logger().fatal(f"cannot start: {self.last_failure}")
                self._stop("it cannot start", exit_code=1)

        async def begin() -> None:
            self.destroy_timer(timer)
            if self._changing.acquire(blocking=False):
                try:
                    await self._in_thread(start)
                finally:
                    self._changing.release()

        # A steady clock, because simulated time may not run yet.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        timer = self.create_timer(_AT_ONCE_S, begin, self._transitions, clock=steady)

    def finish(self) -> None:
        """Go to `finalized` at the end of the process, unless a transition is running."""
        if self._changing.acquire(blocking=False) and self.state in _CAN_SHUT_DOWN:
            self.trigger_shutdown()

    def in_executor(self, work: Callable[[], ResultT]) -> ResultT:
        """Run `work` in the executor's thread, from a transition's thread; return its result."""
        outcome: list[ResultT | Exception] = []
        done = threading.Event()

        def run() -> None:
            try:
                outcome.append(work())
            except Exception as error:
                outcome.append(error)
            done.set()

        if self.executor is None:
            run()
        else:
            self.executor.create_task(run)
            if not done.wait(_HANDED_OVER_S):
                raise RuntimeError(f"the executor did not come to it in {_HANDED_OVER_S:g} s")
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    # --- rclpy's callbacks

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; clean up if that fails."""
        result = self._attempt("configure", self.configure, f"{state.label} -> inactive")
        if result == FAILURE:
            self._release(self.clean_up)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to serve."""
        return self._attempt("activate", self.activate, f"{state.label} -> active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop serving."""
        return self._attempt("deactivate", self.deactivate, f"{state.label} -> inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        return self._attempt("clean up", self.clean_up, f"{state.label} -> unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop serving and release everything."""
        return self._attempt("shut down", self._end_all, f"{state.label} -> finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything. SUCCESS leads to unconfigured, where the node can start again."""
        return SUCCESS if self._release(self._end_all) else FAILURE

    def _end_all(self) -> None:
        self.deactivate()
        self.clean_up()

    def _release(self, work: Callable[[], None]) -> bool:
        """Clean up after a failure, which stays in `last_failure`; return True on success."""
        try:
            work()
        except Exception:
            self.get_logger().error(f"cannot clean up\n{traceback.format_exc()}")
            return False
        return True

    def _attempt(
        self, what: str, work: Callable[[], None], change: str
    ) -> TransitionCallbackReturn:
        try:
            work()
        except ChatspotError as error:
            self.last_failure = str(error)
            if not self._starting:  # `start_by_itself` says it
                self.get_logger().error(f"cannot {what}: {error}")
            return FAILURE
        except Exception as error:
            self.last_failure = f"{type(error).__name__}: {error}"
            self.get_logger().error(f"cannot {what}\n{traceback.format_exc()}")
            return ERROR
        self.last_failure = ""
        self.get_logger().info(f"state: {change}")
        return SUCCESS

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        if not self._changing.acquire(blocking=False):
            self.get_logger().warning(
                f"refused to change the state: {self.state}, and a change is under way"
            )
            response.success = False
            return response
        try:
            return await self._in_thread(lambda: self._change_state(request, response))
        finally:
            self._changing.release()

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        executor = self.executor
        ended: Future = Future(executor=executor)

        def run() -> None:
            try:
                ended.set_result(work())
            except Exception as error:
                ended.set_exception(error)
            executor.wake()

        threading.Thread(target=run, name="transition", daemon=True).start()
        return await ended
