"""Time from a mouse release to the first word: `python -m benchmarks.operator_latency --json FILE`.

Row `window_over_action`: the ratio of the medians of the window and of a bare action client, at
most 1.3. Both ask the same node the same question about the same point of a kitchen's frame that
has just come, in turns that change their order; each waits for the picture to be seen, too. The
window's time runs from the release of the mouse to the painting of the first word, without a
screen. Row `page_over_action`: the same for the page, in a headless Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy

from benchmarks import page_latency
from benchmarks.bare_action import (
    CAMERA,
    NODE,
    PATIENCE_S,
    POINT,
    QUESTION,
    WARM_UP,
    BareClient,
)
from chatspot_ros.util.atomic_write import write_whole
from chatspot_sim.processes import NodeProcesses, installed

COUNT = 30


class Person:
    """A person at the window who asks by one click."""

    def __init__(self) -> None:
        from PySide6 import QtCore, QtTest, QtWidgets

        from chatspot_ros.operators.window.operator_widget import OperatorWidget
        from chatspot_ros.ros.operator_client import DEFAULT_NODE, RosOperatorClient

        class Painted(QtCore.QObject):
            """Notes when a text is first painted."""

            at_s = 0.0

            def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:  # noqa: N802
                is_paint = event.type() == QtCore.QEvent.Type.Paint
                if is_paint and not self.at_s and window.panel.cards:
                    label = window.panel.cards[0].text
                    if watched is label and label.text().strip(" …"):
                        self.at_s = time.perf_counter()
                return False

        self._qt = QtCore, QtTest
        self.app = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
        window = OperatorWidget(RosOperatorClient(DEFAULT_NODE), DEFAULT_NODE)
        window.tools.detections.setChecked(False)
        window.question.line.setText(QUESTION)
        window.question.at_once.setChecked(True)
        window.resize(1000, 700)
        window.show()
        self.window = window
        self.painted = Painted()
        self.app.installEventFilter(self.painted)
        self._wait(lambda: window.frame is not None)

    def look(self) -> None:
        """Begin anew, and wait for a new frame."""
        window = self.window
        window.new_session()
        since_ns = time.time_ns()
        self._wait(lambda: window.frame is not None and window.frame.stamp_ns > since_ns)

    def first_word_s(self) -> float:
        """Click at the point; return the seconds until a word is painted."""
        core, test = self._qt
        window = self.window
        x, y = window.picture.view.to_view(POINT)
        place = core.QPoint(round(x), round(y))
        left, none = core.Qt.MouseButton.LeftButton, core.Qt.KeyboardModifier.NoModifier
        test.QTest.mousePress(window.picture, left, none, place)
        self.painted.at_s = 0.0
        begun = time.perf_counter()
        test.QTest.mouseRelease(window.picture, left, none, place)
        self._wait(lambda: self.painted.at_s > 0)
        self._wait(lambda: window.exchange is not None and window.exchange.reply is not None)
        return self.painted.at_s - begun

    def close(self) -> None:
        """End the client."""
        self.app.removeEventFilter(self.painted)
        self.window.close()

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Let the window live until the condition is true. Raises TimeoutError."""
        core, _ = self._qt
        until = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError(f"nothing for {PATIENCE_S} s: {self.window.status.text()}")
            # With a time limit Qt would not wait, and this loop would take a core from the node.
            # The window's own timer comes every second.
            self.app.processEvents(core.QEventLoop.ProcessEventsFlag.WaitForMoreEvents)


def measure_window(count: int) -> dict[str, Any]:
    """Return the window's row; rclpy is initialised.

    Raises:
        TimeoutError, chatspot_sim.processes.ProcessError: no answer comes, or a node ends.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as logs, NodeProcesses(Path(logs)) as processes:
        for name, parameters in ((NODE, {"default_timeout": str(PATIENCE_S)}), (CAMERA, {})):
            processes.start(name, installed(name), **parameters).wait_ready(2 * PATIENCE_S)
        bare, person = BareClient(), Person()
        times: dict[Any, list[float]] = {person: [], bare: []}
        with contextlib.closing(person):
            for number in range(WARM_UP + count):
                for side in (person, bare) if number % 2 else (bare, person):
                    person.look()
                    times[side].append(side.first_word_s())
    window_s, action_s = (statistics.median(times[side][WARM_UP:]) for side in (person, bare))
    value = window_s / action_s
    return {
        "window_over_action": {
            "value": value, "window_s": window_s, "action_s": action_s, "n": count,
        }
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Measure what the window and the page add to the first word."
    )
    parser.add_argument("--json", type=Path, help="also write the rows there")
    parser.add_argument("--count", type=int, default=COUNT, help=f"default: {COUNT}")
    parser.add_argument("--only", choices=("window", "page"), help="leave out the other")
    options, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    rows: dict[str, Any] = {}
    for name, measure in (("window", measure_window), ("page", page_latency.measure)):
        if options.only in (None, name):
            rows |= measure(options.count)
    for key, row in rows.items():
        rest = ", ".join(f"{name} {value:.5g}" for name, value in row.items() if name != "value")
        print(f"{key:32s} {row['value']:8.4f}   ({rest})")
    if options.json:
        write_whole(options.json, json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
