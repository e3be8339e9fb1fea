"""Feedback: the suite's logs, its rows, and that a wrong answer is counted as one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from chatspot_train.evaluate import main
from chatspot_train.evaluation.suites.feedback import (
    KINDS,
    NOTHING,
    ROWS,
    SEEDS,
    AnalysisAnswerer,
    FeedbackSuite,
    scenario_of,
)
from chatspot_train.feedback.graph import EDGES, FACTORS


def test_each_factor_is_the_cause_of_as_many_logs_and_no_decoy_is_the_cause() -> None:
    items = list(FeedbackSuite().items(Path(), 0, 0))
    assert len({item.truth["draw"] for item in items}) == len(items)
    for kind in KINDS:
        mine = [item for item in items if item.truth["kind"] == kind]
        causes = Counter(item.truth["cause"] for item in mine)
        wanted = {NOTHING} if kind == "causeless" else set(FACTORS)
        assert set(causes) == wanted
        assert len(set(causes.values())) == 1
    for seed in range(SEEDS):
        for k in range(len(FACTORS)):
            made = scenario_of("confounded", seed, k)
            assert made.decoy not in ("", made.cause)
            assert made.decoy in EDGES[made.circumstance]  # the log follows the graph


def test_rows_count_what_each_reading_says() -> None:
    suite = FeedbackSuite()
    items = list(suite.items(Path(), 0, 0))
    item = next(one for one in items if one.truth["kind"] == "confounded")
    (answer,) = AnalysisAnswerer().answer_all(item.image(), [item])  # type: ignore[operator]
    cause = item.truth["cause"]
    assert answer.state["ratings"] == cause
    assert answer.state["correlation"] == scenario_of("confounded", 0, item.truth["k"]).decoy
    wrong = replace(answer, key="other", text=NOTHING, state=dict.fromkeys(answer.state, NOTHING))
    rows = suite.rows([answer, wrong])
    assert rows["cause_found"]["value"] == 0.5
    assert rows["cause_found_correlation"]["value"] == 0.0
    assert suite.right([answer, wrong]) == [True, False]
    assert set(rows) == {row for row, (kind, _) in ROWS.items() if kind == "confounded"}


def test_the_command_writes_the_rows_with_intervals(tmp_path: Path) -> None:
    assert main(["--suite", "feedback", "--limit", "6", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    row = rows["feedback/cause_found"] if "feedback/cause_found" in rows else rows["cause_found"]
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert row["n"] >= 1
