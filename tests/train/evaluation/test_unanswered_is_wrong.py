"""A question without an answer is wrong in every suite; every report says how many there are."""

import json
from pathlib import Path

import pytest

from chatspot_train import evaluate
from chatspot_train.evaluation.kitchen import export_public_formats
from chatspot_train.evaluation.kitchen.suite import KitchenSuite
from chatspot_train.evaluation.registry import suites
from chatspot_train.evaluation.runner import scored
from chatspot_train.evaluation.suite import AskedTurn, Item, NoAnswersError, Prediction, Suite
from chatspot_train.evaluation.suites.mmbench import MMBenchSuite
from chatspot_train.evaluation.suites.pope import PopeSuite
from chatspot_train.evaluation.suites.refusal import RefusalSuite


def kitchen_suites(data: Path) -> dict[str, Suite]:
    """Every suite that is asked about the kitchen's files, by the prefix of its rows."""
    return {
        prefix: variant
        for suite in suites().values()
        for prefix, variant in suite.kitchen_variants(data).items()
    }


# Without an answer there is no confidence: see the test of calibration.
PICTURE_SUITES = [name for name in kitchen_suites(Path()) if name not in ("intent", "calibration")]
# Their best is 0; of a model without answers they are to say nothing (no questions, or not there).
BEST_IS_LOW = ("hallucination", "false_denials", "noise_drop", "calibration", "edit_distance",
               "no_category", "no_box", "unanswered", "yes_ratio", "lost")  # fmt: skip


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_public_formats.write(tmp_path_factory.mktemp("kitchen"), 2)


@pytest.fixture(params=["kitchen", *PICTURE_SUITES])
def silent(request: pytest.FixtureRequest, kitchen: Path) -> tuple[Suite, list[Prediction]]:
    """A suite, and the answers of a run in which no picture could be read."""
    suite = KitchenSuite() if request.param == "kitchen" else kitchen_suites(kitchen)[request.param]
    items = list(suite.items(kitchen, 2 if request.param == "kitchen" else 0, 0))
    assert items
    return suite, [item.failed("the picture cannot be decoded") for item in items]


def test_no_row_praises_a_model_that_answered_nothing(
    silent: tuple[Suite, list[Prediction]],
) -> None:
    suite, predictions = silent
    rows = scored(suite, predictions).rows
    praised = {
        name: row["value"] for name, row in rows.items()
        if row["n"] and row["value"] > 0 and not any(word in name for word in BEST_IS_LOW)
    }  # fmt: skip
    assert praised == {}
    # Nothing says what a detector's boxes are, so no answer about them is right or wrong.
    if hasattr(suite, "right") and not getattr(suite, "detections", None):
        assert not any(suite.right(predictions))


def test_a_row_whose_best_is_low_is_not_perfect_without_answers(
    silent: tuple[Suite, list[Prediction]],
) -> None:
    suite, predictions = silent
    rows = scored(suite, predictions).rows
    perfect = [
        name for name, row in rows.items()
        if row["n"] and row["value"] == 0
        and any(word in name for word in ("hallucination", "false_denials", "noise_drop"))
    ]  # fmt: skip
    assert perfect == []


def test_the_report_says_how_many_have_no_answer(silent: tuple[Suite, list[Prediction]]) -> None:
    suite, predictions = silent
    report = scored(suite, predictions)
    assert report.rows["unanswered"]["value"] == 1.0
    assert report.rows["unanswered"]["n"] == len(predictions)
    assert f"{len(predictions)} of {len(predictions)} questions have no answer" in report.table


def test_calibration_says_why_there_is_no_answer(kitchen: Path) -> None:
    suite = kitchen_suites(kitchen)["calibration"]
    silent = [item.failed("the picture is cut") for item in suite.items(kitchen, 0, 0)]
    with pytest.raises(NoAnswersError, match=r"no answers.*the picture is cut"):
        suite.score(silent)


@pytest.mark.parametrize("label", ["yes", "no"])
def test_pope_counts_silence_as_wrong_whatever_is_true(label: str) -> None:
    item = Item("random/1", Path("a.jpg"), (AskedTurn("Is there a dog?"),),
                {"file": "random", "label": label})  # fmt: skip
    silent = item.failed("the picture cannot be decoded")
    said = Prediction("random/2", "Yes.", truth={"file": "random", "label": "yes"})
    rows = PopeSuite().score([silent, said]).rows
    assert rows["accuracy"]["value"] == 0.5
    assert rows["recall"]["value"] == (0.5 if label == "yes" else 1.0)
    assert rows["precision"]["value"] == 1.0
    assert rows["yes_ratio"]["value"] == 0.5
    assert not PopeSuite().right([silent])[0]


@pytest.mark.parametrize("kind", ["present", "elsewhere", "nowhere"])
def test_refusal_counts_silence_as_wrong(kind: str) -> None:
    truth = {"kind": kind, "thing": "mug", "box": [0, 0, 9, 9]}
    silent = Prediction("1", "", error="no picture", truth=truth)
    said = Prediction("2", "Yes, there is.", truth={**truth, "kind": "present"})
    rows = RefusalSuite().score([silent, said]).rows
    assert rows["accuracy"]["value"] == 0.5
    if kind == "present":
        assert rows["false_denials"]["value"] == 0.0
        assert rows["false_denials"]["n"] == 1  # of the answers there are
    else:
        assert rows["refusals"]["value"] == 0.0


def test_mmbench_counts_silence_as_wrong_even_of_one_choice() -> None:
    truth = {"question": "?", "hint": "", "category": "", "l2-category": "", "answer": "A",
             "choices": {"A": "", "B": "no"}, "split": "dev"}  # fmt: skip
    assert not MMBenchSuite().right([Prediction("1", "", error="no picture", truth=truth)])[0]


def test_the_command_line_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture that cannot be read: today accuracy, precision, recall and F1 are 1.000."""
    data = tmp_path / "data"
    (data / "coco").mkdir(parents=True)
    (data / "val2014").mkdir()
    (data / "val2014" / "a.jpg").write_bytes(b"\xff\xd8 cut")
    line = {"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?",
            "label": "yes"}  # fmt: skip
    for kind in ("random", "popular", "adversarial"):
        (data / "coco" / f"coco_pope_{kind}.json").write_text(json.dumps(line) + "\n")
    evaluate.main(["--suite", "pope", "--model", "models/chatspot-tiny", "--data", str(data),
                   "--out", str(tmp_path / "out")])  # fmt: skip
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert {
        k: rows[k]["value"] for k in ("accuracy", "precision", "recall", "f1")
    } == dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0.0)
    assert rows["unanswered"]["value"] == 1.0
    assert "unanswered" in capsys.readouterr().out
    assert "3 of 3 questions have no answer" in (tmp_path / "out" / "report.md").read_text()
