"""The bundled detector, on fixed kitchens that training never saw."""

from pathlib import Path

from chatspot_ros.detector.object_detector import Detector
from chatspot_ros.util.resources import find_model
from chatspot_sim.dataset import Job, RenderedKitchens, render_shard
from chatspot_train.tiny.evaluate_detector import measure

MODEL = "chatspot-tiny-detector"
KITCHENS = 12
FLOOR = 0.8  # more kitchens measure 0.92; see its card


def test_it_finds_what_stands_in_unseen_kitchens(tmp_path: Path) -> None:
    render_shard(Job(str(tmp_path), "val", 0, KITCHENS, 1, 448))
    detector = Detector.load(find_model(MODEL), device="cpu")
    assert measure(detector, RenderedKitchens(tmp_path))["AP50"]["value"] >= FLOOR


def test_it_is_small() -> None:
    folder = Path(find_model(MODEL))
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1e6
    assert {file.name for file in folder.iterdir()} >= {"README.md", "config.json"}
