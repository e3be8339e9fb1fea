"""Scenes, questions and decoding: everything that runs the model. Torch, never rclpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatspot_ros.engine.api import Question, RegionEngine, Reply, Turn

if TYPE_CHECKING:
    from chatspot_ros.engine.engine import Engine, Scene

__all__ = ["Engine", "Question", "RegionEngine", "Reply", "Scene", "Turn"]


def __getattr__(name: str) -> Any:
    """Import the engine when it is first used: torch takes seconds, and some need only the API."""
    if name in ("Engine", "Scene"):
        from chatspot_ros.engine import engine

        return getattr(engine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
