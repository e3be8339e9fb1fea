"""The demo's report: every answer beside the truth, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.operators.words import place_words, region_words

_POLYGON_SHOWN = 3  # corners
WIDTH = 100
# The corners of a box in a picture of 640 x 480 pixels are not broken across lines.
_CORNERS_CHARS = len("639,479,639,479;")


@dataclass(frozen=True)
class Result:
    """One question, answered and judged; `right` is None if the truth is unknown.

    `asked` are the regions of the question, `grounded` those of the answer. `marks` are the
    answers of a question about several regions: region, text, and whether it is right. `position`
    says where the asked or the found thing is; empty: not known.
    """

    way: str
    question: str
    region: str
    answer: str
    truth: str
    right: bool | None
    seconds: float
    asked: tuple[Region, ...] = ()
    grounded: tuple[Region, ...] = ()
    marks: tuple[tuple[Region, str, bool], ...] = ()
    position: str = ""

    @property
    def where(self) -> str:
        """The region as text for a narrow column."""
        return region_text(self.asked, brief=True) if self.asked else self.region


def region_text(regions: Sequence[Region], brief: bool = False) -> str:
    """`box 120,80,300,400`, `point 7,9`, `polygon 1,2 3,4 5,6`, or `whole image`; pixels."""
    if not regions:
        return "whole image"
    return "; ".join(_one_region_text(region, brief) for region in regions)


def _one_region_text(region: Region, brief: bool) -> str:
    corners = len(region.points_px)
    if brief and region.kind is RegionKind.POLYGON and corners > _POLYGON_SHOWN:
        return f"polygon of {corners} corners"
    return region_words(replace(region, label=""))


def position_text(regions: Sequence[Region]) -> str:
    """Return the places of the regions whose position is known, in words."""
    known = (one.place for one in regions if one.place is not None and one.place.xyz_m is not None)
    return "; ".join(map(place_words, known))


def position_lines(results: Sequence[Result]) -> list[str]:
    """Return the positions by the number of their question, as lines; empty if none is known."""
    known = [f"{n:3}. {one.position}" for n, one in enumerate(results, start=1) if one.position]
    return ["positions (x to the right, y down, z forward):", *known] if known else []


def answer_text(text: str, grounded: Sequence[Region]) -> str:
    """Return the text, or the regions in pixels if the answer is only a place."""
    return region_text(grounded) if grounded and text.lstrip().startswith("<") else text


def table(results: Sequence[Result], title: str, width: int = WIDTH) -> Table:
    """Return all answers beside their truths, for a console of `width` columns.

    Below 100 corners may be broken across lines.
    """
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    rows = [(one.question, one.where, one.answer, one.truth) for one in results]
    shown.add_column("", justify="right", no_wrap=True)
    most = _CORNERS_CHARS if width >= WIDTH else 0
    for column, name in enumerate(("question", "region", "answer", "truth")):
        words = [word for row in rows for word in row[column].split()]
        least = min(most, max(map(len, [name, *words])))
        shown.add_column(name, overflow="fold", min_width=least)
    shown.add_column("right", justify="center", no_wrap=True)
    shown.add_column("s", justify="right", no_wrap=True)
    shown.add_column("by", overflow="fold")
    for number, result in enumerate(results, start=1):
        mark = Text("yes", "green") if result.right else Text("NO", "bold red")
        # Text objects: a `[` in an answer is no markup.
        shown.add_row(
            str(number), *map(Text, rows[number - 1]), mark, f"{result.seconds:.2f}", result.way
        )
    return shown


def console() -> Console:
    """Return a console, 100 columns wide if the output is no terminal."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=WIDTH)


def write_json(results: Sequence[Result], file: Path) -> None:
    """Write `{"questions": [{"question", "region", "answer", "truth", "right", "seconds",
    "position"}]}`."""
    questions = [
        {
            "question": result.question,
            "region": result.region,
            "answer": result.answer,
            "truth": result.truth,
            "right": result.right,
            "seconds": round(result.seconds, 3),
            "position": result.position,
        }
        for result in results
    ]
    file.write_text(json.dumps({"questions": questions}, indent=1) + "\n", encoding="utf-8")
