"""Drawn regions and answers: in their colours, at their places, readable at any size."""

from __future__ import annotations

import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.images.annotate import PALETTE, Note, annotate, luminance

SIZES = [(320, 240), (640, 480), (1280, 720), (3840, 2160), (333, 999)]


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def of_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Rows and columns (N x 2) of the pixels of a colour, up to antialiasing."""
    return np.argwhere(np.abs(picture.astype(int) - colour).max(axis=-1) < 40)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_box_is_drawn_where_it_is(width: int, height: int) -> None:
    x1, y1, x2, y2 = width // 4, height // 4, width // 2, height // 2
    source = grey(width, height)
    drawn = annotate(source, [Note((Region.box(x1, y1, x2, y2),), "")])
    assert drawn.shape == source.shape
    assert (source == 128).all()
    found = of_colour(drawn, PALETTE[0])
    line = max(2, width // 150)
    np.testing.assert_allclose(found.min(axis=0), (y1, x1), atol=line)
    np.testing.assert_allclose(found.max(axis=0), (y2, x2), atol=line)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("text", ["mug", "door: open, plug: in; " * 4])
def test_text_stays_inside_and_is_tall_enough(width: int, height: int, text: str) -> None:
    for x, y in ((2, 2), (width - 2, height - 2), (width // 2, height // 2)):
        drawn = annotate(grey(width, height), [Note((Region.point(x, y),), text)])
        dark = np.argwhere((drawn == 16).all(axis=-1))
        assert len(dark) > 0
        rows = np.ptp(dark[:, 0]) + 1
        assert 12 <= rows <= height * 0.5
        ink = of_colour(drawn, PALETTE[0])
        # The letters: pixels of the colour inside the dark box.
        (top, left), (bottom, right) = dark.min(axis=0), dark.max(axis=0)
        inside = (
            (ink[:, 0] >= top) & (ink[:, 0] <= bottom) & (ink[:, 1] >= left) & (ink[:, 1] <= right)
        )
        assert inside.sum() >= 8


def test_texts_do_not_cover_one_another() -> None:
    notes = [Note((Region.box(100, 100, 200, 200),), f"answer number {n}") for n in range(4)]
    one = annotate(grey(640, 480), notes[:1])
    four = annotate(grey(640, 480), notes)
    dark_one = (one == 16).all(axis=-1).sum()
    dark_four = ((four == 16).all(axis=-1)).sum()
    assert dark_four > 3.5 * dark_one


def test_every_kind_of_region_and_what_is_grounded() -> None:
    notes = [
        Note((Region.image(),), "a kitchen"),
        Note((Region.point(50, 60),), "mug"),
        Note((Region.polygon([(200, 200), (300, 210), (250, 300)]),), "plate – “red”"),
        Note((), "no region at all", (Region(((320.0, 30.0), (400.0, 90.0)), label="kettle"),)),
    ]
    drawn = annotate(grey(640, 480), notes)
    for number in range(3):
        assert len(of_colour(drawn, PALETTE[number])) > 20
    assert len(of_colour(drawn, (255, 255, 255))) > 100


@pytest.mark.parametrize("number", range(len(PALETTE)))
@pytest.mark.parametrize("background", [0, 128, 255])
def test_text_stands_out_from_its_box_on_any_picture(number: int, background: int) -> None:
    source = np.full((480, 640, 3), background, np.uint8)
    notes = [Note((Region.point(320, 240),), "mug" if n == number else "") for n in range(6)]
    drawn = annotate(source, notes)
    shade = background // 8
    rows, columns = np.nonzero((annotate(source, notes) == shade).all(axis=-1))
    if background == 0:
        # The box cannot be told from the picture; the text is above the point.
        rows, columns = np.array([180, 235]), np.array([250, 390])
    box = drawn[rows.min() : rows.max(), columns.min() : columns.max()].reshape(-1, 3)
    brightest = max(luminance(tuple(pixel)) for pixel in np.unique(box, axis=0).tolist())
    contrast = (brightest + 0.05) / (luminance((shade, shade, shade)) + 0.05)
    assert contrast >= 4.5


def test_letters_that_fonts_lack_are_said_in_others() -> None:
    for strange, plain in (("Kühlschrank – 5 °C", "Kuhlschrank - 5  degC"), ("Straße", "Strasse")):
        one, other = (
            annotate(grey(640, 480), [Note((Region.point(9, 9),), text)])
            for text in (strange, plain)
        )
        np.testing.assert_array_equal(one, other)


def test_no_notes_give_the_picture_back() -> None:
    source = grey(64, 48)
    drawn = annotate(source, [])
    assert drawn is not source
    np.testing.assert_array_equal(drawn, source)


def test_a_region_on_the_very_edge() -> None:
    drawn = annotate(grey(64, 48), [Note((Region.box(0, 0, 64, 48), Region.point(64, 48)), "all")])
    assert len(of_colour(drawn, PALETTE[0])) > 0


def test_a_read_only_picture_is_fine() -> None:
    source = grey(64, 48)
    source.setflags(write=False)
    annotate(source, [Note((Region.point(5, 5),), "x")])
