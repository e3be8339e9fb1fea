"""What the demo draws and prints."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from chatspot_ros.core.place import Place
from chatspot_ros.core.regions import Region, parse_region
from chatspot_sim.demo_picture import PANEL_WIDTH, draw, save
from chatspot_sim.demo_report import (
    Result,
    console,
    position_lines,
    position_text,
    region_text,
    table,
    write_json,
)

GREY = np.full((120, 160, 3), 128, np.uint8)


def result(**more: object) -> Result:
    values: dict[str, object] = {
        "way": "service", "question": "What is this?", "region": "box 10,20,80,90",
        "answer": "mug", "truth": "mug", "right": True, "seconds": 0.5,
        "asked": (Region.box(10, 20, 80, 90),),
    }  # fmt: skip
    return Result(**{**values, **more})  # type: ignore[arg-type]


def test_regions_are_drawn_at_their_place_in_the_enlarged_picture() -> None:
    picture = draw(GREY, [result()])
    scale = PANEL_WIDTH / 160
    assert picture.shape[1] == PANEL_WIDTH
    assert picture.shape[0] > 120 * scale
    panel = picture[: round(120 * scale)].astype(int)
    drawn = np.abs(panel - 128).max(axis=-1) > 20
    left = drawn[
        round(25 * scale) : round(85 * scale), round(10 * scale) - 3 : round(10 * scale) + 4
    ]
    assert left.any(axis=1).all(), "the box's left edge"
    assert not drawn[round(100 * scale) :, :].any(), "nothing below the box"


def test_a_wrong_answer_is_marked_and_told_apart_from_a_right_one() -> None:
    right, wrong = draw(GREY, [result()]), draw(GREY, [result(right=False, truth="jug")])
    legend = slice(round(120 * PANEL_WIDTH / 160), None)
    assert not np.array_equal(right[legend], wrong[legend])
    red = wrong[legend].astype(int)
    assert ((red[..., 0] - red[..., 1]) > 80).sum() > ((right[legend].astype(int)[..., 0]
            - right[legend].astype(int)[..., 1]) > 80).sum()  # fmt: skip


def test_several_regions_at_once_get_a_picture_of_their_own() -> None:
    marks = ((Region.box(10, 20, 80, 90), "mug", True), (Region.point(100, 30), "jar", False))
    picture = draw(GREY, [result(), result(asked=(), marks=marks)])
    assert picture.shape[1] > 2 * PANEL_WIDTH


@pytest.mark.parametrize("size", [(1, 1), (40, 2000), (2000, 40)])
def test_any_picture_and_text_can_be_drawn(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    odd = result(answer="ä" * 500, question="?" * 500, asked=(Region.point(0, 0),))
    assert draw(picture, [odd, result(asked=(), answer="")]).dtype == np.uint8


def test_what_was_drawn_is_saved(tmp_path: Path) -> None:
    save(draw(GREY, [result()]), tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_regions_are_said_in_pixels() -> None:
    polygon = Region.polygon([(1, 2), (3, 4), (5, 6), (7, 8)])
    assert region_text(()) == "whole image"
    assert region_text((Region.image(),)) == "whole image"
    assert region_text((Region.point(1.4, 2.6),)) == "point 1,3"
    assert region_text((Region.box(9, 8, 1, 2), Region.point(1, 2))) == "box 1,2,9,8; point 1,2"
    assert region_text((polygon,)) == "polygon 1,2 3,4 5,6 7,8"
    assert region_text((polygon,), brief=True) == "polygon of 4 corners"


def shown(results: list[Result], width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(table(results, "title", width))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


BOXES = tuple(Region.box(n, 379, 639 - n, 479) for n in (1, 100, 200))
LONG = [
    result(question="What should the robot do to bring the mug from the refrigerator? " * 3,
           asked=BOXES, answer=region_text(BOXES), truth=region_text(BOXES[::-1]),
           way="action, session", seconds=123.45, right=False),
    result(asked=(Region.polygon([(639, 10 * n) for n in range(5)]),),
           answer="a mug with a very long handle; " * 5, truth="unpronounceable" * 9,
           way="service, detections"),
]  # fmt: skip


@pytest.mark.parametrize("width", [100, 80])
def test_the_table_fits_the_console_whatever_was_said(width: int) -> None:
    text = shown([*LONG, *[result()] * 10], width)
    assert max(map(len, text.splitlines())) <= width
    # Nothing is cut off.
    for name in ("question", "region", "answer", "truth", "right", "s", "by"):
        assert f" {name} " in text
    for part in ("polygon", "123.45", "action", "session", "NO"):
        assert part in text
    assert "…" not in text


def test_the_corners_of_a_box_stay_together_in_100_columns() -> None:
    text = shown(LONG, 100)
    for box in BOXES:
        assert text.count(region_text((box,)).removeprefix("box ")) == 3


def test_where_there_is_no_terminal_the_table_has_100_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert console().width == 100


def test_the_table_shows_answers_as_they_are() -> None:
    text = shown([result(answer="[bold]x[/bold]"), result(right=False)], 150)
    assert "[bold]x[/bold]" in text
    assert "NO" in text
    assert "0.50" in text


def test_positions_are_listed_by_question() -> None:
    assert position_lines([result(), result()]) == []
    known = replace(Region.box(1, 2, 3, 4), place=Place((0.5, 0, 1.5), frame_id="optical"))
    lost = replace(Region.point(1, 2), place=Place(note="no depth"))
    placed = result(position=position_text((known, lost, Region.image())))
    assert position_lines([result(), placed])[1:] == ["  2. at 0.50, 0.00, 1.50 m in optical"]


def test_json_has_exactly_the_documented_fields(tmp_path: Path) -> None:
    write_json([result()], tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "questions": [
            {"question": "What is this?", "region": "box 10,20,80,90", "answer": "mug",
             "truth": "mug", "right": True, "seconds": 0.5}
        ]
    }  # fmt: skip


def test_typed_regions_are_points_boxes_and_polygons() -> None:
    assert parse_region("5,6") == Region.point(5, 6)
    assert parse_region("30,40, 10,20") == Region.box(10, 20, 30, 40)
    assert parse_region("1,2 3,4 5,6") == Region.polygon([(1, 2), (3, 4), (5, 6)])


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "1,2,3,4,5"])
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_region(text)
