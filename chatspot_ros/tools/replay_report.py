"""What a replay found: a table for the terminal, a page with pictures, JSON for programs."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import cv2
import jinja2
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.images.annotate import Note, annotate
from chatspot_ros.tools.replay_result import Compared, Replayed, Said, verdict

_PICTURE_WIDTH = 480
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
_PAGE = jinja2.Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Replay of {{ done.bag }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
table { border-collapse: collapse; width: 100% }
th, td { border-top: 1px solid #bbb; padding: .5em; text-align: left; vertical-align: top }
tr.different td { background: #fff3d6 }
tr.skipped td { color: #666 }
img { max-width: 100%; height: auto }
.part { color: #555; display: block }
</style></head><body>
<h1>Replay of {{ done.bag }}</h1>
<p>Recorded with {{ done.models_before | join(", ") }}, asked again with {{ done.model }}:
{{ done.count("same") }} answers the same, {{ done.count("different") }} different,
{{ done.count("skipped") }} not asked.</p>
<table>
<tr><th>No</th><th>picture</th><th>question</th><th>recorded</th><th>now</th><th></th></tr>
{% for row in rows %}<tr class="{{ row.verdict }}">
<td>{{ row.number }}</td>
<td>{% if row.picture %}<img alt="the picture with the region" src="{{ row.picture }}">{% endif %}
</td>
<td>{{ row.question }}<span class="part">{{ row.where }}</span></td>
<td>{% for part in row.before %}<span class="part">{{ part }}</span>{% endfor %}</td>
<td>{% for part in row.now %}<span class="part">{{ part }}</span>{% endfor %}</td>
<td>{{ row.remark }}</td></tr>
{% endfor %}</table></body></html>
""")


def console() -> Console:
    """Wide enough for the table where the output is no terminal."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=150)


def show(done: Replayed, out: Console, *, everything: bool = False) -> None:
    """Print what differs or was not asked, or all of it, and how many of each there are."""
    rows = [row for row in done.rows if everything or verdict(row) != "same"]
    if rows:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("No", "question", "region", "recorded", "now", "differs"):
            table.add_column(name, overflow="fold")
        for row in rows:
            # Texts, because a `[` in an answer is no markup.
            cells = (row.question, where(row.regions), "\n".join(lines(row.before)),
                     "\n".join(lines(row.now)), remark(row))  # fmt: skip
            table.add_row(str(row.number), *map(Text, cells))
        out.print(table)
    out.print(
        f"{done.bag}: {done.count('same')} same, {done.count('different')} different, "
        f"{done.count('skipped')} not asked "
        f"({', '.join(done.models_before) or 'no model'} -> {done.model})",
        markup=False,
    )


def to_json(done: Replayed) -> dict[str, Any]:
    """Return everything as plain data; points in pixels, stamps in nanoseconds."""
    return {
        "bag": done.bag,
        "models_before": list(done.models_before),
        "model": done.model,
        "counts": {what: done.count(what) for what in ("same", "different", "skipped")},
        "questions": [
            {
                "number": row.number,
                "verdict": verdict(row),
                "question": row.question,
                "task": row.task,
                "regions": [[list(point) for point in region.points_px] for region in row.regions],
                "stamp_ns": row.stamp_ns,
                "before": None if row.before is None else asdict(row.before),
                "now": None if row.now is None else asdict(row.now),
                "differs": list(row.differs),
                "skipped": row.skipped,
            }
            for row in done.rows
        ],
    }


def to_html(done: Replayed) -> str:
    """Return a page that stands alone, with the pictures in it; what differs stands out."""
    rows = [
        {
            "number": row.number,
            "verdict": verdict(row),
            "picture": _picture(done, row),
            "question": row.question,
            "where": where(row.regions),
            "before": lines(row.before),
            "now": lines(row.now),
            "remark": remark(row),
        }
        for row in done.rows
    ]
    return _PAGE.render(done=done, rows=rows)


def lines(said: Said | None) -> list[str]:
    """Return an answer for a narrow column: its words, then what was read out of them."""
    if said is None:
        return []
    state = ", ".join(f"{key}: {value}" for key, value in said.state.items())
    found = [said.text or "(nothing)"]
    found += [f"state: {state}"] if state and state != said.text else []
    found += [f"steps: {'; '.join(said.steps)}"] if said.steps else []
    found += [f"at: {' | '.join(said.grounded)}"] if said.grounded else []
    return [*found, f"{said.confidence:.2f}{', uncertain' if said.uncertain else ''}"]


def where(regions: tuple[Region, ...]) -> str:
    """`box 120,80 300,400`, `point 7,9`, or `whole image`; pixels."""
    if all(region.kind is RegionKind.IMAGE for region in regions):
        return "whole image"
    return "; ".join(
        f"{one.kind} {' '.join(f'{x:.0f},{y:.0f}' for x, y in one.points_px)}" for one in regions
    )


def remark(row: Compared) -> str:
    """Say what differs, or why it was not asked."""
    return row.skipped or ", ".join(row.differs) or "same"


def _picture(done: Replayed, row: Compared) -> str:
    """Return the picture with the region on it as a data URI; empty without one."""
    image_rgb = done.pictures.get(row.stamp_ns)
    if image_rgb is None:
        return ""
    drawn = annotate(image_rgb, [Note(row.regions, "")])
    height, width = drawn.shape[:2]
    if width > _PICTURE_WIDTH:
        size = (_PICTURE_WIDTH, max(1, round(height * _PICTURE_WIDTH / width)))
        drawn = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    done_well, file = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), _JPEG)
    if not done_well:
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(file.tobytes()).decode()}"
