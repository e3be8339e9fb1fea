"""Choices of a caller: which are refused, how scores become probabilities."""

from __future__ import annotations

import math
import unicodedata

import pytest

from chatspot_ros.core.answer_form import ANY_FORM, read_form
from chatspot_ros.core.choices import (
    check_choices,
    hardly_said,
    log_sum,
    probabilities,
    ways_to_say,
    without_longer,
)
from chatspot_ros.errors import RequestError

STATES = {"door": ("open", "closed"), "drawer": ("open", "closed"), "plug": ("in", "out")}


@pytest.mark.parametrize(
    "choices",
    [
        ("yes",), ("a",) * 2, tuple(str(k) for k in range(65)), ("yes", ""), ("yes", "  "),
        ("yes", "Yes "), ("yes", "n\x00o"), ("yes", "no\n"), ("yes", "\u200b"), ("a", "b" * 65),
        ("yes", "n" * 10_000), ("yes", "\u202eno"), ("yes", "\ud800"),
        ("é", unicodedata.normalize("NFD", "é")), ("a  b", "a b"), ("STRASSE", "straße"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_from_is_refused(choices: tuple[str, ...]) -> None:
    with pytest.raises(RequestError) as caught:
        check_choices(choices, "")
    assert caught.value.remedy
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "choices",
    [(), ("yes", "no"), ("no", "no door"), tuple(str(k) for k in range(64)), ("是", "不是"),
     ("50 %", "1.5"), ("👍", "👎"), ("a" * 64, "b")],
)  # fmt: skip
def test_what_can_be_chosen_from_is_taken(choices: tuple[str, ...]) -> None:
    check_choices(choices, "")
    assert read_form("", choices, "").choices == choices


def test_choices_schema_and_task_go_together_or_not_at_all() -> None:
    schema = '{"type": "integer"}'
    assert read_form("", (), "") == read_form("state", (), "") == ANY_FORM
    assert read_form("json", (), schema).schema is not None
    for task, choices, text in [
        ("state", ("a", "b"), ""), ("json", ("a", "b"), schema), ("json", (), ""),
        ("", (), schema), ("state", (), schema), ("", ("a", "b"), schema),
    ]:  # fmt: skip
        with pytest.raises(RequestError):
            read_form(task, choices, text)


def test_values_of_a_state_are_looked_for_as_pairs() -> None:
    assert ways_to_say(["Open", "closed", "unclear"], STATES) == [
        ["Open", "open", "door: open", "drawer: open"],
        ["closed", "Closed", "door: closed", "drawer: closed"],
        ["unclear", "Unclear"],
    ]
    assert ways_to_say(["open", "in"], STATES) == [["open", "Open"], ["in", "In"]]
    assert ways_to_say([" YES", "no A", "是"], {}) == [
        ["YES", "yes", "Yes"], ["no A", "no a", "No a"], ["是"],
    ]  # fmt: skip


def test_a_choice_has_not_what_belongs_to_a_longer_one() -> None:
    ids = [[1], [1, 2], [1, 2, 3], [1, 4], [5]]
    ends = [[False] * len(one) for one in ids]
    ends[1][1] = ends[2][1] = ends[2][2] = True
    logs = [math.log(x) for x in (0.5, 0.4, 0.3, 0.05, 0.1)]
    found = [math.exp(one) for one in without_longer(ids, logs, ends)]
    # 4 goes on with the word before it: [1, 4] is no part of [1] as a whole word.
    assert found == pytest.approx([0.1, 0.1, 0.3, 0.05, 0.1])
    same = without_longer([[1], [1, 2]], [math.log(0.3), math.log(0.3)], [[False], [False, True]])
    assert -30 < same[0] < math.log(1e-5)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_probabilities_are_together_one_in_the_order_of_the_scores(temperature: float) -> None:
    for scores in ([-1.0, -2.0, -900.0], [0.0, -math.inf], [-1e9, -1e9], [-3.0] * 64):
        found = probabilities(scores, temperature)
        assert sum(found) == pytest.approx(1)
        assert all(0 <= one <= 1 for one in found)
        assert found.index(max(found)) == scores.index(max(scores))
    softer, sharper = probabilities([-1, -2], 2.0), probabilities([-1, -2], 0.5)
    assert 0.5 < softer[0] < sharper[0]
    assert log_sum([]) == -math.inf


def test_other_words_than_the_choices_are_told() -> None:
    assert hardly_said([-9.0, -8.0], "")
    assert not hardly_said([-0.1, -8.0], "")
    # The second of several states never begins an answer.
    assert not hardly_said([-9.0, -8.0], "state")
