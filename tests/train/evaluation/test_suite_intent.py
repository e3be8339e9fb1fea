"""Intent: the labelled questions are new to training, F1 and confusions are scikit-learn's, and the
router keeps the tasks of the wordings that models were taught on."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from chatspot_ros.core.task_router import route
from chatspot_ros.core.tasks import TASKS
from chatspot_sim.kitchen import THING_KINDS, plural
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import TRAIN, Wordings
from chatspot_train.evaluation.dataset_files import MalformedDataError
from chatspot_train.evaluation.runner import run
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.intent import (
    LISTS,
    NAMES,
    IntentSuite,
    RouteAnswerer,
    weighted_f1,
)

# What the router may not fall below: on the list it was tuned on, and on the other.
FLOORS = {"intents": 0.95, "intents_held_out": 0.9}
# The task of every kind of kitchen question; what is not named here wants a short answer.
TASK_OF_KIND = {
    "state": "state", "read": "read", "read_number": "read", "scene": "describe",
    "describe": "describe", "locate": "locate",
    **{kind: "plan" for kind in TRAIN if kind.startswith("plan")},
}  # fmt: skip


def test_the_labelled_questions_are_many_and_new() -> None:
    items = list(IntentSuite().items(Path(), 0, 0))
    questions = [item.turns[0].question for item in items]
    assert len(set(questions)) == len(questions)
    for name in LISTS:
        counts = Counter(i.truth["task"] for i in items if i.truth["list"] == name)
        assert counts.total() >= 120
        assert set(counts) == set(NAMES)
        assert min(counts.values()) >= 15
    known = [
        re.compile(re.sub(r"\\{\w+\\}", r"\\w+( \\w+)?", re.escape(text)), re.IGNORECASE)
        for texts in TRAIN.values()
        for text in texts
    ]
    assert known[0].fullmatch("what is this?")
    assert [q for q in questions if any(pattern.fullmatch(q) for pattern in known)] == []


def test_the_router_is_asked_like_a_model(tmp_path: Path) -> None:
    suite = IntentSuite()
    found = run(RouteAnswerer(), suite.items(Path(), 0, 0), tmp_path / "p.jsonl")
    assert {p.text for p in found} <= {task or "short" for task in TASKS}
    report = suite.score(found)
    for name, floor in FLOORS.items():
        some = [p for p in found if p.truth["list"] == name]
        true, said = [p.truth["task"] for p in some], [p.text for p in some]
        row = report.rows[f"{name}/weighted_f1"]
        assert row["value"] == pytest.approx(f1_score(true, said, average="weighted"))
        assert row["value"] >= floor
        assert row["low"] <= row["value"] <= row["high"]
        counts = confusion_matrix(true, said, labels=NAMES)
        assert weighted_f1(np.stack([counts, counts])) == pytest.approx(row["value"])
        by_task = f1_score(true, said, average=None, labels=list(NAMES))
        assert [report.rows[f"{name}/f1/{task}"]["value"] for task in NAMES] == pytest.approx(
            list(by_task)
        )
        report.plots[f"confusion-{name}.png"].savefig(tmp_path / "confusion.png")
        assert (tmp_path / "confusion.png").stat().st_size > 1000


@pytest.mark.parametrize("wordings", [TRAIN, TEST], ids=["taught", "unseen"])
def test_the_kitchens_wordings_keep_their_task_whatever_is_asked_about(wordings: Wordings) -> None:
    wrong = []
    for kind, texts in wordings.items():
        for thing in (*THING_KINDS, *(f"red {name}" for name in THING_KINDS)):
            names = {"thing": thing, "content": thing, "things": plural(thing)}
            asked = {text.format(**names) for text in texts}
            wrong += [(q, route(q)) for q in asked if route(q) != TASK_OF_KIND.get(kind, "")]
    assert wrong == []


@pytest.mark.parametrize(
    ("question", "task"),
    [
        # politeness in front changes nothing
        ("Open the window.", "plan"), ("Could you please open the window?", "plan"),
        ("I'd like you to describe this.", "describe"), ("Can you tell me where it is?", "locate"),
        # yes and no are short, whatever else is named in the question
        ("Is somebody reading a book?", ""), ("Can you see a mug?", ""),
        # said in full what form the answer is to have
        ("Is it open? Answer as attribute and value.", "state"),
        ("Is the cup there, and where?", "locate"),
    ],
)  # fmt: skip
def test_what_a_question_wants_by_hand(question: str, task: str) -> None:
    assert route(question) == task


def test_scores_by_hand() -> None:
    pairs = [("read", "read"), ("read", "short"), ("plan", "plan"), ("short", "plan")]
    predictions = [Prediction(str(k), said, truth={"list": "mine", "task": true})
                   for k, (true, said) in enumerate(pairs)]  # fmt: skip
    suite = IntentSuite()
    rows = suite.score(predictions).rows
    # F1: read 2/3 (weight 2), plan 2/3 (weight 1), short 0 (weight 1).
    assert rows["mine/weighted_f1"]["value"] == pytest.approx((2 * 2 / 3 + 2 / 3) / 4)
    assert rows["mine/accuracy"]["value"] == 0.5
    assert suite.right(predictions) == [True, False, True, False]
    assert "| read | 1 | 0 | 1 | 0 | 0 | 0 |" in suite.score(predictions).table
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])


@pytest.mark.parametrize(
    ("text", "problem"),
    [("sing: [La]", "keys"), ("read: [A]\nplan: [A]", "'A' is there twice"), ("[", "line 1")],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "intents.yaml"
    with pytest.raises(MissingDataError, match=r"intents\.yaml"):
        next(IntentSuite([file]).items(Path(), 0, 0))
    file.write_text(text)
    with pytest.raises(MalformedDataError, match=problem):
        next(IntentSuite([file]).items(Path(), 0, 0))
    file.write_text("read: [A, B]\nplan:\n")
    assert len(list(IntentSuite([file]).items(Path(), 1, 0))) == 1
