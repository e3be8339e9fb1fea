"""Evaluation, calibration and replay load the engine that the node runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from chatspot_ros.core.skills import read_skills, read_states
from chatspot_ros.engine import Engine
from chatspot_ros.engine.engine_config import (
    EngineConfig,
    config_from,
    load_engine,
)
from chatspot_ros.server.engine_factory import config_of
from chatspot_ros.server.engine_factory import load_engine as load_for_node
from chatspot_ros.server.settings import SPECS, Settings
from chatspot_ros.tools import replay
from chatspot_train import evaluate
from chatspot_train.data import relabel
from chatspot_train.evaluation import calibrate

ROOT = Path(__file__).parents[3]
MODEL = str(ROOT / "models" / "chatspot-tiny")


class LoadedError(Exception):
    """Ends a program where it has loaded its engine."""


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each engine is loaded with; nothing is loaded."""
    found: list[dict[str, Any]] = []

    def load(model: str, **settings: Any) -> None:
        found.append({"model": model, **settings})
        raise LoadedError

    monkeypatch.setattr(Engine, "load", load)
    return found


def by_evaluate(argv: list[str]) -> None:
    evaluate.main(["--suite", "kitchen", "--out", "d", *argv])


def by_replay(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    replay.main.fill(parser)
    load_for_node(Settings(**asdict(config_from(parser.parse_args(["bag", *argv])))))


def by_relabel(argv: list[str]) -> None:
    relabel.main(["--records", "a", "--images", "b", "--out", "c", *argv])


PROGRAMS: list[Callable[[list[str]], object]] = [by_evaluate, calibrate.main, by_replay, by_relabel]


@pytest.mark.parametrize("program", PROGRAMS)
def test_by_default_it_is_the_engine_of_the_node(
    program: Callable[[list[str]], object], loads: list[dict[str, Any]]
) -> None:
    with pytest.raises(LoadedError):
        load_for_node(Settings(model=MODEL))
    with pytest.raises(LoadedError):
        program(["--model", MODEL])
    node, other = loads
    assert node == other
    assert node["skills"] == read_skills("skills.yaml") != {}
    assert node["states"] == read_states("states.yaml") != {}
    assert node["constrain_answers"] is True


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_reach_it_as_parameters_do(
    program: Callable[[list[str]], object], loads: list[dict[str, Any]], tmp_path: Path
) -> None:
    skills, states = tmp_path / "skills.yaml", tmp_path / "states.yaml"
    skills.write_text("wave: wave at someone\n")
    states.write_text("lid: [up, down]\n")
    given = {"skills_file": str(skills), "states_file": str(states), "device": "cpu"}
    with pytest.raises(LoadedError):
        load_for_node(Settings(model=MODEL, **given))
    with pytest.raises(LoadedError):
        program(
            ["--model", MODEL, "--device", "cpu", "--skills", str(skills), "--states", str(states)]
        )
    node, other = loads
    assert node == other
    assert (node["skills"], node["states"], node["device"]) == (
        {"wave": "wave at someone"}, {"lid": ("up", "down")}, "cpu",
    )  # fmt: skip


def test_every_setting_of_an_engine_is_a_parameter_with_its_default() -> None:
    parameters = {spec.name: spec.default for spec in SPECS}
    assert {entry.name for entry in fields(EngineConfig)} <= set(parameters)
    assert config_of(Settings()) == EngineConfig()
    assert {name: parameters[name] for name in asdict(EngineConfig())} == asdict(EngineConfig())


def test_a_changed_parameter_changes_the_setting(loads: list[dict[str, Any]]) -> None:
    settings = Settings(quantisation="int8", dtype="bfloat16", constrain_answers=False, threads=3)
    with pytest.raises(LoadedError):
        load_engine(config_of(settings))
    assert (loads[0]["plan"].quantisation, loads[0]["dtype"]) == ("int8", "bfloat16")
    assert (loads[0]["constrain_answers"], loads[0]["threads"]) == (False, 3)
