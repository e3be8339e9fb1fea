"""A log is read with its older files; what is damaged costs itself; names are bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatspot_ros.core.feedback_events import AnswerLine, RatingLine, read_line, write_line
from chatspot_train.feedback.log_table import (
    OTHER,
    SHORT,
    FeedbackLog,
    JudgedAnswer,
    LogError,
    make_table,
    read_lines,
    read_log,
)
from chatspot_train.feedback.simulate import Scenario, simulate


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return list(simulate(Scenario("light"), 3, 300))


def judged(log: FeedbackLog) -> list[tuple[str, int | None, tuple[str, ...]]]:
    return sorted((one.line.answer_id, one.rating, one.follow_ups) for one in log.answers)


def test_older_files_and_any_order_give_the_same(lines: list[str], tmp_path: Path) -> None:
    whole = read_lines(lines)
    path = tmp_path / "log.jsonl"
    path.with_name("log.jsonl.2").write_text("\n".join(lines[:100]) + "\n")
    path.with_name("log.jsonl.1").write_text("\n".join(lines[100:200]) + "\n")
    path.write_text("\n".join(lines[200:]) + "\n")
    assert judged(read_log(path)) == judged(whole)
    assert judged(read_lines(reversed(lines))) == judged(whole)
    assert len(whole.answers) == 300


def test_the_last_rating_counts(lines: list[str]) -> None:
    answer = next(one for one in map(read_line, lines) if isinstance(one, AnswerLine))
    ratings = [RatingLine(time=answer.time, answer_id=answer.answer_id, rating=k) for k in (1, 4)]
    (found,) = read_lines(write_line(one) for one in (ratings[0], answer, ratings[1])).answers
    assert found.rating == 4


@pytest.mark.parametrize(
    "bad",
    [b"{", b"\x00\xff", b"[]", b"null", b'{"event":"other"}', b"[" * 100_000,
     b'{"event":"rating","answer_id":"a","time":"2026-01-01T00:00:00Z","rating":7}',
     b'{"event":"rating","answer_id":"a","time":"noon","rating":3}'],
)  # fmt: skip
def test_a_line_that_cannot_be_read_costs_itself(lines: list[str], bad: bytes) -> None:
    log = read_lines([bad, *(one.encode() for one in lines), bad, b"\n"])
    assert log.damaged == 2
    assert judged(log) == judged(read_lines(lines))


@pytest.mark.parametrize("field", ["light", "sharpness", "confidence", "answering_s"])
def test_numbers_that_are_none_are_refused(lines: list[str], field: str) -> None:
    answer = next(one for one in map(read_line, lines) if isinstance(one, AnswerLine))
    line = answer.model_dump_json().replace(f'"{field}":', f'"{field}":NaN,"was":')
    assert read_lines([line]).damaged == 1


def test_ratings_of_answers_that_are_gone_are_counted(lines: list[str]) -> None:
    kept = [one for one in lines if '"event":"answer"' not in one]
    log = read_lines(kept)
    assert (log.answers, log.strays > 50) == ([], True)


def test_no_log_and_no_measured_answer_are_said(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(LogError, match=r"nothing\.jsonl.*feedback_log"):
        read_log(tmp_path / "nothing.jsonl")
    with pytest.raises(LogError, match="0 answers"):
        make_table([])
    answers = read_lines(lines).answers
    blind = [JudgedAnswer(one.line.model_copy(update={"light": None})) for one in answers]
    with pytest.raises(LogError, match="measured picture"):
        make_table(blind)
    assert make_table([*blind, *answers]).unmeasured == len(answers)


def test_rare_names_become_one(lines: list[str]) -> None:
    answers = read_lines(lines).answers
    named = [
        JudgedAnswer(one.line.model_copy(update={"model": f"m{k}" if k < 40 else "usual",
                                                 "task": ""}))
        for k, one in enumerate(answers)
    ]  # fmt: skip
    table = make_table(named)
    assert set(table.names["model"]) == {"usual", OTHER}
    assert set(table.names["task"]) == {SHORT}
    assert all(np.isfinite(column).all() for column in table.numbers.values())
