"""Intent: the labelled questions are new to training, and F1 and confusions are scikit-learn's."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from chatspot_ros.prompts import TASKS
from chatspot_sim.wordings import TRAIN
from chatspot_train.suites.base import MissingDataError, Predicted
from chatspot_train.suites.intent import NAMES, IntentSuite, RouteAnswerer, weighted_f1
from chatspot_train.suites.parts import MalformedDataError
from chatspot_train.suites.runner import run


def test_the_labelled_questions_are_many_and_new() -> None:
    items = list(IntentSuite().items(Path(), 0, 0))
    counts = Counter(item.truth["task"] for item in items)
    assert len(items) >= 120
    assert set(counts) == set(NAMES)
    assert min(counts.values()) >= 15
    known = [
        re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(text)), re.IGNORECASE)
        for texts in TRAIN.values()
        for text in texts
    ]
    assert known[0].fullmatch("what is this?")
    trained = [i.key for i in items if any(pattern.fullmatch(i.key) for pattern in known)]
    assert trained == []


def test_the_router_is_asked_like_a_model(tmp_path: Path) -> None:
    suite = IntentSuite()
    found = run(RouteAnswerer(), suite.items(Path(), 0, 0), tmp_path / "p.jsonl")
    assert {p.text for p in found} <= {task or "short" for task in TASKS}
    report = suite.score(found)
    true, said = [p.truth["task"] for p in found], [p.text for p in found]
    assert report.rows["weighted_f1"]["value"] == pytest.approx(
        f1_score(true, said, average="weighted")
    )
    counts = confusion_matrix(true, said, labels=NAMES)
    assert weighted_f1(np.stack([counts, counts])) == pytest.approx(
        report.rows["weighted_f1"]["value"]
    )
    assert report.rows["weighted_f1"]["low"] < report.rows["weighted_f1"]["high"]
    by_task = f1_score(true, said, average=None, labels=list(NAMES))
    assert [report.rows[f"f1/{name}"]["value"] for name in NAMES] == pytest.approx(list(by_task))
    report.plots["confusion.png"].savefig(tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1000


def test_scores_by_hand() -> None:
    pairs = [("read", "read"), ("read", "short"), ("plan", "plan"), ("short", "plan")]
    predictions = [Predicted(str(k), said, truth={"task": true})
                   for k, (true, said) in enumerate(pairs)]  # fmt: skip
    suite = IntentSuite()
    rows = suite.score(predictions).rows
    # F1: read 2/3 (weight 2), plan 2/3 (weight 1), short 0 (weight 1).
    assert rows["weighted_f1"]["value"] == pytest.approx((2 * 2 / 3 + 2 / 3) / 4)
    assert rows["accuracy"]["value"] == 0.5
    assert suite.right(predictions) == [True, False, True, False]
    assert "| read | 1 | 0 | 1 | 0 | 0 | 0 |" in suite.score(predictions).table
    with pytest.raises(ValueError, match="no predictions"):
        suite.score([])


@pytest.mark.parametrize(
    ("text", "problem"),
    [("sing: [La]", "keys"), ("read: [A]\nplan: [A]", "'A' is there twice"), ("[", "line 1")],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "intents.yaml"
    with pytest.raises(MissingDataError, match=r"intents\.yaml"):
        next(IntentSuite(file).items(Path(), 0, 0))
    file.write_text(text)
    with pytest.raises(MalformedDataError, match=problem):
        next(IntentSuite(file).items(Path(), 0, 0))
    file.write_text("read: [A, B]\nplan:\n")
    assert len(list(IntentSuite(file).items(Path(), 1, 0))) == 1
