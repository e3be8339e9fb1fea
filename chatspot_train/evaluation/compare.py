"""Two models side by side: the same questions in pairs, how sure each difference is, and a page of
the questions that they answer differently."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from PIL import Image

from chatspot_ros.core.regions import Point
from chatspot_ros.errors import ChatspotError
from chatspot_train.data.preview import small_jpeg
from chatspot_train.evaluation.intervals import Row
from chatspot_train.evaluation.metrics.rows import Part, Parts, resampled
from chatspot_train.evaluation.runner import PREDICTIONS, read_predictions
from chatspot_train.evaluation.suite import Predicted, Suite, markdown, need

DRAWS = 10_000
MOST_CARDS = 200
PICTURES = "pictures"
COLOURS = {"asked": "#c45500", "truth": "#0a7d2c", "a": "#e6194b", "b": "#1f4fd8"}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ a }} and {{ b }}</title><style>
 body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1180px;
   padding: 0 1rem; color: #222; background: #f4f4f2 }
 h1 { font-size: 1.3rem; margin: 0 } .about, footer { color: #666; font-size: .9rem }
 table { border-collapse: collapse; background: #fff; margin: 1rem 0 }
 td, th { border: 1px solid #ddd; padding: .2rem .6rem; text-align: right }
 td:first-child, th:first-child { text-align: left } .sure td { font-weight: 600 }
 article { display: grid; grid-template-columns: minmax(0, 45%) 1fr; gap: 1.2rem;
   background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: 1rem; margin: 1rem 0 }
 svg { width: 100%; max-height: 60vh; display: block; background: #ddd }
 svg rect, svg polygon, svg circle { fill: none; stroke-width: 2;
   vector-effect: non-scaling-stroke }
 svg .asked { stroke: {{ colours.asked }}; stroke-dasharray: 6 3 }
 h2 { font-size: 1rem; margin: 0 0 .4rem } dt { font-weight: 600; margin-top: .5rem }
 dd { margin: 0 0 0 1rem; white-space: pre-wrap; overflow-wrap: anywhere }
</style></head><body>
<h1><span style="color: {{ colours.a }}">{{ a }}</span> and
 <span style="color: {{ colours.b }}">{{ b }}</span> on {{ suite }}</h1>
<p class="about">{{ found.pairs }} questions asked of both; {{ found.only_a }} only of the first,
 {{ found.only_b }} only of the second. Intervals of 95 %, by the bootstrap in pairs; differences
 whose interval leaves zero out are bold. Average precision is not compared: it is no sum over
 questions.</p>
<table><tr><th>row<th>n<th>{{ a }}<th>{{ b }}<th>difference<th>from<th>to</tr>
{% for name, row in found.rows.items() %}
<tr{% if row.low > 0 or row.high < 0 %} class="sure"{% endif %}><td>{{ name }}<td>{{ row.n }}
 {% for key in ("a", "b", "value", "low", "high") %}<td>{{ "%.3f"|format(row[key]) }}{% endfor %}
</tr>{% endfor %}</table>
<p class="about">{{ found.differ }} questions are answered differently, {{ found.scored }} of them
 also scored differently, which come first; {{ cards|length }} are shown.</p>
{% for card in cards %}<article><div>{% if card.picture %}
<svg viewBox="0 0 {{ card.width }} {{ card.height }}" role="img">
 <image href="{{ card.picture }}" width="{{ card.width }}" height="{{ card.height }}"
  preserveAspectRatio="none"/>
 {% for points in card.a.regions_px %}{% if points|length == 1 %}<circle class="asked"
  cx="{{ points[0][0] }}" cy="{{ points[0][1] }}" r="{{ card.width / 80 }}"/>{% else %}<polygon
  class="asked" points="{{ corners(points) }}"/>{% endif %}{% endfor %}

 {% for box, colour in card.boxes %}<rect x="{{ box[0] }}" y="{{ box[1] }}"
  width="{{ box[2] - box[0] }}" height="{{ box[3] - box[1] }}" stroke="{{ colour }}"/>{% endfor %}
</svg>{% else %}<p class="about">{{ card.problem }}</p>{% endif %}</div>
<div><h2{% if card.a.regions_px %} style="color: {{ colours.asked }}"{% endif
 %}>{{ card.a.question }}</h2><dl>
 <dt style="color: {{ colours.a }}">{{ a }}<dd>{{ card.a.text or card.a.error }}
 <dt style="color: {{ colours.b }}">{{ b }}<dd>{{ card.b.text or card.b.error }}
 <dt style="color: {{ colours.truth }}">truth<dd>{{ card.truth }}</dl>
 <footer>{{ card.a.key }}{% if card.scored %}, scored differently{% endif %}</footer>
</div></article>{% endfor %}</body></html>
"""
_ENVIRONMENT = Environment(autoescape=True, trim_blocks=True)


