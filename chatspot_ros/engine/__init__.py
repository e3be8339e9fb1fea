"""Scenes, questions and decoding: everything that runs the model. Torch, never rclpy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from chatspot_ros.engine.api import Question, RegionEngine, Reply, Turn

if TYPE_CHECKING:
    from chatspot_ros.engine.engine import Engine
    from chatspot_ros.engine.models.runner import Scene

__all__ = ["Engine", "Question", "RegionEngine", "Reply", "Scene", "Turn"]

# torch reads it when loaded. OpenMP's threads otherwise wait for one another by spinning: on two
# cores shared with a camera and a detector, 12 tokens took seconds instead of 0.05.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Spinning for some 0.05 ms saves waking a thread at each of a step's hundred small products.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def __getattr__(name: str) -> Any:
    """Import the engine at its first use: torch takes seconds, the API needs none."""
    if name == "Engine":
        from chatspot_ros.engine.engine import Engine

        return Engine
    if name == "Scene":
        from chatspot_ros.engine.models.runner import Scene

        return Scene
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
