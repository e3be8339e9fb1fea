"""Preview records as one HTML page: `chatspot preview DIR`.

The page holds its images; regions are drawn over them as SVG. A region has the same number and
colour on the image and in the text.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from chatspot_ros.core.regions import REGION_MARK, Point, Region
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.util.command_line import Command
from chatspot_train.data.records import Record, Records

MAX_SIDE = 640  # pixels of the images in the page
JPEG_QUALITY = 80
LETTERS = 40  # letters of a region's number that fit along the longer side of an image
LABEL_ROWS = 6  # tried positions of a label, downward from a corner
COLOURS = ("#e6194b", "#0a7d2c", "#1f4fd8", "#c45500", "#7b1fa2", "#00788a", "#b0077f", "#5d6b00",
           "#6d3b12", "#37474f")  # fmt: skip

_TEMPLATES = Environment(
    loader=PackageLoader("chatspot_train.data"), autoescape=True, trim_blocks=True
)


@dataclass(frozen=True)
class Mark:
    """A region on the page, with its number.

    `label_xy` is the upper left corner of the number, `unit` the height of letters, in pixels of
    the image.
    """

    number: int
    region: Region
    label_xy: Point
    unit: float

    @property
    def colour(self) -> str:
        """The CSS colour."""
        return COLOURS[(self.number - 1) % len(COLOURS)]

    @property
    def corners(self) -> tuple[Point, ...]:
        """The points to draw, in pixels: a point, the corners of an outline, or none."""
        points = self.region.points_px
        return _box_corners(self.region) if len(points) == 2 else points


def _box_corners(region: Region) -> tuple[Point, ...]:
    left, top, right, bottom = region.box_xyxy_px
    return ((left, top), (right, top), (right, bottom), (left, bottom))


@dataclass(frozen=True)
class ShownTurn:
    """A turn as HTML."""

    tag: str
    question: Markup
    answer: Markup


@dataclass
class Card:
    """One record on the page. `picture` is a data URI, `problem` the reason why there is none."""

    record: Record
    picture: str = ""
    problem: str = ""
    marks: list[Mark] = field(default_factory=list)
    turns: list[ShownTurn] = field(default_factory=list)

    def add(self, text: str, regions: Sequence[Region]) -> Markup:
        """Number the regions and return the text with their labels, at its end if unmentioned."""
        pieces = text.split(REGION_MARK)
        if len(pieces) == 1 and len(regions) == 1:
            pieces = [f"{text} ", ""]
        html = Markup.escape(pieces[0])
        for region, piece in zip(regions, pieces[1:], strict=True):
            unit = max(self.record.width, self.record.height) / LETTERS
            mark = Mark(len(self.marks) + 1, region, self._free_place(region, unit), unit)
            self.marks.append(mark)
            label = Markup('<span class="region" style="background: {}">{} {}</span>')
            html += label.format(mark.colour, mark.number, region.kind) + piece
        return html

    def _free_place(self, region: Region, unit: float) -> Point:
        """Return a place for a number that hides no other: at a corner of the region or below."""
        if not region.points_px:
            return (0.0, 0.0)
        wide, high = 2 * unit, 1.3 * unit
        right, bottom = self.record.width - wide, self.record.height - high
        taken = [mark.label_xy for mark in self.marks if mark.region.points_px]
        corners = [
            (min(max(x, 0), right), min(max(y + lower * high, 0), bottom))
            for lower in range(LABEL_ROWS)
            for x, y in _box_corners(region)
        ]
        free = (
            (x, y) for x, y in corners
            if all(abs(x - a) > 0.99 * wide or abs(y - b) > 0.99 * high for a, b in taken)
        )  # fmt: skip
        return next(free, corners[0])


def make_card(record: Record, images: Path) -> Card:
    """Prepare a record for the page; `problem` is set where its image cannot be shown."""
    card = Card(record)
    try:
        card.picture = data_uri(images / record.image)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        card.problem = f"The picture cannot be shown: {error}"
    for turn in record.turns:
        question = card.add(turn.question, turn.regions)
        answer = card.add(turn.answer, turn.answer_regions)
        card.turns.append(ShownTurn(TASKS[turn.task].tag, question, answer))
    return card


def data_uri(path: Path) -> str:
    """Return the image as a data URI; see `small_jpeg`."""
    return f"data:image/jpeg;base64,{base64.b64encode(small_jpeg(path)).decode()}"


def _opened(path: Path) -> Image.Image:
    """Open an image; one of too many pixels raises ValueError."""
    try:
        return Image.open(path)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def small_jpeg(path: Path) -> bytes:
    """Return the image as JPEG bytes, its longer side at most MAX_SIDE pixels.

    Raises OSError or ValueError where it cannot be read.
    """
    with _opened(path) as picture:
        picture.draft("RGB", (MAX_SIDE, MAX_SIDE))
        shown = picture.convert("RGB")
    shown.thumbnail((MAX_SIDE, MAX_SIDE))
    data = io.BytesIO()
    shown.save(data, "JPEG", quality=JPEG_QUALITY)
    return data.getvalue()


def make_page(records: Records, images: Path, count: int, seed: int) -> str:
    """Return the HTML of `count` random records, in their order."""
    chosen = sorted(random.Random(seed).sample(range(len(records)), min(count, len(records))))
    cards = [make_card(records[k], images) for k in tqdm(chosen, desc="pictures", unit="record")]
    return _TEMPLATES.get_template("preview.html.jinja").render(
        title=f"Records of {records.folder.resolve().name}", cards=cards, total=len(records),
        seed=seed,
    )  # fmt: skip


def images_folder(folder: Path) -> Path:
    """Return the images' folder that report.json of a folder of records names.

    Raises FileNotFoundError where it names none.
    """
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return Path(report["images"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileNotFoundError(
            f"{folder}/report.json does not say where the pictures are; give --images"
        ) from error


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of records")
    parser.add_argument("--images", type=Path, help="folder of images (default: as in report.json)")
    parser.add_argument("--out", type=Path, help="the page (default: FOLDER/inspect.html)")
    parser.add_argument("--count", type=int, default=24, help="number of records")
    parser.add_argument("--seed", type=int, default=0)


def _run(options: argparse.Namespace) -> None:
    out: Path = options.out or options.folder / "inspect.html"
    records = Records(options.folder)
    page = make_page(records, options.images or images_folder(options.folder),
                     max(options.count, 0), options.seed)  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    print(f"wrote {out}")


main = Command("preview", _add_arguments, _run, description="Show random records as an HTML page.")

if __name__ == "__main__":
    sys.exit(main())
