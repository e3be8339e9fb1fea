"""The node's parameters as the settings of its engine."""

from __future__ import annotations

from dataclasses import fields

from chatspot_ros.engine import engine_config
from chatspot_ros.engine.api import RegionEngine
from chatspot_ros.engine.engine_config import EngineConfig
from chatspot_ros.server.settings import Settings


def load_engine(settings: Settings) -> RegionEngine:
    """Load the model that the parameters name, or ask its server.

    Raises:
        ModelLoadError: it says what to do.
    """
    return engine_config.load_any_engine(config_of(settings))


def config_of(settings: Settings) -> EngineConfig:
    """Return the engine's settings, which are parameters of the same names."""
    return EngineConfig(
        **{entry.name: getattr(settings, entry.name) for entry in fields(EngineConfig)}
    )
