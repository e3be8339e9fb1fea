"""From the parameters to a loaded engine: where the model, skills and states are found."""

from __future__ import annotations

from chatspot_ros.core.skills import read_skills, read_states
from chatspot_ros.engine.api import RegionEngine
from chatspot_ros.server.settings import Settings
from chatspot_ros.util.resources import find_model


def load_engine(settings: Settings) -> RegionEngine:
    """Load the model that the parameters name. Raises ModelLoadError, which says what to do."""
    model, skills = find_model(settings.model), read_skills(settings.skills_file)
    states = read_states(settings.states_file)
    # Importing torch takes seconds, in which the node serves already.
    from chatspot_ros.engine import Engine
    from chatspot_ros.engine.loading.host_resources import cores
    from chatspot_ros.engine.loading.memory_estimate import MB, Plan

    return Engine.load(
        model,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads or cores(),
        local_only=not settings.allow_download,
        skills=skills,
        states=states,
        constrain_answers=settings.constrain_answers,
        plan=Plan(settings.quantisation, settings.memory_tokens, settings.memory_reserve_mb * MB),
        compile=settings.compile,
        warm_up=settings.warm_up,
    )
