"""A teacher's answers take the place of the records' own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.engine import Engine
from chatspot_train.data.records import RecordError, Records, RecordTurn
from chatspot_train.data.relabel import relabel, relabelled

Painted = Callable[..., dict[str, str]]
MODEL = Path("models/chatspot-tiny")


@pytest.fixture(scope="module")
def teacher() -> Engine:
    return Engine.load(str(MODEL), device="cpu", threads=1)


def test_the_teachers_words_and_boxes_are_the_new_answers(
    teacher: Engine, painted: Painted
) -> None:
    made = painted(2)
    record, images = Records(Path(made["records"]))[0], Path(made["images"])
    told = relabel(teacher, record, images)
    assert [t.question for t in told.turns] == [t.question for t in record.turns]
    assert told.turns[0].answer != record.turns[0].answer or told.turns[1] != record.turns[1]
    assert "answers: chatspot-tiny" in told.tags
    for turn in told.turns:
        assert "<box>" not in turn.answer
        assert turn.answer.count("<region>") == len(turn.answer_regions)


def test_a_turn_that_cannot_be_asked_is_left_out(teacher: Engine, painted: Painted) -> None:
    made = painted(1)
    record, images = Records(Path(made["records"]))[0], Path(made["images"])
    outside = RecordTurn("What is this?", "x", (Region.box(500, 500, 600, 600),))
    told = relabel(teacher, replace(record, turns=(outside, record.turns[0])), images)
    assert [t.question for t in told.turns] == [record.turns[0].question]
    with pytest.raises(RecordError, match="no turns"):
        relabel(teacher, replace(record, turns=(outside,)), images)


def test_records_without_a_picture_are_left_out(teacher: Engine, painted: Painted) -> None:
    made: dict[str, Any] = painted(3)
    (Path(made["images"]) / "painted1.png").unlink()
    told = list(relabelled(teacher, Records(Path(made["records"])), Path(made["images"])))
    assert [r.id for r in told] == ["0", "2"]
