"""The bundled models' own classes are imported for their checkpoints, and for no others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatspot_ros.engine.loading.model_classes import MODULES, import_classes

ROOT = Path(__file__).parents[3]
# Loads a checkpoint by one of the two ways, and says which of the registered modules were imported.
PROGRAM = """
import json, sys
from chatspot_ros.engine.loading.model_classes import MODULES
from chatspot_ros.engine.engine import Engine
from chatspot_ros.detector.object_detector import Detector
before = [name for name in MODULES.values() if name in sys.modules]
kind, folder = sys.argv[1:]
Detector.load(folder, device="cpu") if kind == "detector" else Engine.load(folder, device="cpu")
print(json.dumps([before, [name for name in MODULES.values() if name in sys.modules]]))
"""


def imported_by(kind: str, folder: Path) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, str(folder)],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=600,
    )  # fmt: skip
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_bundled_model_brings_its_tower_along() -> None:
    assert imported_by("model", ROOT / "models" / "chatspot-tiny") == [
        [],
        ["chatspot_ros.chatspot_tiny.modeling_vision"],
    ]


def test_the_bundled_detector_brings_its_classes_along() -> None:
    assert imported_by("detector", ROOT / "models" / "chatspot-tiny-detector") == [
        [],
        ["chatspot_ros.chatspot_tiny.modeling_vision", MODULES["chatspot_detail_detector"]],
    ]


def test_other_models_import_none_of_them(llava_folder: Path) -> None:
    assert imported_by("model", llava_folder) == [[], []]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "chatspot_detail_detector"}, ["chatspot_detail_detector"]),
        (
            {"model_type": "llava", "vision_config": {"model_type": "chatspot_detail_vision"}},
            ["chatspot_detail_vision"],
        ),
        ({"model_type": "molmo2"}, ["molmo2"]),
        ({"model_type": "llava", "vision_config": {"model_type": "clip_vision_model"}}, []),
        ({"model_type": "llava", "text_config": {"model_type": "molmo2"}}, []),
        ({"model_type": "llava", "vision_config": None}, []),
        ({}, []),
    ],
)
def test_config_and_vision_config_name_the_module(
    config: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr("importlib.import_module", imported.append)
    import_classes(config)
    assert imported == [MODULES[name] for name in expected]
