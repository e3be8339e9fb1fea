"""Nodes as processes: readiness, early ends, and that none is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from chatspot_sim.processes import NodeProcess, NodeProcesses, ProcessError

READY = "print('ready: it', flush=True); "
WAIT = "import signal; signal.pause()"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def ended(process: NodeProcess) -> bool:
    return process._process.poll() is not None


def test_a_ready_line_is_waited_for_and_logged(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path) as nodes:
        process = nodes.start("it", python("print('hello'); " + READY + WAIT))
        process.wait_ready(30.0)
        nodes.check()
        assert (tmp_path / "it.log").read_text().splitlines() == ["hello", "ready: it"]
    assert ended(process)


def test_what_it_printed_into_is_closed_at_its_end(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    with NodeProcesses(tmp_path) as nodes:
        kept = nodes.start("it", python(READY + WAIT))
        kept.wait_ready(30.0)
        assert psutil.Process().num_fds() > before
    assert psutil.Process().num_fds() == before


def test_parameters_follow_ros_args(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path) as nodes:
        code = "import sys; print(sys.argv[1:]); " + READY + WAIT
        nodes.start("it", python(code), seed="3", model='"x"').wait_ready(30.0)
    assert (
        "['--ros-args', '-p', 'seed:=3', '-p', 'model:=\"x\"']" in (tmp_path / "it.log").read_text()
    )


def test_an_end_before_readiness_shows_the_last_words(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path) as nodes:
        process = nodes.start("it", python("print('no model'); raise SystemExit(3)"))
        with pytest.raises(ProcessError, match="it ended") as error:
            process.wait_ready(30.0)
        with pytest.raises(ProcessError, match="status 3"):
            nodes.check()
    assert "no model" in str(error.value)
    assert str(tmp_path / "it.log") in str(error.value)


def test_a_node_that_takes_too_long_is_named(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path) as nodes, pytest.raises(ProcessError, match="not get ready"):
        nodes.start("it", python(WAIT)).wait_ready(0.1)


def test_all_end_when_the_block_fails(tmp_path: Path) -> None:
    started: list[NodeProcess] = []

    def fail() -> None:
        with NodeProcesses(tmp_path) as nodes:
            started.extend(nodes.start(name, python(READY + WAIT)) for name in ("it", "other"))
            started[0].wait_ready(30.0)
            raise LookupError("a fault of the demo")

    with pytest.raises(LookupError):
        fail()
    assert all(ended(process) for process in started)


def test_one_that_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatspot_sim.processes._STOPPING_S", 0.3)
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    with NodeProcesses(tmp_path) as nodes:
        process = nodes.start("it", python(deaf + READY + WAIT))
        process.wait_ready(30.0)
    assert ended(process)
    assert process._process.returncode == -signal.SIGKILL


def test_a_signal_while_one_starts_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def interrupted(*args: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(popen(*args, **options))
        signal.raise_signal(signal.SIGTERM)
        return started[-1]

    def leave(number: int, _: Any) -> None:
        sys.exit(128 + number)

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit), NodeProcesses(tmp_path) as nodes:
            nodes.start("it", python(READY + WAIT))
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [process.poll() is not None for process in started] == [True]
