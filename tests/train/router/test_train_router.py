"""The router's training: the shipped file is what the command makes, of wordings that may teach."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from chatspot_ros.core.intents import FOLLOW_UP, NO_QUESTIONS, SHORT
from chatspot_ros.core.task_router import FILE, Router
from chatspot_ros.core.tasks import TASKS
from chatspot_sim.stranger_wordings import measured
from chatspot_train.router.examples import NAMES_A_WORDING, named, stranger_intent, teaching
from chatspot_train.router.train_router import main

ASKED_BY_WORDS = [name for name, task in TASKS.items() if not task.needs_schema]
INTENTS = {*(name or SHORT for name in ASKED_BY_WORDS), *NO_QUESTIONS, FOLLOW_UP}


def test_the_examples_are_many_of_every_intent_and_none_measures() -> None:
    examples = teaching()
    texts = {one.text for one in examples}
    assert len(texts) == len(examples) >= 2000
    counts = Counter(one.intent for one in examples)
    assert set(counts) == INTENTS
    assert min(counts.values()) >= 200
    assert not any("{" in text or "|" in text for text in texts)
    patterns = {one.pattern for one in examples}
    held = {(kind, text) for kind, some in measured().items() for text in some}
    taught_too = {text for _, text in held if text in patterns}
    # A few words of one kind are also said for another.
    assert len(taught_too) <= 0.02 * len(held), taught_too


def test_names_stand_in_a_wordings_places() -> None:
    asked = {named("Where is the {thing}?", number) for number in range(30)}
    assert len(asked) > NAMES_A_WORDING
    assert not any("{" in one for one in asked)
    assert named("Count the {things}.", 1) == named("Count the {things}.", 1)
    assert stranger_intent("command", "i said stop") == "stop"
    assert stranger_intent("command", "sit") == "command"
    assert stranger_intent("burner_on", "burner status") == "state"
    assert stranger_intent("plan_fill", "anything") == "plan"
    assert stranger_intent("colour", "anything") == SHORT


@pytest.mark.timeout(600)
def test_the_shipped_file_is_what_the_command_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "router.npz"
    assert main(["--out", str(file)]) == 0
    assert "patterns that a fit did not see" in capsys.readouterr().out
    made, shipped = Router.read(file), Router.read(FILE)
    assert made.names == shipped.names
    # Another machine's arithmetic may round a weight the other way.
    assert np.abs(made.weights.astype(int) - shipped.weights).max() <= 1
    assert (made.weights != shipped.weights).mean() < 0.01
    assert made.scale == pytest.approx(shipped.scale, rel=0.02)
    for name in ("sharpness", "min_task", "min_no_question"):
        assert getattr(made, name) == pytest.approx(getattr(shipped, name), abs=0.05)
