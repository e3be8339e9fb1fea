"""The window without a screen, on a client without a node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fake_operator import CUP, FakeClient


@pytest.fixture
def client() -> FakeClient:
    """A client without a node, which answers when the test says so."""
    return FakeClient()


@pytest.fixture
def window(qtbot: Any, client: FakeClient) -> Iterator[Any]:
    """The window on `client`, shown."""
    from chatspot_ros.operators.window.operator_widget import OperatorWidget

    made = OperatorWidget(client)
    qtbot.addWidget(made)
    made.resize(1000, 700)
    with qtbot.waitExposed(made):
        made.show()
    return made


@pytest.fixture
def seen(qtbot: Any, client: FakeClient, window: Any) -> Any:
    """The window with a picture, and a cup on it."""
    client.frame(detections=(CUP,))
    qtbot.waitUntil(lambda: window.frame is not None)
    return window
