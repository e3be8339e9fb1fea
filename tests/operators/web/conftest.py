"""A real Chromium, a real node, its camera, and people at the page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("world")
from live_camera import LiveCamera  # noqa: E402
from world import World  # noqa: E402

FAKE_NODE = str(Path(__file__).parents[2] / "ros" / "faulty_node.py")
NAMES = ("chromium", "google-chrome", "chromium-browser")
REMEDY = "no Chromium runs here: scripts/install-browser brings it"
TIMEOUT_MS = 30_000


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium that runs; Ubuntu's package of that name is none."""
    for name in NAMES:
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True, timeout=60).stdout:
            return path
    pytest.skip(REMEDY)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """One headless browser for a file; each person has a context of their own."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield made
        made.close()


class Person:
    """Somebody at the page, with a browser of their own."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, **context)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(url)

    def sees_a_picture(self) -> Person:
        self.page.wait_for_selector(".picture-frame:not([data-number='0'])")
        return self

    @property
    def number(self) -> int:
        return int(self.page.locator(".picture-frame").get_attribute("data-number"))

    def at(self, x: float, y: float, size_wh: tuple[int, int] = (64, 48)) -> tuple[float, float]:
        """Return where a pixel of the camera's picture is on the screen."""
        box = self.page.locator(".picture-frame").bounding_box()
        return (
            box["x"] + x / size_wh[0] * box["width"],
            box["y"] + y / size_wh[1] * box["height"],
        )

    def click(
        self, x: float, y: float, size_wh: tuple[int, int] = (64, 48), button: str = "left"
    ) -> None:
        self.page.mouse.click(*self.at(x, y, size_wh), button=button)

    def drag(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.page.mouse.move(*self.at(x1, y1))
        self.page.mouse.down()
        self.page.mouse.move(*self.at((x1 + x2) / 2, y2))
        self.page.mouse.move(*self.at(x2, y2))
        self.page.mouse.up()

    def has_regions(self, count: int) -> None:
        self.page.wait_for_function(
            "n => document.querySelectorAll('.region-chip').length == n", arg=count
        )

    def ask(self, question: str) -> None:
        self.page.get_by_label("Question").fill(question)
        self.button("Ask").click()

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def reads(self, text: str) -> Any:
        """Wait until the newest card has a text; return the card."""
        card = self.page.locator(".exchange").first.filter(has_text=text)
        card.wait_for()
        return card


@pytest.fixture
def person(browser: Any, page_url: str) -> Iterator[Callable[..., Person]]:
    """Let somebody open the page: `person()`, `person(has_touch=True)`."""
    people: list[Person] = []

    def come(url: str = page_url, **context: Any) -> Person:
        people.append(Person(browser, url, **context))
        return people[-1]

    yield come
    for one in people:
        one.context.close()
        assert one.faults == []


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module")
def world(module_spawn: Any, module_ros_node: Any, gates: Path) -> World:
    """A node with the scripted engine. It holds frames for a second, people look for longer."""
    process = module_spawn(
        *(sys.executable, FAKE_NODE, "--ros-args"),
        *("-p", "max_image_age:=600.0", "-p", "buffer_seconds:=1.0"),
        ready="ready: region_query_node",
        env={"FAKE_GATES": str(gates)},
    )
    made = World(module_ros_node, process)
    made.wait_for_services()
    return made


@pytest.fixture(scope="module")
def camera(world: World) -> Iterator[LiveCamera]:
    made = LiveCamera(world)
    yield made
    made.end()


def start_page(spawn: Any, *arguments: str, **env: str) -> tuple[Any, str]:
    """Start `chatspot web`; return its process and its address."""
    process = spawn(
        *(sys.executable, "-m", "chatspot_ros.tools.web", *arguments),
        ready="chatspot web: http://",
        env={"CHATSPOT_WEB_TOKEN": "", **env},
    )
    line = next(line for line in process.lines if "chatspot web: http://" in line)
    return process, line.split()[2]


@pytest.fixture(scope="module")
def page_url(module_spawn: Any, camera: LiveCamera) -> str:
    return start_page(module_spawn, "--port", "0")[1]


@pytest.fixture(scope="session")
def start() -> Callable[..., tuple[Any, str]]:
    return start_page


@pytest.fixture(scope="session")
def live_camera() -> type[LiveCamera]:
    return LiveCamera
