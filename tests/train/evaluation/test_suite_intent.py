"""Intent: what measures never teaches, F1 and confusions are scikit-learn's, and the router keeps
the tasks of the wordings that models were taught on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from chatspot_ros.core.task_router import route
from chatspot_sim.kitchen import THING_KINDS, plural
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import TRAIN, Wordings
from chatspot_train.evaluation.dataset_files import MalformedDataError
from chatspot_train.evaluation.metrics.weighted_f1 import weighted_f1
from chatspot_train.evaluation.runner import run
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.intent import (
    ALL,
    LISTS,
    NAMES,
    IntentSuite,
    RouteAnswerer,
    strangers,
)
from chatspot_train.router.examples import teaching

# What the router may not fall below, by list.
FLOORS = {"intents_held_out": 0.88, "strangers": 0.87}
# The task of every kind of kitchen question; what is not named here wants a short answer.
TASK_OF_KIND = {
    "state": "state", "read": "read", "read_number": "read", "scene": "describe",
    "describe": "describe", "locate": "locate",
    **{kind: "plan" for kind in TRAIN if kind.startswith("plan")},
}  # fmt: skip


def test_what_measures_is_much_and_never_teaches() -> None:
    items = list(IntentSuite().items(Path(), 0, 0))
    assert len({item.key for item in items}) == len(items)
    counts = {name: Counter(i.truth["task"] for i in items if i.truth["list"] == name)
              for name in LISTS}  # fmt: skip
    assert counts["intents_held_out"].total() >= 120
    assert min(counts["intents_held_out"].values()) >= 15
    assert counts["strangers"].total() > 2 * counts["intents_held_out"].total()
    assert set(counts["strangers"]) == set(NAMES)
    taught = {one.text.casefold().strip(" .?!") for one in teaching()}
    asked = [turn.question for item in items for turn in item.turns[-1:]]
    both = [one for one in asked if one.casefold().strip(" .?!") in taught]
    # Two people may say the same few words; no list may leak into the other.
    assert len(both) < 0.05 * len(asked), both


def test_a_follow_up_wants_what_the_turn_before_it_wanted() -> None:
    dialogues = [one for one in strangers() if len(one.turns) > 1]
    assert len(dialogues) >= 20
    assert len({one.intent for one in dialogues}) >= 3
    alone = {one.turns[0]: one.intent for one in strangers() if len(one.turns) == 1}
    assert all(alone[one.turns[0]] == one.intent for one in dialogues)


def test_the_router_is_asked_like_a_model(tmp_path: Path) -> None:
    suite = IntentSuite()
    found = run(RouteAnswerer(), suite.items(Path(), 0, 0), tmp_path / "p.jsonl")
    assert {p.text for p in found} <= set(NAMES)
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
        seen = sorted({*true, *said})
        by_task = f1_score(true, said, average=None, labels=seen)
        assert [report.rows[f"{name}/f1/{task}"]["value"] for task in seen] == pytest.approx(
            list(by_task)
        )
        report.plots[f"confusion-{name}.png"].savefig(tmp_path / "confusion.png")
        assert (tmp_path / "confusion.png").stat().st_size > 1000
    true, said = [p.truth["task"] for p in found], [p.text for p in found]
    assert report.rows[ALL]["value"] == pytest.approx(f1_score(true, said, average="weighted"))
    assert report.rows["refused"]["value"] <= 0.01


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
    assert "| read | 1 | 0 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |" in suite.score(predictions).table
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sing: [La]", "keys"),
        ("read: [A]\nplan: [A]", "'A' is there twice"),
        ("[", "line 1"),
        ("read: [[]]", "no turn"),
    ],
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
