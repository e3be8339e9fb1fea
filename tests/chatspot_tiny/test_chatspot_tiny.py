"""The bundled model: its files, and its answers on fixed kitchens that training never saw."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_train.evaluation.engine_model import EngineAnswerer
from chatspot_train.evaluation.kitchen.suite import KitchenSuite
from chatspot_train.evaluation.runner import run
from chatspot_train.evaluation.suite import Prediction

MODEL = Path(__file__).resolve().parents[2] / "models" / "chatspot-tiny"
KITCHENS = 14
# A little under what 1,000 kitchens measure, for 14 of them; see the model card.
FLOORS = {
    "name_box": 0.85, "name_polygon": 0.85, "name_point": 0.8, "colour": 0.8, "state": 0.85,
    "read": 0.75, "count": 0.75, "plan": 0.85, "locate": 0.7,
}  # fmt: skip

Judged = tuple[Prediction, bool]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(str(MODEL), threads=2)


@pytest.fixture(scope="module")
def judged(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Judged]]:
    suite, out = KitchenSuite("val"), tmp_path_factory.mktemp("kitchens")
    found = run(EngineAnswerer(engine), suite.items(out, KITCHENS, 0), out / "predictions.jsonl")
    by_row: dict[str, list[Judged]] = defaultdict(list)
    for prediction, right in zip(found, suite.right(found), strict=True):
        by_row[prediction.truth["row"]].append((prediction, right))
    return by_row


@pytest.mark.parametrize("row", FLOORS)
def test_answers_on_fixed_kitchens(row: str, judged: dict[str, list[Judged]]) -> None:
    asked = judged[row]
    wrong = [(p.key, p.question, p.text, p.truth["answer"]) for p, right in asked if not right]
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
    assert {"vision_stage", "detail_stage", "text_stage", "dialogue_stage"} <= set(training)
    assert (MODEL / "loss.png").stat().st_size > 5000
    assert "| `name_box` |" in (MODEL / "README.md").read_text()
