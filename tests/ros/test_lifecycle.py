"""The node under a lifecycle manager: every state, what failed, and no request without a status."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

WAITING = "waiting to be configured"
OFF = ("-p", "autostart:=false")


class Manager:
    """What a lifecycle manager does: asks for the state, and for another one."""

    def __init__(self, world: Any) -> None:
        from lifecycle_msgs.srv import ChangeState, GetState

        self.world = world
        name = f"{world.namespace}/region_query_node"
        ros = world.ros
        self._change = world.make(lambda: ros.create_client(ChangeState, f"{name}/change_state"))
        self._get = world.make(lambda: ros.create_client(GetState, f"{name}/get_state"))
        assert self._change.wait_for_service(60.0)
        assert self._get.wait_for_service(60.0)
        # The node gets to know the last client last: then no reply to a change is lost.
        self.state()

    def state(self) -> str:
        """The state; asked again when the answer was lost, as the first one can be."""
        from lifecycle_msgs.srv import GetState

        def answered() -> Any:
            reply = self.world.soon(self._get.call_async(GetState.Request()))
            return reply and reply.current_state.label

        return self.world.wait_until(answered)

    def ask(self, transition: str) -> Any:
        """Ask for a transition; return the future of its response."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        change = ChangeState.Request(transition=Transition(label=transition))
        return self._change.call_async(change)

    def change(self, transition: str, state: str) -> None:
        """Ask for a transition and wait until it has led to the state."""
        self.ask(transition)
        self.world.wait_until(lambda: self.state() == state)

    def bring_up(self) -> Any:
        """Configure and activate; return the stamp of a frame that the node has."""
        self.change("configure", "inactive")
        self.change("activate", "active")
        self.world.wait_for_node()
        return self.world.publish_frame()


@pytest.fixture
def managed(start_fake: Any) -> Any:
    """A node that waits for its manager, and the manager: `managed(FAKE_LOAD_FAILS="why")`."""

    def start(**env: str) -> tuple[Any, Manager]:
        world = start_fake(*OFF, ready=WAITING, **env)
        world.wait_for_services()
        return world, Manager(world)

    return start


def test_through_all_states_and_again(managed: Any) -> None:
    world, manager = managed()
    assert manager.state() == "unconfigured"
    reply = world.ask()
    assert (reply.name, reply.model) == ("NOT_ACTIVE", "")
    assert "ros2 lifecycle set" in reply.message
    assert "configure" in reply.message
    for _ in range(2):
        manager.change("configure", "inactive")
        reply = world.ask()
        assert (reply.name, reply.model) == ("NOT_ACTIVE", "fake")
        assert "activate" in reply.message
        # Images cost nothing before it is active.
        assert world.ros.count_subscribers(f"{world.namespace}/image") == 0
        for _ in range(2):
            manager.change("activate", "active")
            world.wait_for_node()
            assert world.ask().name == "NO_IMAGE"
            stamp = world.publish_frame()
            assert world.ask("say hello", stamp=stamp, session="s").message.endswith("is new")
            manager.change("deactivate", "inactive")
            assert world.ask(stamp=stamp).name == "NOT_ACTIVE"
            world.wait_until(lambda: world.ros.count_subscribers(f"{world.namespace}/image") == 0)
        manager.change("cleanup", "unconfigured")
        reply = world.ask()
        assert (reply.name, reply.model) == ("NOT_ACTIVE", "")
    manager.change("shutdown", "finalized")
    assert world.ask().name == "NOT_ACTIVE"
    world.process.send(signal.SIGINT)
    assert world.process.wait() == 0
    assert "Traceback" not in world.process.output


def test_it_starts_by_itself_and_takes_a_manager_too(start_fake: Any) -> None:
    world = start_fake()
    world.wait_for_node()
    manager = Manager(world)
    assert manager.state() == "active"
    # What it is already it cannot become.
    response = world.finish(manager.ask("configure"))
    assert not response.success
    assert manager.state() == "active"
    manager.change("deactivate", "inactive")
    assert world.ask().name == "NOT_ACTIVE"
    manager.change("activate", "active")
    world.wait_for_node()
    assert world.ask(stamp=world.publish_frame()).name == "OK"


def test_while_it_loads_everything_else_goes_on(managed: Any, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    world, manager = managed(FAKE_LOAD_WAITS_FOR=str(loaded))
    manager.ask("configure")
    world.wait_until(lambda: manager.state() == "configuring")
    reply = world.ask()
    assert reply.name == "NOT_ACTIVE"
    assert "loading" in reply.message
    _, result = world.result(world.send_goal("what"))
    assert result.name == "NOT_ACTIVE"
    assert world.set_parameter("max_regions", 5).successful
    # A second change must wait for the first.
    assert not world.finish(manager.ask("configure")).success
    assert manager.state() == "configuring"
    loaded.touch()
    world.wait_until(lambda: manager.state() == "inactive")


def level_of(world: Any) -> tuple[bytes, str]:
    """The next status of the node on /diagnostics: level and message."""
    from diagnostic_msgs.msg import DiagnosticArray

    heard = world.Collector()
    subscription = world.ros.create_subscription(DiagnosticArray, "/diagnostics", heard, 10)
    name = f"{world.namespace}/region_query_node"
    status = heard.wait_for(lambda m: m.status[0].name == name).status[0]
    world.ros.destroy_subscription(subscription)
    return status.level, status.message


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"FAKE_LOAD_FAILS": "the weights are gone"}, "the weights are gone"),
        ({"FAKE_LOAD_BREAKS": "1"}, "ZeroDivisionError"),
    ],
)
def test_what_failed_is_said_and_can_be_mended(
    managed: Any, tmp_path: Path, env: dict[str, str], words: str
) -> None:
    from diagnostic_msgs.msg import DiagnosticStatus

    mended = tmp_path / "mended"
    world, manager = managed(FAKE_LOAD_WORKS_WITH=str(mended), **env)
    response = world.finish(manager.ask("configure"))
    assert not response.success
    assert manager.state() == "unconfigured"
    world.process.wait_for("cannot configure")
    world.process.wait_for(words)
    assert words in world.ask().message
    level, message = level_of(world)
    assert level == DiagnosticStatus.ERROR
    assert words in message
    mended.touch()
    assert world.ask(stamp=manager.bring_up()).name == "OK"
    assert words not in level_of(world)[1]