class CompareError(ChatspotError):
    """Two result folders that cannot be held against each other."""


@dataclass(frozen=True)
class Compared:
    """`rows`: each with both values (`a`, `b`), the difference b - a (`value`) and its interval.

    `pairs` questions were asked of both, `only_a` and `only_b` of one; `differ` are answered
    differently, `scored` of them scored differently.
    """

    rows: dict[str, Row]
    pairs: int
    only_a: int
    only_b: int
    differ: int
    scored: int

    @property
    def table(self) -> str:
        """In Markdown."""
        columns = ("n", "a", "b", "value", "low", "high")
        lines = [[name, *(row[key] for key in columns)] for name, row in self.rows.items()]
        return markdown(["row", "n", "a", "b", "b - a", "low", "high"], lines)


class Album:
    """The shown pictures as JPEG files in PICTURES beside the page, each once."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the page's."""
        self._folder = folder / PICTURES
        self._folder.mkdir(parents=True, exist_ok=True)
        self._shown: dict[Path, tuple[str, int, int]] = {}

    def show(self, path: Path) -> tuple[str, int, int]:
        """Return where the picture is, as the page says it, and its own width and height, px.

        Raises OSError or ValueError for what cannot be read.
        """
        if path not in self._shown:
            with Image.open(path) as picture:
                width, height = picture.size
            name = f"{len(self._shown):04d}.jpg"
            (self._folder / name).write_bytes(small_jpeg(path))
            self._shown[path] = (f"{PICTURES}/{name}", width, height)
        return self._shown[path]


@dataclass
class Card:
    """One question on the page. `picture` is a file beside it; `problem` says why there is none."""

    a: Predicted
    b: Predicted
    scored: bool
    picture: str = ""
    problem: str = "The picture is in no file."
    width: int = 0
    height: int = 0
    boxes: list[tuple[Sequence[float], str]] = field(default_factory=list)

    @property
    def truth(self) -> str:
        """What is true, as text."""
        told = self.a.truth.items()
        return "\n".join(f"{key}: {json.dumps(v, ensure_ascii=False)}" for key, v in told)

    def show(self, album: Album) -> None:
        """Fetch the picture, with the boxes of the truth and both answers."""
        files = [Path(image) for image in (self.a.image, self.b.image) if image]
        if not files:
            return
        try:
            there = next((file for file in files if file.exists()), files[0])
            self.picture, self.width, self.height = album.show(there)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            self.problem = f"The picture cannot be shown: {error}"
        for name in ("box", "box_xyxy_px"):
            true = self.a.truth.get(name)
            if isinstance(true, list) and len(true) == 4:
                self.boxes.append((true, COLOURS["truth"]))
        self.boxes += [(box, COLOURS["a"]) for box in self.a.boxes_xyxy_px]
        self.boxes += [(box, COLOURS["b"]) for box in self.b.boxes_xyxy_px]


