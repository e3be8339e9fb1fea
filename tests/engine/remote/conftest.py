"""A server that misbehaves as told, and engines that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from misbehaving_server import MisbehavingServer

from chatspot_ros.engine.remote.config import RemoteConfig
from chatspot_ros.engine.remote.engine import RemoteEngine

Make = Callable[..., RemoteEngine]


def painted(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.full((56, 84, 3), rgb, np.uint8)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MisbehavingServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    found = MisbehavingServer().start()
    yield found
    found.stop()


@pytest.fixture
def make(server: MisbehavingServer) -> Iterator[Make]:
    """Make an engine that asks the server; settings as for RemoteConfig."""
    made: list[RemoteEngine] = []

    def engine(fallback: Any = None, **settings: Any) -> RemoteEngine:
        given = {"url": server.url, "model": "tiny-qwen2.5-vl", **settings}
        made.append(RemoteEngine(RemoteConfig(**given), fallback=fallback))
        return made[-1]

    yield engine
    for one in made:
        one.close()
