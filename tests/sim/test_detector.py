"""The simulated detector: box errors, misses, scores; no invisible things."""

from __future__ import annotations

import numpy as np
import pytest

from chatspot_sim.detector import Detection, DetectorSettings, detect
from chatspot_sim.truth import Thing, Truth

EXACT = DetectorSettings(jitter=0.0, miss_rate=0.0)


def thing(name: str, box: tuple[float, float, float, float], **more: object) -> Thing:
    x1, y1, x2, y2 = box
    pixels = int((x2 - x1) * (y2 - y1))
    values = {"pixels": pixels, "polygon_px": ((x1, y1), (x2, y1), (x2, y2)), **more}
    return Thing(id=f"{name}_1", name=name, colour="", box_xyxy_px=box, **values)  # type: ignore[arg-type]


def truth(*things: Thing) -> Truth:
    return Truth(320, 240, things)


def found(what: Truth, settings: DetectorSettings, seed: int = 0) -> list[Detection]:
    return detect(what, settings, np.random.default_rng(seed))


def test_an_exact_detector_finds_everything_clearly_visible() -> None:
    kitchen = truth(thing("fridge", (0, 0, 100, 200)), thing("mug", (150, 100, 170, 120)))
    assert {(d.id, d.name, d.box_xyxy_px) for d in found(kitchen, EXACT)} == {
        ("fridge_1", "fridge", (0, 0, 100, 200)),
        ("mug_1", "mug", (150, 100, 170, 120)),
    }


def test_what_is_hidden_or_tiny_is_never_found() -> None:
    kitchen = truth(
        thing("fridge", (0, 0, 100, 200), visible_fraction=0.29),
        thing("mug", (150, 100, 170, 120), pixels=149),
    )
    assert found(kitchen, EXACT) == []


def test_misses_come_as_often_as_asked() -> None:
    kitchen = truth(*(thing("mug", (10, 10, 60, 60)) for _ in range(1000)))
    settings = DetectorSettings(miss_rate=0.2)
    assert len(found(kitchen, settings)) == pytest.approx(800, abs=50)


def test_edges_are_off_by_the_asked_share_and_stay_in_the_picture() -> None:
    kitchen = truth(*(thing("mug", (100, 20, 200, 40)) for _ in range(1000)))
    boxes = np.array([d.box_xyxy_px for d in found(kitchen, DetectorSettings(0.05, 0.0))])
    np.testing.assert_allclose(boxes.std(axis=0), [5.0, 1.0, 5.0, 1.0], rtol=0.15)
    edge = truth(*(thing("fridge", (0, 0, 320, 240)) for _ in range(100)))
    boxes = np.array([d.box_xyxy_px for d in found(edge, DetectorSettings(0.3, 0.0))])
    assert boxes.min() >= 0
    assert (boxes <= [320, 240, 320, 240]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_scores_are_shares_sorted_and_lower_for_what_is_half_hidden() -> None:
    kitchen = truth(
        thing("mug", (10, 10, 20, 30), visible_fraction=0.4), thing("fridge", (0, 0, 100, 200))
    )
    detections = found(kitchen, EXACT)
    assert [d.name for d in detections] == ["fridge", "mug"]
    assert all(0 < d.score < 1 for d in detections)


def test_the_same_numbers_give_the_same_detections() -> None:
    kitchen = truth(thing("fridge", (0, 0, 100, 200)), thing("mug", (150, 100, 170, 120)))
    settings = DetectorSettings(jitter=0.1)
    assert found(kitchen, settings, 1) == found(kitchen, settings, 1)
    assert found(kitchen, settings, 1) != found(kitchen, settings, 2)