def compare(
    a: Path, b: Path, out: Path, suite: Suite, *, draws: int = DRAWS, seed: int = 0
) -> Compared:
    """Compare two result folders of a suite; writes comparison.html and .json into `out`.

    Questions are paired by their keys; one whose wording differs is no pair.

    Raises:
        MissingDataError: a folder has no predictions.jsonl.
        CompareError: no question was asked of both.
    """
    mine, other = (
        {p.key: p for p in read_predictions(need(folder / PREDICTIONS, "evaluate that model"))}
        for folder in (a, b)
    )
    keys = [k for k, p in mine.items() if k in other and other[k].question == p.question]
    if not keys:
        raise CompareError(
            "no question was asked of both models", value=f"{a} and {b}",
            remedy="evaluate both with the same suite, limit and seed",
        )  # fmt: skip
    pa, pb = [mine[key] for key in keys], [other[key] for key in keys]
    parts_a, parts_b = parts_of(suite, pa), parts_of(suite, pb)
    scored = _differently_scored(suite, pa, pb, parts_a, parts_b)
    cards = [Card(x, y, x.key in scored) for x, y in zip(pa, pb, strict=True) if _differ(x, y)]
    cards.sort(key=lambda card: not card.scored)
    found = Compared(
        differences(parts_a, parts_b, draws, seed), len(keys), len(mine) - len(keys),
        len(other) - len(keys), len(cards), sum(card.scored for card in cards),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    album = Album(out)
    for card in cards[:MOST_CARDS]:
        card.show(album)
    names = (a.name, b.name) if a.name != b.name else (str(a), str(b))
    page = _ENVIRONMENT.from_string(PAGE).render(
        a=names[0], b=names[1], suite=suite.name, found=found, cards=cards[:MOST_CARDS],
        colours=COLOURS, corners=_corners,
    )  # fmt: skip
    (out / "comparison.html").write_text(page, encoding="utf-8")
    kept = {"a": str(a), "b": str(b), "suite": suite.name, "pairs": len(keys), "rows": found.rows}
    (out / "comparison.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return found


def parts_of(suite: Suite, predictions: Sequence[Predicted]) -> Parts:
    """The parts of a suite's rows; of one that tells none, how many answers it says are right.

    Raises CompareError for a suite that says neither.
    """
    tell, right = getattr(suite, "parts", None), getattr(suite, "right", None)
    if tell is not None:
        told: Parts = tell(predictions)
        return told
    if right is None:
        raise CompareError(
            "the suite does not say how its rows are made of its answers", value=suite.name,
            remedy="compare another suite",
        )  # fmt: skip
    good = zip(predictions, right(predictions), strict=True)
    return {"right": {p.key: (float(hit), 1.0) for p, hit in good}}


def _corners(points: Sequence[Point]) -> str:
    """The corners of a polygon as SVG has them; of a box, which two say, all four."""
    if len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def differences(a: Parts, b: Parts, draws: int = DRAWS, seed: int = 0) -> dict[str, Row]:
    """Of every row in both: its values, b - a and the 95 % interval of that, by resampling the
    questions `draws` times, the same ones for both models and all rows."""
    names = [name for name in a if name in b and _counted(a[name]) and _counted(b[name])]
    units = list(dict.fromkeys(unit for name in names for unit in (*a[name], *b[name])))
    if not units:
        return {}
    nothing = (0.0, 0.0)
    columns = [
        [(*a[name].get(unit, nothing), *b[name].get(unit, nothing)) for unit in units]
        for name in names
    ]
    values = np.array(columns, float)  # rows x units x (numerator, denominator) of a, of b
    flat = values.transpose(1, 0, 2).reshape(len(units), -1)
    drawn = np.concatenate(list(resampled(flat, draws, seed))).reshape(draws, len(names), 4)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = drawn[:, :, 2] / drawn[:, :, 3] - drawn[:, :, 0] / drawn[:, :, 1]
    low, high = np.nanpercentile(spread, [2.5, 97.5], axis=0)
    rows: dict[str, Row] = {}
    for k, name in enumerate(names):
        top_a, of_a, top_b, of_b = values[k].sum(0)
        first, second = float(top_a / of_a), float(top_b / of_b)
        counted = int(((values[k][:, 1] > 0) | (values[k][:, 3] > 0)).sum())
        rows[name] = {"a": first, "b": second, "value": second - first, "n": counted,
                      "low": float(low[k]), "high": float(high[k])}  # fmt: skip
    return rows


def _counted(part: Part) -> bool:
    return any(count > 0 for _, count in part.values())


def _differ(a: Predicted, b: Predicted) -> bool:
    return (a.text, a.boxes_xyxy_px) != (b.text, b.boxes_xyxy_px)


def _differently_scored(
    suite: Suite, a: Sequence[Predicted], b: Sequence[Predicted], parts_a: Parts, parts_b: Parts
) -> set[str]:
    right = getattr(suite, "right", None)
    if right is not None:
        # A suite may know that it cannot tell, as of a detector's boxes.
        with suppress(ValueError):
            return {x.key for x, y, z in zip(a, right(a), right(b), strict=True) if y != z}
    return {x.key for x in a if dict(_scores(parts_a, x.key)) != dict(_scores(parts_b, x.key))}


def _scores(parts: Mapping[str, Part], key: str) -> Iterator[tuple[str, Any]]:
    return ((name, part[key]) for name, part in parts.items() if key in part)
