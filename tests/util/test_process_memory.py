"""What a program does about its memory: circles are found soon; what is there is not searched."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatspot_ros.util import process_memory


class Circle:
    """Refers to itself, as a query and its job do to each other."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def left_alone() -> Iterator[None]:
    """The collector of this process, as it was."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("left_alone")
def test_what_is_there_is_left_alone_and_what_comes_is_freed() -> None:
    gc.disable()  # nobody else frees anything meanwhile
    before = weakref.ref(Circle())
    process_memory.settle()
    assert before() is None
    assert gc.get_freeze_count() > 1000
    after = weakref.ref(Circle())
    assert after() is not None
    process_memory.tidy()
    assert after() is None


@pytest.mark.usefixtures("left_alone")
def test_release_frees_circles_of_before() -> None:
    gc.disable()
    model = Circle()
    process_memory.settle()
    freed = weakref.ref(model)
    del model
    process_memory.tidy()
    assert freed() is not None
    process_memory.release()
    assert freed() is None


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_an_environment_that_says_how_is_obeyed(spawn: Callable[..., Any]) -> None:
    program = (
        "import ctypes\n"
        "from chatspot_ros.util import process_memory as memory\n"
        "asked = []\n"
        "memory._libc = lambda name: lambda *given: asked.append(given)\n"
        "memory.arrange()\n"
        "print(asked)\n"
    )
    plain = spawn(sys.executable, "-c", program)
    assert plain.wait() == 0
    assert "(-8, 1)" in plain.output
    told = spawn(sys.executable, "-c", program, env={"MALLOC_ARENA_MAX": "4"})
    assert told.wait() == 0
    assert told.output == "[]"
