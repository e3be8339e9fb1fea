"""What is printed in the records' regions is written into them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.engine.text_reader import PrintLine
from chatspot_ros.errors import RegionError
from chatspot_ros.tools.cli import main
from chatspot_train.data import read_print
from chatspot_train.data.read_print import Choice, filled
from chatspot_train.data.records import Record, Records, RecordTurn, write_records

LEFT, RIGHT = Region.box(0, 0, 20, 20), Region.box(20, 0, 40, 20)


class FakeReader:
    """Says where it was asked."""

    def __init__(self, threads: int = 0) -> None:
        self.asked: list[Region] = []

    def read(self, picture: RgbImage, region: Region) -> tuple[PrintLine, ...]:
        self.asked.append(region)
        left, top, right, bottom = region.box_xyxy_px
        if right > picture.shape[1]:
            raise RegionError("outside", value="", remedy="")
        return (PrintLine(f"at {left:.0f}", (left, top, right, bottom), 1.0),)


def turn(answer: str, *regions: Region, task: str = "") -> RecordTurn:
    return RecordTurn("What is this?" if len(regions) < 2 else "Are <region> and <region> alike?",
                      answer, regions, task)  # fmt: skip


TURNS = (
    turn("47", LEFT, task="read"),
    turn("Bravo apple juice", RIGHT),
    turn("a banana", RIGHT),
    turn("juice and milk", LEFT, RIGHT),
    turn("juice"),
)


@pytest.fixture
def made(tmp_path: Path) -> Records:
    """Two records of one picture, one of a missing picture, one of a wrong size."""
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/one.png"), np.zeros((20, 40, 3), np.uint8))
    record = Record("made", "0", "one.png", 40, 20, TURNS)
    write_records([
        record, replace(record, id="1"), replace(record, id="2", image="none.png"),
        replace(record, id="3", width=50),
    ], tmp_path / "records")  # fmt: skip
    return Records(tmp_path / "records")


def lines(record: Record) -> list[tuple[str, ...]]:
    return [turn.print_lines for turn in record.turns]


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (Choice(), [("at 0",), ("at 20",), ("at 20",), (), ()]),
        (Choice(["read"]), [("at 0",), (), (), (), ()]),
        (Choice([], ["JUICE", "milk"]), [(), ("at 20",), (), (), ()]),
        (Choice(["read"], ["juice"]), [("at 0",), ("at 20",), (), (), ()]),
    ],
)
def test_chosen_turns_are_read(made: Records, choice: Choice, read: list[tuple[str, ...]]) -> None:
    told = list(filled(made, made.folder.parent / "images", choice, FakeReader()))
    assert lines(told[0]) == lines(told[1]) == read
    assert [replace(one, print_lines=()) for one in told[0].turns] == list(TURNS)


def test_a_region_is_read_once_for_a_picture(made: Records) -> None:
    reader = FakeReader()
    list(filled(made, made.folder.parent / "images", Choice(), reader))
    assert reader.asked == [LEFT, RIGHT]


def test_a_record_that_cannot_be_read_stays_as_it_was(
    made: Records, caplog: pytest.LogCaptureFixture
) -> None:
    told = list(filled(made, made.folder.parent / "images", Choice(), FakeReader()))
    assert told[2:] == made[2:]
    assert "not read: made/2" in caplog.text
    assert "not read: made/3" in caplog.text
    assert "the record says 50 x 20" in caplog.text


def test_what_other_turns_have_stays(made: Records, tmp_path: Path) -> None:
    had = replace(made[0], turns=(replace(TURNS[2], print_lines=("before",)), TURNS[0]))
    write_records([had], tmp_path / "again")
    (told,) = filled(
        Records(tmp_path / "again"), tmp_path / "images", Choice(["read"]), FakeReader()
    )
    assert lines(told) == [("before",), ("at 0",)]


def test_the_command_writes_records(
    made: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(read_print, "TextReader", FakeReader)
    folder, out = str(made.folder), str(tmp_path / "out")
    images = str(tmp_path / "images")
    command = ["read-print", folder, "--images", images, "--out", out]
    assert main([*command, "--tasks", "read", "--match", "juice, milk"]) == 0
    assert "4 records in" in (shown := capsys.readouterr().out)
    assert "4 turns with print" in shown
    assert lines(Records(tmp_path / "out")[1])[:3] == [("at 0",), ("at 20",), ()]

    with pytest.raises(SystemExit):
        main([*command, "--tasks", "sing"])
    assert "there is no task 'sing'" in capsys.readouterr().err
    assert main(["read-print", str(tmp_path / "none"), "--images", images, "--out", out]) == 1
    assert "no records in" in capsys.readouterr().err
