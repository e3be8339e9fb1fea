"""The table of parameters."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from chatspot_ros.engine.engine_config import EngineConfig
from chatspot_ros.server.parameter_spec import problems_with
from chatspot_ros.server.settings import SPECS, Settings


def test_defaults_are_within_their_own_bounds() -> None:
    assert problems_with(SPECS, {spec.name: spec.default for spec in SPECS}) == []


def test_every_parameter_is_read_somewhere(root: Path) -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (root / "chatspot_ros").rglob("*.py")
        if path.name != "settings.py"
    )
    # An engine's settings have the names of their parameters.
    readers = {
        entry.name: "config" if hasattr(EngineConfig, entry.name) else "settings"
        for entry in fields(Settings)
    }
    unread = [name for name, reader in readers.items() if f"{reader}.{name}" not in code]
    assert unread == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image_transport": "theora"}, "raw, compressed"),
        ({"queue_size": 0}, "between 1 and 1000"),
        ({"max_image_age": -0.1}, "max_image_age"),
        ({"cameras": ()}, "at least one"),
        ({"cameras": ("a", "a")}, "none twice"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], words: str) -> None:
    (problem,) = problems_with(SPECS, values)
    assert words in problem


def test_the_parameter_file_holds_known_names_and_good_values(root: Path) -> None:
    text = (root / "config" / "region_query.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    defaults = {spec.name: spec.default for spec in SPECS}
    assert set(values) <= set(defaults)
    assert {name: type(value) for name, value in values.items()} == {
        name: type(defaults[name]) for name in values
    }
    assert problems_with(SPECS, values) == []
