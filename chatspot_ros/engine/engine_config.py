"""The settings of an engine and the one function that loads it. Importing this needs no torch."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chatspot_ros.core.skills import read_skills, read_states
from chatspot_ros.engine.remote.config import is_remote, read_config
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.util.resources import find_model

if TYPE_CHECKING:
    from chatspot_ros.engine.api import RegionEngine
    from chatspot_ros.engine.engine import Engine
    from chatspot_ros.engine.remote.engine import RemoteEngine


@dataclass(frozen=True)
class EngineConfig:
    """The settings of an engine, with the node's defaults: its parameters of the same names.

    `server/settings.py` says what each one means.
    """

    model: str = "chatspot-tiny"
    allow_download: bool = False
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    skills_file: str = "skills.yaml"
    states_file: str = "states.yaml"
    constrain_answers: bool = True
    quantisation: str = "none"
    compile: str = "auto"
    warm_up: bool = True
    memory_tokens: int = 4096
    memory_reserve_mb: int = 512
    picture_pixels: int = 0
    knowledge_embeddings: str = ""
    segmenter: str = ""


def load_any_engine(config: EngineConfig) -> RegionEngine:
    """Load a model of this machine, or an engine over the server that `model` names.

    Raises:
        ModelLoadError: the model, a file or the server's settings cannot be used.
    """
    return _remote_engine(config) if is_remote(config.model) else load_engine(config)


def _remote_engine(config: EngineConfig) -> RemoteEngine:
    """Return an engine over a server; only its fallback, and an embedder, load torch."""
    from chatspot_ros.engine.remote.engine import RemoteEngine
    from chatspot_ros.engine.remote.fallback import LocalFallback
    from chatspot_ros.engine.serial_engine import as_batching

    server = read_config(config.model)
    skills, states = read_skills(config.skills_file), read_states(config.states_file)
    fallback = None
    if server.fallback:
        local = load_engine(replace(config, model=server.fallback))
        fallback = LocalFallback(as_batching(local), server.fallback_seconds)
    embed = None
    if config.knowledge_embeddings:
        from chatspot_ros.engine.text_embeddings import load_embedder

        embed = load_embedder(config.knowledge_embeddings, local_only=not config.allow_download)
    return RemoteEngine(
        server, skills=skills, states=states, picture_pixels=config.picture_pixels, embed=embed,
        fallback=fallback,
    )  # fmt: skip


def load_engine(config: EngineConfig) -> Engine:
    """Load a model of this machine, for the node, for evaluation and for training alike.

    Raises:
        ModelLoadError: the model or a file cannot be used; it says what to do.
    """
    if is_remote(config.model):
        raise ModelLoadError(
            "this program needs a model of this machine", value=config.model.partition(":")[0],
            remedy="name a checkpoint; chatspot evaluate asks a server by --served-model",
        )  # fmt: skip
    model = find_model(config.model)
    skills, states = read_skills(config.skills_file), read_states(config.states_file)
    # Importing torch takes seconds, in which the node already serves.
    from chatspot_ros.engine.engine import Engine
    from chatspot_ros.engine.loading.host_resources import cores
    from chatspot_ros.engine.loading.memory_estimate import MB, Plan
    from chatspot_ros.engine.segmenter import Segmenter
    from chatspot_ros.engine.text_embeddings import load_embedder

    embedder, local = config.knowledge_embeddings, not config.allow_download
    engine = Engine.load(
        model,
        device=config.device,
        dtype=config.dtype,
        threads=config.threads or cores(),
        local_only=not config.allow_download,
        skills=skills,
        states=states,
        constrain_answers=config.constrain_answers,
        plan=Plan(config.quantisation, config.memory_tokens, config.memory_reserve_mb * MB),
        compile=config.compile,
        warm_up=config.warm_up,
        picture_pixels=config.picture_pixels,
        embed=load_embedder(embedder, local_only=local) if embedder else None,
    )
    if config.segmenter:
        device = str(engine.device)
        engine.segmenter = Segmenter.load(config.segmenter, device=device, local_only=local)
    return engine


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the command-line options of an engine besides its model: --device, --skills, --states."""
    default = EngineConfig()
    add = parser.add_argument
    add("--device", default=default.device, help="auto, cpu, cuda, ... (%(default)s)")
    add("--skills", default=default.skills_file, metavar="FILE",
        help="the robot's skills, as the node's parameter skills_file (%(default)s)")  # fmt: skip
    add("--states", default=default.states_file, metavar="FILE",
        help="the states of things, as the node's parameter states_file (%(default)s)")  # fmt: skip
    add("--embeddings", default=default.knowledge_embeddings, metavar="DIR_OR_ID",
        help="a text encoder to rank notes: the node's knowledge_embeddings")  # fmt: skip


def config_from(options: argparse.Namespace) -> EngineConfig:
    """Return the settings that `--model` and the options of `add_engine_options` name."""
    return EngineConfig(
        model=str(options.model),
        device=options.device,
        skills_file=options.skills,
        states_file=options.states,
        knowledge_embeddings=options.embeddings,
    )
