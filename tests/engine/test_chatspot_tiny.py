"""The bundled model: its files, and its answers on fixed kitchens that training never saw."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_train.suites.kitchen import Prediction, evaluate_kitchens

MODEL = Path(__file__).resolve().parents[2] / "models" / "chatspot-tiny"
KITCHENS = 14
# A little under what 300 kitchens measure, for 14 of them; see the model card.
FLOORS = {"name_box": 0.85, "name_polygon": 0.85, "name_point": 0.7, "colour": 0.8, "state": 0.8}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(str(MODEL), threads=2)


@pytest.fixture(scope="module")
def predictions(engine: Engine) -> dict[str, list[Prediction]]:
    by_row: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in evaluate_kitchens(engine, "val", KITCHENS):
        by_row[prediction.row].append(prediction)
    return by_row


@pytest.mark.parametrize("row", FLOORS)
def test_answers_on_fixed_kitchens(row: str, predictions: dict[str, list[Prediction]]) -> None:
    asked = predictions[row]
    wrong = [(p.seed, p.question, p.answer, p.truth) for p in asked if not p.right]
    assert len(asked) >= KITCHENS - 4
    assert 1 - len(wrong) / len(asked) >= FLOORS[row], wrong


def test_the_same_picture_gets_the_same_answers(engine: Engine) -> None:
    from chatspot_sim.kitchen import draw_kitchen
    from chatspot_sim.world import World

    with World(draw_kitchen(3, "val")) as world:
        picture = world.frame().rgb
    question = Question("Describe the whole image in detail.")
    texts = {engine.answer(engine.prepare(picture), question).raw_text for _ in range(2)}
    assert len(texts) == 1
    assert next(iter(texts)).startswith("a kitchen with")


def test_the_files_are_small_and_safe() -> None:
    files = [path for path in MODEL.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25e6
    assert not [p.name for p in files if p.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_the_run_stands_beside_the_weights() -> None:
    training = json.loads((MODEL / "training.json").read_text())
    assert {"vision_stage", "text_stage", "dialogue_stage"} <= set(training)
    assert (MODEL / "loss.png").stat().st_size > 5000
    assert "| `name_box` |" in (MODEL / "README.md").read_text()