def test_a_failure_without_a_manager_ends_the_process(start_fake: Any) -> None:
    world = start_fake(ready=None, FAKE_LOAD_BREAKS="1")
    assert world.process.wait(60.0) == 1
    assert "ZeroDivisionError" in world.process.wait_for("cannot start")


def test_deactivation_answers_what_runs_and_waits_at_once(managed: Any) -> None:
    world, manager = managed()
    stamp = manager.bring_up()
    goal = world.send_goal("take 60", stamp=stamp, timeout_s=60.0)
    world.process.wait_for("'take 60'")
    waiting = world.client.call_async(world.request("what", stamp=stamp, timeout_s=60.0))
    world.process.wait_for("'what'")
    manager.ask("deactivate")
    assert world.names[world.finish(waiting).status] == "NOT_ACTIVE"
    assert world.result(goal)[1].name == "NOT_ACTIVE"
    world.wait_until(lambda: manager.state() == "inactive")
    manager.change("activate", "active")
    world.wait_for_node()
    assert world.ask(stamp=world.publish_frame()).name == "OK"


def test_a_long_computation_holds_no_transition_up(managed: Any) -> None:
    world, manager = managed()
    stamp = manager.bring_up()
    asked = world.client.call_async(world.request("block 100", stamp=stamp, timeout_s=100.0))
    world.process.wait_for("'block 100'")
    manager.change("deactivate", "inactive")
    assert world.names[world.finish(asked).status] == "NOT_ACTIVE"
    manager.change("cleanup", "unconfigured")
    assert "still computes" in world.process.wait_for("its memory is free")
    # Another one does not wait for it.
    assert world.ask(stamp=manager.bring_up()).name == "OK"


def test_no_request_is_lost_while_the_state_changes_under_load(managed: Any) -> None:
    world, manager = managed()
    manager.change("configure", "inactive")
    asked: list[Any] = []
    goals: list[Any] = []
    for turn in range(4):
        manager.change("activate", "active")
        world.wait_for_node()
        stamp = world.publish_frame()
        asked += [
            world.client.call_async(world.request(f"take 0.0{number}", stamp=stamp, timeout_s=60.0))
            for number in range(1, 7)
        ]
        # Never done before it changes.
        goals.append(world.send_goal("take 100", stamp=stamp, timeout_s=100.0))
        changed = manager.ask("deactivate")
        # Some come while it changes, and some when it has.
        while not changed.done() and len(asked) < 40 * (turn + 1):
            asked.append(world.client.call_async(world.request("what", stamp=stamp)))
            world.finish(asked[-1])
        world.wait_until(lambda: manager.state() == "inactive")
    statuses = Counter(world.names[world.finish(one).status] for one in asked)
    statuses += Counter(world.result(goal)[1].name for goal in goals)
    assert set(statuses) <= {"OK", "NOT_ACTIVE", "BUSY"}, statuses
    assert statuses["NOT_ACTIVE"] >= len(goals)
    assert statuses.total() == len(asked) + len(goals)
    manager.change("activate", "active")
    world.wait_for_node()
    assert world.ask(stamp=world.publish_frame()).name == "OK"


# --- time


def test_simulated_time_that_jumps_back_forgets_the_frames(start_fake: Any) -> None:
    from rosgraph_msgs.msg import Clock

    from chatspot_ros.ros.conversions import to_time

    world = start_fake("-p", "use_sim_time:=true", "-p", "max_image_age:=2.0")
    world.wait_for_node()
    clock = world.ros.create_publisher(Clock, "/clock", 10)
    world.wait_until(clock.get_subscription_count)

    def set_time(seconds: int) -> None:
        clock.publish(Clock(clock=to_time(seconds * 10**9)))

    set_time(1000)
    stamp = to_time(999 * 10**9)
    world.publish_frame(stamp)
    # By the simulation's clock it is young.
    assert world.ask("what").header.stamp == stamp

    def is_stale() -> bool:
        set_time(1005)
        return world.ask("what").name == "STALE_IMAGE"

    world.wait_until(is_stale)

    def is_noticed() -> bool:
        set_time(500)
        return "time went back by 505.000 s" in world.process.output

    world.wait_until(is_noticed)
    assert world.ask("what", stamp=stamp).name == "NO_IMAGE"
    again = to_time(500 * 10**9)
    world.publish_frame(again)
    assert world.ask("what").header.stamp == again
