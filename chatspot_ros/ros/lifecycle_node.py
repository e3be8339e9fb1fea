"""A lifecycle node that goes on answering while it changes its state.

rclpy calls a transition's callback in the executor's thread. Loading a model there would hold every
service, parameter and timer up for as long as it takes, so here a transition runs in a thread of
its own, and the callback of the service `change_state` awaits it, in a callback group that lets
`get_state` and all others in meanwhile. What touches the node's
subscriptions is handed back to the executor's thread, which may be looking at them.
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
    """What `configure`, `activate`, `deactivate` and `clean_up` of a subclass do, as a lifecycle.

    They run in a thread of their own, one at a time. A ChatspotError keeps the state that was
    (FAILURE); any other exception is an ERROR: everything is cleaned up, and the node can be
    configured anew. Why, is in the log and in `last_failure`.
    """

    def __init__(self, name: str, stop: Stop) -> None:
        """`stop` ends the process where `start_by_itself` fails."""
        Node.__init__(self, name)
        # The default group would let nothing else in while a transition is awaited.
        self._transitions = ReentrantCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self._transitions)
        self.last_failure = ""
        self._stop = stop
        self._changing = threading.Lock()
        # `change_state` is a service like any other once the constructor is through.
        service = next(one for one in self.services if one.srv_type is ChangeState)
        self._change_state = service.callback
        service.callback = self._on_change_state

    def configure(self) -> None:
        """Get everything that being active needs."""

    def activate(self) -> None:
        """Begin to serve."""

    def deactivate(self) -> None:
        """End serving; keep what `configure` got."""

    def clean_up(self) -> None:
        """Give back what `configure` got, whatever there is of it."""

    @property
    def state(self) -> str:
        """The lifecycle's state: unconfigured, configuring, inactive, active, ..."""
        return str(self._state_machine.current_state[1])

    def start_by_itself(self) -> None:
        """Configure and activate once the executor spins; where that fails end the process."""

        def start() -> None:
            if self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
                self.get_logger().fatal(f"cannot start: {self.last_failure}")
                self._stop("it cannot start", exit_code=1)

        async def begin() -> None:
            self.destroy_timer(timer)
            if self._changing.acquire(blocking=False):
                try:
                    await self._in_thread(start)
                finally:
                    self._changing.release()

        # By a clock that runs, also when the simulation's does not yet.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        timer = self.create_timer(_AT_ONCE_S, begin, self._transitions, clock=steady)

    def finish(self) -> None:
        """Go to `finalized`, at the end of the process, unless a transition still runs."""
        if self._changing.acquire(blocking=False) and self.state in _CAN_SHUT_DOWN:
            self.trigger_shutdown()

    def in_executor(self, work: Callable[[], ResultT]) -> ResultT:
        """Do something in the executor's thread, from a transition's; return what it returned."""
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
        """Configure; where that fails give back what there is."""
        result = self._attempt("configure", self.configure)
        if result == FAILURE:
            self._give_back(self.clean_up)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to serve."""
        return self._attempt("activate", self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End serving."""
        return self._attempt("deactivate", self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back."""
        return self._attempt("clean up", self.clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End serving and give everything back."""
        return self._attempt("shut down", self._end_all)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back: SUCCESS leads to unconfigured, from where it can begin anew."""
        return SUCCESS if self._give_back(self._end_all) else FAILURE

    def _end_all(self) -> None:
        self.deactivate()
        self.clean_up()

    def _give_back(self, work: Callable[[], None]) -> bool:
        """Clean up after a failure, which stays `last_failure`; return whether that went well."""
        try:
            work()
        except Exception:
            self.get_logger().error(f"cannot clean up\n{traceback.format_exc()}")
            return False
        return True

    def _attempt(self, what: str, work: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            work()
        except ChatspotError as error:
            self.last_failure = str(error)
            self.get_logger().error(f"cannot {what}: {error}")
            return FAILURE
        except Exception as error:
            self.last_failure = f"{type(error).__name__}: {error}"
            self.get_logger().error(f"cannot {what}\n{traceback.format_exc()}")
            return ERROR
        self.last_failure = ""
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
