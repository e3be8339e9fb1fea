"""Start the demo's nodes as processes, wait until they are ready, end them in every case."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from ament_index_python.packages import get_package_prefix

_STOPPING_S = 5.0
_ENDING_S = 2.0
_LAST_LINES = 12
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def installed(name: str) -> tuple[str, ...]:
    """Return the command that `ros2 run chatspot_ros NAME` starts."""
    return (str(Path(get_package_prefix("chatspot_ros")) / "lib" / "chatspot_ros" / name),)


class ProcessError(RuntimeError):
    """A node did not start, or ended too early; the message names its log."""


class NodeProcess:
    """One running node; its output goes to `log`."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, parameters: Mapping[str, str]
    ) -> None:
        """Start `command` with ROS parameters, each written as YAML."""
        self.name, self.log = name, log
        command = [*command, "--ros-args"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={value}"]
        if shutil.which("setpriv"):  # the node then ends with this process in every case
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        self._news = threading.Condition()
        self._ready = self._ended = False
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # Ctrl-C in a terminal reaches this program only, which then ends its nodes in order.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()

    def _read(self, output: IO[str]) -> None:
        with output, self.log.open("w", encoding="utf-8") as log:
            for line in output:
                log.write(line)
                log.flush()
                if f"ready: {self.name}" in line:
                    self._tell(ready=True)
        self._tell(ended=True)

    def _tell(self, *, ready: bool = False, ended: bool = False) -> None:
        with self._news:
            self._ready = self._ready or ready
            self._ended = self._ended or ended
            self._news.notify_all()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the node's `ready:` line. Raises ProcessError if it ends or is late."""
        with self._news:
            self._news.wait_for(lambda: self._ready or self._ended, timeout_s)
            if self._ready and not self._ended:
                return
        self.check()
        raise ProcessError(
            f"{self.name} did not get ready within {timeout_s:.0f} s; {self._last_words()}"
        )

    def check(self) -> None:
        """Raise ProcessError if the node has ended by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # A node that has closed its output is about to end.
            status = self._process.wait(_ENDING_S if self._ended else 0.0)
            raise ProcessError(f"{self.name} ended with status {status}; {self._last_words()}")

    def _last_words(self) -> str:
        self._reader.join(1.0)
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return "\n".join([f"the end of its log {self.log}:", *lines[-_LAST_LINES:]])

    @property
    def pid(self) -> int:
        """Process id of the node."""
        return self._process.pid

    def interrupt(self) -> None:
        """Ask the node to end, as Ctrl-C does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def finish(self, until_s: float) -> None:
        """Wait for the node's end until `until_s` (time.monotonic), then kill it."""
        try:
            self._process.wait(max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1.0)


@contextlib.contextmanager
def _held_back(numbers: Sequence[signal.Signals]) -> Iterator[None]:
    """Defer these signals to the end of the block.

    A handler that raises before a started process is registered would leave it running.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    came: list[int] = []
    found = {number: signal.getsignal(number) for number in numbers}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda caught, _: came.append(caught))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for caught in came:
            signal.raise_signal(caught)


class NodeProcesses:
    """The nodes of a `with` block; leaving the block ends them."""

    def __init__(self, logs: Path) -> None:
        """`logs`: an existing folder for their logs."""
        self._logs = logs
        self._running: list[NodeProcess] = []

    def start(self, name: str, command: Sequence[str], **parameters: str) -> NodeProcess:
        """Start a node; parameters are written as YAML."""
        with _held_back(_STOP_SIGNALS):
            process = NodeProcess(name, command, self._logs / f"{name}.log", parameters)
            self._running.append(process)
        return process

    def check(self) -> None:
        """Raise ProcessError if one of them has ended by itself."""
        for process in self._running:
            process.check()

    def __enter__(self) -> NodeProcesses:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running:
            process.interrupt()
        until_s = time.monotonic() + _STOPPING_S
        for process in self._running:
            process.finish(until_s)
