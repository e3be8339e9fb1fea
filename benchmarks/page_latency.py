"""Time from a mouse release on the page to the first word, against the bare action client:
`python -m benchmarks.operator_latency --only page`.

Row `page_over_action`: the ratio of the medians. Both sides ask the same node the same question
about the same point of a kitchen's newest frame in a new session, in turns that change their order;
each frame is a new one, so that both wait for the picture too. Before either, the page shows a new
frame, and is frozen during the answer. The page's time is taken in a headless Chromium: from its
event `pointerup` to the change of the document that shows a word.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bare_action import (
    CAMERA,
    NODE,
    PATIENCE_S,
    POINT,
    SIZE_WH,
    WARM_UP,
    BareClient,
)
from chatspot_sim.processes import NodeProcesses, installed

BROWSERS = ("chromium", "google-chrome")

# Runs in the browser: `first` becomes the milliseconds from the last release to the first word.
WATCH = """
addEventListener('pointerup', () => {
  window.begun = performance.now();
  window.first = null;
}, true);
new MutationObserver(() => {
  const answer = document.querySelector('.exchange .answer-text');
  if (window.begun && window.first === null && answer && answer.textContent)
    window.first = performance.now() - window.begun;
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


@contextlib.contextmanager
def page_address() -> Iterator[str]:
    """Serve the page; yield its address."""
    command = (sys.executable, "-m", "chatspot_ros.tools.web", "--port", "0")
    environment = {**os.environ, "CHATSPOT_WEB_TOKEN": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            yield line.split()[2]
        finally:
            server.terminate()


class Browser:
    """A person at the page who asks by one click."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        page.set_default_timeout(1000 * PATIENCE_S)
        page.add_init_script(WATCH)
        page.goto(address)
        page.wait_for_selector(".picture-frame:not([data-number='0'])")
        page.get_by_role("switch", name="Ask at once").click()

    def look(self) -> None:
        """Begin anew, and wait for a new frame."""
        page = self.page
        page.get_by_role("button", name="New session").click()
        page.wait_for_function("!document.querySelector('.exchange')")
        page.locator(".tag-live").wait_for()
        before = page.locator(".picture-frame").get_attribute("data-number")
        page.wait_for_selector(f".picture-frame:not([data-number='{before}'])")

    def freeze(self) -> None:
        """Keep the frame."""
        self.page.get_by_role("button", name="Freeze").click()
        self.page.locator(".tag-frozen").wait_for()

    def first_word_s(self) -> float:
        """Click at the point; return the seconds until a word is shown."""
        page = self.page
        box = page.locator(".picture-frame").bounding_box()
        x, y = (
            box[corner] + at / size * box[side]
            for corner, side, at, size in zip(
                ("x", "y"), ("width", "height"), POINT, SIZE_WH, strict=True
            )
        )
        page.mouse.click(x, y)
        page.wait_for_function("window.first !== null && window.first !== undefined")
        seconds = page.evaluate("window.first") / 1000
        page.locator(".exchange").filter(has_text="Answered in").wait_for()
        return float(seconds)


def in_turns(person: Browser, bare: BareClient, count: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the page and those of the bare client."""

    def ask_there() -> None:
        person.look()
        page.append(person.first_word_s())

    def ask_here() -> None:
        person.look()
        person.freeze()
        action.append(bare.first_word_s(f"page_latency {time.monotonic_ns()}"))

    page: list[float] = []
    action: list[float] = []
    for number in range(count):
        for ask in (ask_there, ask_here) if number % 2 else (ask_here, ask_there):
            ask()
    return page, action


def find_browser() -> str:
    """Return the path of a Chromium. Raises FileNotFoundError."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise FileNotFoundError("no Chromium is installed: run scripts/install-browser")
    return path


def measure(count: int) -> dict[str, Any]:
    """Return the row. Raises FileNotFoundError, TimeoutError, chatspot_sim.processes.ProcessError.

    rclpy is initialised.
    """
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory() as logs,
        NodeProcesses(Path(logs)) as processes,
        sync_playwright() as playwright,
    ):
        for name in (NODE, CAMERA):
            processes.start(name, installed(name)).wait_ready(120.0)
        bare = BareClient()
        with page_address() as address:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=flags)
            person = Browser(browser.new_page(), address)
            seconds = in_turns(person, bare, WARM_UP + count)
            browser.close()
    page_s, action_s = (statistics.median(side[WARM_UP:]) for side in seconds)
    value = page_s / action_s
    return {
        "page_over_action": {"value": value, "page_s": page_s, "action_s": action_s, "n": count}
    }
