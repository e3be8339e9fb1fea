"""Scenes, questions and decoding: everything that runs the model. Torch, never rclpy."""

from chatspot_ros.engine.api import Question, RegionEngine, Reply, Turn
from chatspot_ros.engine.engine import Engine, Scene

__all__ = ["Engine", "Question", "RegionEngine", "Reply", "Scene", "Turn"]
