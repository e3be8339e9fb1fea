"""Print is read in a region, at the camera's full resolution."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import text_reader
from chatspot_ros.engine.text_reader import (
    PrintLine,
    ReaderSettings,
    TextReader,
    clean,
    in_reading_order,
)
from chatspot_ros.errors import ImageError, ModelError, ModelLoadError, RegionError

CARTON, DISPLAY = Region.box(300, 200, 700, 500), Region.box(1200, 300, 1230, 318)


def write(picture: RgbImage, text: str, place: tuple[int, int], scale: float) -> None:
    thick = max(round(2 * scale), 1)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 60), thick,
                cv2.LINE_AA)  # fmt: skip


@pytest.fixture(scope="module")
def picture() -> RgbImage:
    """1920 x 1080: a carton with two lines, one of other print below it, and a small display."""
    picture = np.full((1080, 1920, 3), 150, np.uint8)
    picture[200:500, 300:700] = 240
    write(picture, "BRAVO", (350, 300), 2.5)
    write(picture, "APPLE JUICE", (350, 420), 1.5)
    write(picture, "SUGAR", (400, 545), 1.2)
    picture[300:318, 1200:1230] = 240
    write(picture, "47", (1204, 315), 0.55)
    return picture


@pytest.fixture(scope="module")
def reader() -> TextReader:
    pytest.importorskip("rapidocr")
    return TextReader(threads=1)


def said(reader: TextReader, picture: RgbImage, region: Region) -> list[str]:
    return [line.text for line in reader.read(picture, region)]


def test_a_cartons_print_is_read_in_order_and_in_place(
    reader: TextReader, picture: RgbImage
) -> None:
    first, second = reader.read(picture, CARTON)
    assert (first.text, second.text) == ("BRAVO", "APPLE JUICE")
    left, _, right, bottom = first.box_px
    assert left == pytest.approx(350, abs=15)
    assert bottom == pytest.approx(302, abs=15)
    assert 150 < right - left < 300
    assert 0.9 < first.confidence <= 1


def test_a_display_of_thirty_pixels_is_read(reader: TextReader, picture: RgbImage) -> None:
    assert said(reader, picture, DISPLAY) == ["47"]


def test_a_polygon_and_a_point_are_read(reader: TextReader, picture: RgbImage) -> None:
    corners = Region.polygon([(1195, 295), (1235, 297), (1233, 322), (1197, 320)])
    assert said(reader, picture, corners) == ["47"]
    assert "47" in said(reader, picture, Region.point(1215, 309))


def test_several_regions_at_once_answer_as_alone(reader: TextReader, picture: RgbImage) -> None:
    empty = Region.box(20, 20, 60, 60)
    found = reader.read_all(picture, [DISPLAY, empty, DISPLAY])
    assert [[line.text for line in lines] for lines in found] == [["47"], [], ["47"]]


@pytest.mark.parametrize(
    ("shape", "region"),
    [
        ((1080, 1920), Region.box(700, 800, 701, 801)),
        ((1080, 1920), Region.point(0, 0)),
        ((1, 1), Region.image()),
        ((10, 10_000), Region.image()),
        ((10_000, 10), Region.image()),
        ((10, 10_000), Region.box(0, 0, 10_000, 1)),
        ((1080, 1920), Region.box(1900, 1070, 5000, 5000)),
    ],
)
def test_nothing_is_read_where_nothing_can_stand(
    reader: TextReader, shape: tuple[int, int], region: Region
) -> None:
    assert reader.read(np.full((*shape, 3), 128, np.uint8), region) == ()


@pytest.mark.parametrize(
    ("region", "problem"),
    [
        (Region.box(2000, 0, 2100, 50), "outside the image"),
        (Region.box(5, 5, 5, 80), "no area"),
        (Region.box(0, 0, float("nan"), 5), "not a finite number"),
    ],
)
def test_an_unusable_region_is_refused_by_name_before_any_is_read(
    reader: TextReader, picture: RgbImage, region: Region, problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(reader, "_read", None)
    with pytest.raises(RegionError, match=problem):
        reader.read_all(picture, [DISPLAY, region])


@pytest.mark.parametrize(
    "bad", [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3))]
)
def test_what_is_no_picture_is_refused(reader: TextReader, bad: Any) -> None:
    with pytest.raises(ImageError, match="not uint8 H x W x 3"):
        reader.read(bad, Region.image())


class FakeRapidOcr:
    """Takes crops, and says the same lines about each."""

    def __init__(self, *lines: tuple[str, tuple[int, int, int, int], float]) -> None:
        self.lines = lines
        self.crops: list[RgbImage] = []

    def __call__(self, crop: RgbImage) -> SimpleNamespace:
        self.crops.append(crop)
        corners = [
            [(x1, y1), (x2, y1), (x2, y2), (x1, y2)] for _, (x1, y1, x2, y2), _ in self.lines
        ]
        return SimpleNamespace(
            txts=tuple(text for text, _, _ in self.lines) or None,
            boxes=np.array(corners, np.float32) if corners else None,
            scores=tuple(score for _, _, score in self.lines),
        )


def faked(
    monkeypatch: pytest.MonkeyPatch, fake: Any, settings: ReaderSettings | None = None
) -> TextReader:
    monkeypatch.setattr(text_reader, "_load", lambda settings, threads: fake)
    return TextReader(settings)


@pytest.mark.parametrize(
    ("size", "box"), [((1920, 1080), (0, 0, 1920, 1080)), ((1920, 1080), (900, 500, 930, 520)),
                      ((4000, 100), (0, 0, 4000, 100)), ((8, 8), (0, 0, 8, 8))]
)  # fmt: skip
def test_a_crop_is_enlarged_or_bounded(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    fake = FakeRapidOcr()
    settings = ReaderSettings()
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[..., 0] = 255
    faked(monkeypatch, fake, settings).read(picture, Region.box(*box))
    (crop,) = fake.crops
    assert max(crop.shape) <= settings.max_side
    assert crop.shape[0] * crop.shape[1] <= 1.05 * settings.area_side**2
    around = max(2 * settings.min_margin_px, 2 * settings.margin * (box[2] - box[0]))
    assert crop.shape[1] <= settings.max_scale * (box[2] - box[0] + around + 1)
    if box[2] - box[0] == 30:
        assert crop.shape[1] > 5 * 30
    # OpenCV's order.
    assert crop[0, 0].tolist() == [0, 0, 255]


def test_only_the_print_of_the_region_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # A region of 100 pixels with 10 around it, at its own scale.
    settings = ReaderSettings(area_side=120, min_margin_px=0)
    fake = FakeRapidOcr(("inside", (20, 40, 60, 60), 0.9), ("beside", (0, 100, 8, 115), 0.9))
    reader = faked(monkeypatch, fake, settings)
    (line,) = reader.read(np.zeros((400, 400, 3), np.uint8), Region.box(200, 200, 300, 300))
    assert line == PrintLine("inside", (210.0, 230.0, 250.0, 250.0), 0.9)


def test_the_tallest_lines_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [(f"line {k}", (0, 10 * k, 50, 10 * k + k), 0.9) for k in range(1, 8)]
    reader = faked(monkeypatch, FakeRapidOcr(*lines), ReaderSettings(max_lines=3, max_chars=5))
    found = reader.read(np.zeros((400, 400, 3), np.uint8), Region.image())
    assert [line.text for line in found] == ["line", "line", "line"]
    assert [round(line.box_px[1] / found[0].box_px[1] * 5) for line in found] == [5, 6, 7]


def test_a_failure_of_the_models_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(crop: RgbImage) -> None:
        raise RuntimeError("out of\nmemory")

    with pytest.raises(ModelError, match=r"out of\\nmemory.*ask without it"):
        faked(monkeypatch, fail).read(np.zeros((40, 40, 3), np.uint8), Region.image())


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
def test_a_missing_package_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(
        text_reader, "find_spec",
        lambda name: None if name == package else importlib.util.find_spec("json"),
    )  # fmt: skip
    with pytest.raises(ModelLoadError, match=rf"not installed \(got {package}\): run scripts/inst"):
        TextReader()


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_missing_or_damaged_model_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    pytest.importorskip("rapidocr")
    path = tmp_path / "one.onnx"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setitem(text_reader._MODELS, "Det", str(path))
    with pytest.raises(ModelLoadError, match="cannot be loaded") as refused:
        TextReader()
    assert "\n" not in str(refused.value)
    assert "pip install --force-reinstall" in str(refused.value)


def test_the_models_lie_in_the_package() -> None:
    rapidocr = pytest.importorskip("rapidocr")
    for name in text_reader._MODELS.values():
        assert (Path(rapidocr.__file__).parent / "models" / name).is_file()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  APPLE \t JUICE\n", "APPLE JUICE"), ("a\x00b\u200bc", "a b c"), ("１，５％", "1,5%"),
        ("7", "7"), ("k", ""), ("--", ""), ("", ""), ("x" * 90, "x" * 40), ("回", ""),
    ],
)  # fmt: skip
def test_print_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text, 40) == cleaned


def test_lines_are_read_row_by_row() -> None:
    boxes = {
        "d": (0, 60, 30, 80),
        "b": (50, 12, 90, 28),
        "a": (0, 8, 40, 30),
        "c": (95, 15, 99, 24),
    }
    lines = [PrintLine(text, box, 1.0) for text, box in boxes.items()]
    assert "".join(line.text for line in in_reading_order(lines)) == "abcd"
