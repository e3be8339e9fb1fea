"""Programs under test, each in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator


class Process:
    """A program under test; its output is kept, and shown if the test fails."""

    def __init__(self, *command: str, env: dict[str, str] | None = None) -> None:
        self.command = command
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A working folder without chatspot_ros/, and unbuffered output.
            cwd=tempfile.gettempdir(),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        self._process.wait()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def output(self) -> str:
        with self._news:
            return "\n".join(self.lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while the program runs."""
        return self._process.poll()

    def wait_for(self, text: str, timeout_s: float = 60.0, after: int = 0) -> str:
        """Wait for a printed line with `text`, from line number `after` on; return it."""

        def find() -> str | None:
            return next((line for line in self.lines[after:] if text in line), None)

        with self._news:
            self._news.wait_for(lambda: self._ended or find() is not None, timeout_s)
            line = find()
        if line is None:
            what = f"ended with {self.returncode}" if self._ended else f"ran {timeout_s} s"
            raise AssertionError(
                f"{' '.join(self.command)} {what} without printing {text!r}; it printed:\n"
                f"{self.output}"
            )
        return line

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for the program to end by itself; return its exit status."""
        status = self._process.wait(timeout_s)
        self._reader.join(5.0)
        return status

    def send(self, signum: signal.Signals) -> None:
        self._process.send_signal(signum)

    def stop(self, timeout_s: float = 30.0) -> int:
        """Interrupt the program as Ctrl-C does, and kill it if it does not end in time."""
        if self.returncode is None:
            self.send(signal.SIGINT)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self.wait()


def spawner() -> Iterator[Callable[..., Process]]:
    """Yield a function that starts programs; stop all of them afterwards, the last one first."""
    processes: list[Process] = []

    def spawn(
        *command: str,
        ready: str | None = None,
        timeout_s: float = 60.0,
        env: dict[str, str] | None = None,
    ) -> Process:
        process = Process(*command, env=env)
        processes.append(process)
        if ready is not None:
            process.wait_for(ready, timeout_s)
        return process

    yield spawn
    for process in reversed(processes):
        process.stop()
        # pytest shows this only for a test that failed.
        print(f"--- {' '.join(process.command)} ended with {process.returncode}")
        print(process.output)
