"""Calibrating: curves against a known truth, what is written, and the whole way with a model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from chatspot_ros.core.confidence import ANY_TASK, Calibration
from chatspot_ros.core.model_spec import SPEC_FILE, read_spec
from chatspot_ros.errors import ModelLoadError
from chatspot_train.evaluation import calibrate
from chatspot_train.evaluation.confidence_fit import (
    MIN_ANSWERS,
    Answers,
    Way,
    apply,
    fit,
    fit_maps,
)
from chatspot_train.evaluation.metrics.calibration import calibration_error
from chatspot_train.evaluation.runner import to_line
from chatspot_train.evaluation.suite import AskedTurn, Item, Prediction


def drawn(count: int, seed: int = 0, tasks: tuple[str, ...] = ("",)) -> Answers:
    """Answers that are right with the square of their mean probability, halved for `locate`."""
    rng = np.random.default_rng(seed)
    mean = np.log(rng.uniform(0.2, 1.0, count))
    task = rng.choice(tasks, count)
    chance = np.exp(2 * mean) * np.where(task == "locate", 0.5, 1.0)
    right = (rng.random(count) < chance).astype(float)
    return Answers(np.arange(count) // 10, task, mean, mean * rng.uniform(1, 2, count), right)


# The truth is a parabola, to which a logistic curve comes only near.
@pytest.mark.parametrize(("curve", "near"), [("logistic", 0.1), ("isotonic", 0.06)])
def test_a_curve_finds_the_truth(curve: str, near: float) -> None:
    maps = fit_maps(drawn(4000), Way(curve, 1.0, by_task=False))
    line = maps[ANY_TASK]
    for probability in (0.3, 0.5, 0.7, 0.9):
        assert line([math.log(probability)]) == pytest.approx(probability**2, abs=near)


def test_what_is_fitted_is_what_the_engine_reads() -> None:
    answers = drawn(500, tasks=("", "locate"))
    fitted = fit(answers, 0.1)
    for k in range(0, 500, 50):
        # Two tokens with this mean and this least one.
        tokens = [answers.least[k], 2 * answers.mean[k] - answers.least[k]]
        said = fitted.calibration.confidence(str(answers.task[k]), tokens)
        one = answers[np.arange(500) == k]
        assert said == pytest.approx(float(apply(fitted.calibration.maps, one)[0]), abs=1e-6)


def test_calibration_error_falls_and_the_risk_is_kept() -> None:
    answers = drawn(2000)
    fitted = fit(answers, 0.2)
    assert calibration_error(answers.score(1.0), answers.right) > 0.1
    assert fitted.way.error < 0.05
    assert fitted.threshold is not None
    fresh = drawn(2000, seed=1)
    confidence = apply(fitted.calibration.maps, fresh)
    assert calibration_error(confidence, fresh.right) < 0.07
    accepted = confidence >= fitted.calibration.threshold
    assert accepted.mean() > 0.1
    assert 1 - fresh.right[accepted].mean() < 0.27


def test_tasks_that_differ_get_maps_of_their_own() -> None:
    fitted = fit(drawn(3000, tasks=("", "locate", "read")), 0.2)
    maps = fitted.calibration.maps
    assert fitted.way.by_task
    sure = [math.log(0.95)]
    assert maps["locate"](sure) < 0.6 < maps[ANY_TASK](sure)


def test_tasks_wrong_in_opposite_ways_are_not_taken_for_right_ones() -> None:
    rng = np.random.default_rng(3)
    group = np.arange(1200) % 40
    task = np.where(np.arange(1200) < 600, "plan", "locate")
    mean = np.log(rng.uniform(0.5, 0.9, 1200))
    right = (rng.random(1200) < np.where(task == "plan", 0.9, 0.5)).astype(float)
    fitted = fit(Answers(group, task, mean, mean, right), 0.1)
    together = [way for way in fitted.tried if not way.by_task]
    assert min(way.error for way in together) < 0.05 < 0.15 < min(w.task_error for w in together)
    assert fitted.way.by_task
    assert fitted.way.task_error < 0.08


def test_a_task_with_few_answers_has_no_map_of_its_own() -> None:
    answers = drawn(600, tasks=("", "locate"))
    few = np.flatnonzero(answers.task == "locate")[MIN_ANSWERS - 1 :]
    kept = answers[~np.isin(np.arange(600), few)]
    assert set(fit_maps(kept, Way("logistic", 1.0, by_task=True))) == {ANY_TASK}


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_answers_that_are_all_alike_are_not_trusted_blindly(value: float) -> None:
    answers = drawn(98)
    alike = Answers(answers.group, answers.task, answers.mean, answers.least, np.full(98, value))
    fitted = fit(alike, 0.1)
    confidence = fitted.calibration.confidence("", [-0.1])
    assert confidence == pytest.approx(99 / 100 if value else 1 / 100, abs=0.001)
    # Without any right answer everything is uncertain.
    assert (fitted.calibration.threshold == 1.0) == (value == 0.0)


def test_where_surer_answers_are_worse_the_map_is_level() -> None:
    answers = drawn(1000)
    turned = Answers(answers.group, answers.task, answers.mean, answers.least, 1 - answers.right)
    (line,) = fit_maps(turned, Way("logistic", 1.0, by_task=False)).values()
    assert line.knots == ((1.0, pytest.approx(turned.right.mean(), abs=1e-3)),)


def test_one_kitchen_is_not_enough() -> None:
    with pytest.raises(ValueError, match="2 kitchens"):
        fit(drawn(10), 0.1)


def test_answers_are_joined_with_their_tasks() -> None:
    def item(key: str, question: str, task: str) -> Item:
        return Item(key, Path("x"), (AskedTurn(question, (), task),), {"kitchen": 7})

    items = [item("a", "What?", "state"), item("b", "Find the mug.", ""), item("c", "What?", "")]
    predictions = [
        Prediction("a", "door: open", mean_log_probability=-0.5, least_log_probability=-1.0),
        Prediction("b", "mug", mean_log_probability=-0.1, least_log_probability=-0.2),
        Prediction("c", "", error="no picture"),
    ]
    got = calibrate.judged(items, predictions, [True, False, False])
    assert got.task.tolist() == ["state", "locate"]
    assert (got.mean.tolist(), got.least.tolist()) == ([-0.5, -0.1], [-1.0, -0.2])
    assert (got.right.tolist(), got.group.tolist()) == ([1.0, 0.0], [7, 7])
    with pytest.raises(ValueError, match="no answers"):
        calibrate.judged(items[2:], predictions[2:], [False])


SETTINGS = """\
# What a person wrote.
name: mine
dialect: {name: chatspot}
geometry: {mode: stretch, width: 56, height: 56}
prompt_style: tags
"""


def test_settings_keep_what_else_they_say(tmp_path: Path) -> None:
    file = tmp_path / SPEC_FILE
    file.write_text(SETTINGS)
    first = fit(drawn(300, tasks=("", "locate")), 0.1).calibration
    second = fit(drawn(300, seed=1), 0.1).calibration
    for calibration in (first, second):
        calibrate.write(file, calibration, ["measured today:", "well"])
        text = file.read_text()
        assert text.startswith(SETTINGS)
        assert text.count("calibration:") == text.count("  # measured today:") == 1
        assert read_spec(file).calibration == calibration
    # Where it stands between other settings, those stay.
    file.write_text(file.read_text() + "max_new_tokens: 12\n")
    calibrate.write(file, first, ["again"])
    assert yaml.safe_load(file.read_text())["max_new_tokens"] == 12
    assert "today" not in file.read_text()
    assert list(tmp_path.iterdir()) == [file]


def test_settings_that_are_none_stay_untouched(tmp_path: Path) -> None:
    file = tmp_path / SPEC_FILE
    file.write_text("name: [")
    level = {"any": {"mean_weight": 1, "knots": [[1, 0.5]]}}
    calibration = Calibration.model_validate({"threshold": 0.5, "maps": level})
    with pytest.raises(ModelLoadError):
        calibrate.write(file, calibration, [])
    assert file.read_text() == "name: ["


def test_the_whole_way_with_the_bundled_model(tmp_path: Path, root: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(root / "models" / "chatspot-tiny", model)
    out = tmp_path / "out"
    calibrate.main(["--model", str(model), "--kitchens", "2", "--out", str(out)])
    found = yaml.safe_load((out / calibrate.RESULTS).read_text())
    assert found["pictures"] == 2
    assert found["answers"] > 20
    assert 0 <= found["error_after"] <= 1
    calibration = read_spec(model / SPEC_FILE).calibration
    assert calibration is not None
    assert calibration.threshold == found["threshold"]
    assert {path.name for path in out.glob("*.png")} == {"before.png", "after.png", "risk.png"}


def test_kept_answers_are_taken_without_asking_again(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    shutil.copyfile(root / "models" / "chatspot-tiny" / SPEC_FILE, model / SPEC_FILE)
    told = tmp_path / "told"
    told.mkdir()
    (told / "results.json").write_text(json.dumps({"suite": "photos", "rows": {}}))
    (told / "model.json").write_text(json.dumps({"spec": {"name": "chatspot-tiny"}}))
    rng = np.random.default_rng(1)
    with (told / "predictions.jsonl").open("w") as file:
        for k in range(200):
            mean = float(np.log(rng.uniform(0.3, 1.0)))
            text = "mug" if rng.random() < np.exp(mean) ** 2 else "bowl"
            truth = {"row": "photo_grocery", "answer": "mug", "names": ["mug", "bowl"]}
            file.write(to_line(Prediction(
                str(k), text, question="What is this?", image=f"{k // 4}.jpg", truth=truth,
                mean_log_probability=mean, least_log_probability=mean,
            )))  # fmt: skip
    command = ["--model", str(model), "--answers", str(told), "--out", str(tmp_path / "out")]
    assert calibrate.main(command) == 0
    found = json.loads((tmp_path / "out" / calibrate.RESULTS).read_text())
    assert (found["pictures"], found["answers"]) == (50, 200)
    assert found["error_after"] < found["error_before"]
    settings = (model / SPEC_FILE).read_text()
    assert "50 pictures of kept results" in settings
    # Another model's answers, and none.
    (told / "model.json").write_text(json.dumps({"spec": {"name": "another"}}))
    assert calibrate.main(command) == 1
    assert "no answers to calibrate with" in capsys.readouterr().err
    assert calibrate.main([*command[:2], "--answers", str(tmp_path)]) == 1
    assert (model / SPEC_FILE).read_text() == settings


def test_a_model_without_settings_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate.main(["--model", str(tmp_path)]) == 1
    assert "copy its family's file" in capsys.readouterr().err
