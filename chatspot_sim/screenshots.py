"""Make the pictures of README.md and docs/, from the real programs: `scripts/screenshots`.

The window stands on the simulated kitchen and the bundled model, and is drawn without a screen.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatspot_sim.demo import KITCHEN_MODEL, SEED
from chatspot_sim.processes import NodeProcesses, installed

PATIENCE_S = 900.0
SIZE_WH, SMALL_WH = (1120, 700), (440, 780)
# Of the answers the last one is seen; the first warms the model up.
CHOSEN, QUESTIONS = "fridge", ("What is this?", "Is this plugged in?")
IMAGE = re.compile(r"images/([\w.-]+\.(?:png|jpg|svg))")


# --- without a screen -----------------------------------------------------------------------------


class Window:
    """The window without a screen, and a hand for it."""

    def __init__(self, theme: str, size_wh: tuple[int, int]) -> None:
        from PySide6 import QtCore, QtTest, QtWidgets

        from chatspot_ros.operators.window.operator_widget import OperatorWidget
        from chatspot_ros.operators.window.theme import apply_theme
        from chatspot_ros.ros.operator_client import DEFAULT_NODE, RosOperatorClient

        self._core, self._test = QtCore, QtTest
        app = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
        assert isinstance(app, QtWidgets.QApplication)
        self.app = app
        apply_theme(app, theme)
        self.widget = OperatorWidget(RosOperatorClient(DEFAULT_NODE), DEFAULT_NODE)
        self.widget.resize(*size_wh)
        self.widget.show()
        # A detector's boxes come after the picture.
        self.wait(lambda: self.detection(CHOSEN) is not None)

    def detection(self, label: str) -> Any:
        """Return the largest detection with this label, or None."""
        found = [one for one in self.widget.drawing.detections if one.label == label]
        return max(found, key=lambda one: area(one.box_xyxy_px), default=None)

    def choose(self, label: str) -> None:
        """Click a detection."""
        self.wait(lambda: self.detection(label) is not None)
        x1, y1, x2, y2 = self.detection(label).box_xyxy_px
        picture, core = self.widget.picture, self._core
        x, y = picture.view.to_view(((x1 + x2) / 2, (y1 + y2) / 2))
        self._test.QTest.mouseClick(
            picture, core.Qt.MouseButton.LeftButton, core.Qt.KeyboardModifier.NoModifier,
            core.QPoint(round(x), round(y)),
        )  # fmt: skip

    def ask(self, question: str) -> None:
        """Type a question and wait for its answers."""
        line = self.widget.question.line
        line.clear()
        self._test.QTest.keyClicks(line, question)
        self._test.QTest.keyClick(line, self._core.Qt.Key.Key_Return)
        line.deselect()
        asked = self.widget.exchange
        self.wait(lambda: asked is not None and bool(asked.reply))

    def save(self, file: Path) -> None:
        """Save what is seen."""
        for _ in range(20):
            self.app.processEvents()
        if not self.widget.grab().save(str(file)):
            raise OSError(f"{file} was not written")
        self.widget.close()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Let the window live until the condition is true. Raises TimeoutError."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError(f"nothing for {PATIENCE_S:.0f} s: {self.widget.status.text()}")
            self.app.processEvents(self._core.QEventLoop.ProcessEventsFlag.WaitForMoreEvents)


def area(box_xyxy_px: tuple[float, float, float, float]) -> float:
    """Return the area of a box, in square pixels."""
    x1, y1, x2, y2 = box_xyxy_px
    return (x2 - x1) * (y2 - y1)


@contextmanager
def kitchen() -> Iterator[None]:
    """Run the kitchen, a detector that knows the truth, and the node with the bundled model."""
    with tempfile.TemporaryDirectory() as logs, NodeProcesses(Path(logs)) as nodes:
        for name, parameters in (
            ("kitchen_camera", {"seed": str(SEED), "rate": "2.0"}),
            ("kitchen_detector", {"jitter": "0.0", "miss_rate": "0.0"}),
            ("region_query_node", {"model": f'"{KITCHEN_MODEL}"', "max_image_age": "600.0"}),
        ):
            nodes.start(name, installed(name), **parameters).wait_ready(PATIENCE_S)
        yield


# --- the pictures ---------------------------------------------------------------------------------


def draw_window(file: Path, theme: str = "light", size_wh: tuple[int, int] = SIZE_WH) -> None:
    """The window with the fridge chosen, and its answer."""
    window = Window(theme, size_wh)
    window.choose(CHOSEN)
    for question in QUESTIONS:
        window.ask(question)
    window.save(file)


def draw_demo(file: Path) -> None:
    """The picture that scripts/demo writes."""
    command = (sys.executable, "-m", "chatspot_sim.demo", "--picture", str(file))
    subprocess.run(command, check=True)


# Name, what makes it, and whether the kitchen must run for it.
PICTURES: dict[str, tuple[Callable[[Path], None], bool]] = {
    "window.png": (draw_window, True),
    "window-dark.png": (lambda file: draw_window(file, "dark"), True),
    "window-small.png": (lambda file: draw_window(file, "light", SMALL_WH), True),
    "demo.png": (draw_demo, False),
}


def problems(root: Path) -> list[str]:
    """Return what is wrong with the pictures' names in `root`: README.md, docs/, docs/images/."""
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    named = {name: page for page in pages for name in IMAGE.findall(page.read_text("utf-8"))}
    there = {path.name for path in (root / "docs" / "images").iterdir()}
    return [
        *(f"{page.name} shows {name}, which scripts/screenshots does not make"
          for name, page in named.items() if name not in PICTURES),
        *(f"docs/images/{name} is missing: run scripts/screenshots {name}"
          for name in PICTURES if name not in there),
        *(f"docs/images/{name} is made by nothing: delete it, or name it in {Path(__file__).name}"
          for name in sorted(there - set(PICTURES))),
        *(f"docs/images/{name} is shown by no page" for name in PICTURES if name not in named),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; all")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository")
    parser.add_argument("--check", action="store_true", help="only compare the names")
    options = parser.parse_args(arguments)
    if options.check:
        found = problems(options.root)
        print("\n".join(found), file=sys.stderr)
        return 1 if found else 0
    wanted = options.names or list(PICTURES)
    if unknown := [name for name in wanted if name not in PICTURES]:
        parser.error(f"there is no picture {', '.join(unknown)}; these are: {', '.join(PICTURES)}")
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ["QT_SCALE_FACTOR"] = "1"
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))
    folder = options.root / "docs" / "images"
    for name in (name for name in wanted if not PICTURES[name][1]):
        PICTURES[name][0](folder / name)
    live = [name for name in wanted if PICTURES[name][1]]
    if live:
        with kitchen():
            for name in live:
                PICTURES[name][0](folder / name)
    for name in wanted:
        print(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
