"""Records survive the trip through Parquet, and bad ones are refused with a reason."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import (
    Record,
    RecordError,
    Records,
    RecordTurn,
    check,
    write_records,
)

TURN = RecordTurn("What is <region>?", "a mug", (Region.box(1, 2, 30.5, 40),))


def record(number: int, *turns: RecordTurn) -> Record:
    return Record("made", str(number), f"{number}.jpg", 64, 48, turns or (TURN,), ("region level",))


def test_records_survive_the_trip(tmp_path: Path) -> None:
    written = [
        record(0),
        record(1, RecordTurn("Where is the Zoë's 茶?", "<region>", (), "locate",
                             (Region.box(0, 0, 5, 5),))),
        record(2, RecordTurn("What?", "all", (Region.image(),)),
               RecordTurn("And here?", "x", (Region.point(3, 4),)),
               RecordTurn("Here?", "y", (Region.polygon([(0, 0), (9, 0), (9, 9)]),))),
    ]  # fmt: skip
    assert write_records(written, tmp_path, per_shard=2) == 3
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    records = Records(tmp_path)
    assert list(records) == written
    assert records[-1] == written[2]
    assert records[1:] == written[1:]
    with pytest.raises(IndexError):
        records[3]


def test_writing_again_leaves_no_old_shard(tmp_path: Path) -> None:
    write_records([record(k) for k in range(5)], tmp_path, per_shard=2)
    write_records([record(7)], tmp_path, per_shard=2)
    assert [r.id for r in Records(tmp_path)] == ["7"]


def test_no_records_is_an_empty_folder_of_records(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="chatspot build"):
        Records(tmp_path)
    write_records([], tmp_path)
    assert len(Records(tmp_path)) == 0


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        (RecordTurn("  ", "a"), "question is empty"),
        (RecordTurn("What?", " "), "answer to 'What\\?' is empty"),
        (RecordTurn("What?", "a", task="sing"), "no task 'sing'"),
        (RecordTurn("<region> and <region>?", "a", TURN.regions), "2 <region> for 1"),
        (RecordTurn("Where?", "<region>"), "1 <region> for 0 regions in an answer"),
        (RecordTurn("What?", "a", (Region.box(100, 100, 200, 200),)), "outside"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(turn: RecordTurn, message: str) -> None:
    check(record(1))
    with pytest.raises(ValueError, match=message):
        check(record(1, turn))


def test_a_picture_needs_a_size_and_a_name() -> None:
    with pytest.raises(RecordError, match="0 x 48"):
        check(Record("made", "1", "a.jpg", 0, 48, (TURN,)))
    with pytest.raises(RecordError, match="no picture"):
        check(Record("made", "1", "", 64, 48, (TURN,)))


def test_print_is_kept_with_its_turn(tmp_path: Path) -> None:
    turn = RecordTurn(TURN.question, TURN.answer, TURN.regions, print_lines=("MILK", "1,5 %"))
    written = [record(0, turn, TURN)]
    write_records(written, tmp_path)
    assert list(Records(tmp_path)) == written


def test_records_of_before_the_print_are_read(tmp_path: Path) -> None:
    write_records([record(0)], tmp_path)
    (path,) = tmp_path.glob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    for turn in rows[0]["turns"]:
        del turn["print_lines"]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert list(Records(tmp_path)) == [record(0)]


def test_print_that_is_no_text_is_refused() -> None:
    turn = RecordTurn(TURN.question, TURN.answer, TURN.regions, print_lines=("\ud800",))
    with pytest.raises(RecordError, match="not Unicode"):
        check(record(0, turn))
