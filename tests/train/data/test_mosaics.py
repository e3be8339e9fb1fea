"""Image folders laid into mosaics: exact places, coarse and exact names, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chatspot_train.data.build import build, main
from chatspot_train.data.records import Record, Records
from chatspot_train.data.sources import SourceError, find_source
from chatspot_train.data.sources.class_mosaics import read_classes
from chatspot_train.data.sources.mosaics import lay, layout

COLOURS = {"Royal-Gala": (200, 20, 20), "Granny-Smith": (20, 200, 20), "Oat_Milk": (20, 20, 200),
           "Leek": (200, 200, 20)}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        for k in range(2):
            Image.new("RGB", (60, 80), colour).save(tmp_path / "in" / name / f"{k}.png")
    (tmp_path / "classes.csv").write_text("class,coarse\nRoyal-Gala,Apple\nGranny-Smith,Apple\n")
    return tmp_path


def made(folder: Path, **more: object) -> list[Record]:
    build(find_source("imagefolder"), None, folder / "in", folder / "out", progress=False,
          **{"mosaic": 4, "classes": folder / "classes.csv", **more})  # type: ignore[arg-type]  # fmt: skip
    return list(Records(folder / "out"))


def test_a_box_holds_exactly_its_picture(folder: Path) -> None:
    files = [folder / "in" / name / "0.png" for name in COLOURS]
    for seed in range(4):
        mosaic = lay(files, seed)
        assert mosaic.size == (640, 640)
        assert layout([(60, 80)] * 4, seed) == (mosaic.size, mosaic.boxes)
        for box, colour in zip(mosaic.boxes, COLOURS.values(), strict=True):
            (x1, y1), (x2, y2) = ((round(x), round(y)) for x, y in box.points_px)
            assert (mosaic.pixels[y1:y2, x1:x2] == colour).all()
            around = mosaic.pixels[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1]
            assert (around == colour).all(-1).sum() == (x2 - x1) * (y2 - y1)


def test_each_picture_is_in_a_mosaic_and_the_region_decides(folder: Path) -> None:
    records = made(folder)
    assert len(records) == 2
    exact = {"Royal Gala": "apple", "Granny Smith": "apple", "oat milk": "oat milk", "leek": "leek"}
    for record in records:
        with Image.open(folder / "out" / "images" / record.image) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert pixels.shape == (record.height, record.width, 3)
        for turn in record.turns:
            regions = turn.regions + turn.answer_regions
            if len(regions) != 1 or turn.answer.endswith(".") or turn.task == "describe":
                continue
            x, y = np.mean(regions[0].points_px, 0).astype(int)
            near = min(COLOURS, key=lambda name: np.abs(pixels[y, x] - COLOURS[name]).sum())
            name = near.replace("-", " ").replace("_", " ")
            coarse = exact.get(name, name.lower())
            if turn.task == "locate":
                assert coarse in turn.question
            else:
                assert turn.answer in (coarse, name)


def test_the_same_folder_gives_the_same_records(folder: Path) -> None:
    assert made(folder) == made(folder)


def test_kinds_are_left_out(folder: Path) -> None:
    records = made(folder, without=("apple", "Leek"), mosaic=2)
    said = {turn.answer for record in records for turn in record.turns}
    assert "oat milk" in said
    assert not said & {"apple", "leek", "Royal Gala"}


def test_coarser_kinds_as_csv_and_json(folder: Path) -> None:
    assert read_classes(folder / "classes.csv") == {"Royal-Gala": "apple", "Granny-Smith": "apple"}
    (folder / "classes.json").write_text('{"Oat_Milk": "Red-Drink"}')
    assert read_classes(folder / "classes.json") == {"Oat_Milk": "red drink"}
    (folder / "empty.csv").write_text("class,coarse\n")
    with pytest.raises(SourceError, match="names no kinds"):
        read_classes(folder / "empty.csv")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--mosaic", "1"], "a mosaic has no such number of pictures (got 1)"),
        (["--mosaic", "65"], "a mosaic has no such number of pictures (got 65)"),
        (["--mosaic", "9"], "there are fewer pictures than a mosaic has (got 8)"),
        (["--mosaic", "2", "--without", "Leak"], "no folder or kind has this name (got Leak)"),
        (["--without", "Leek"], "only mosaics have coarser kinds and leave some out"),
        (["--mosaic", "2", "--classes", "gone.csv"], "the classes cannot be read"),
        (["--first", "3"], "imagefolder has no use for --first"),
    ],
)
def test_options_that_do_not_fit(
    folder: Path, options: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--source", "imagefolder", "--images", str(folder / "in"), "--out", str(folder / "o")]
    assert main([*base, *options]) == 2
    assert problem in capsys.readouterr().err
