"""Reports of a replay: a table for the terminal, an HTML page with pictures, JSON."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import cv2
from jinja2 import Environment, PackageLoader
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.images.annotate import Note, annotate
from chatspot_ros.tools.replay_result import Compared, Replayed, Said, verdict

_PICTURE_WIDTH = 480
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
_TEMPLATES = Environment(loader=PackageLoader("chatspot_ros.tools"), autoescape=True)


def console() -> Console:
    """Return a console; 150 columns wide if the output is no terminal."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=150)


def show(done: Replayed, out: Console, *, everything: bool = False) -> None:
    """Print the rows that differ or were skipped, or all rows, and the counts."""
    rows = [row for row in done.rows if everything or verdict(row) != "same"]
    if rows:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("No", "question", "region", "recorded", "now", "differs"):
            table.add_column(name, overflow="fold")
        for row in rows:
            # As Text, so that a `[` in an answer is not taken for markup.
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
    """Return the whole result as plain data; points in pixels, stamps in nanoseconds."""
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
    """Return a self-contained HTML page with pictures; rows that differ are highlighted."""
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
    return _TEMPLATES.get_template("replay.html.jinja").render(done=done, rows=rows)


def lines(said: Said | None) -> list[str]:
    """Return the lines of an answer: its text, then the parsed parts and the confidence."""
    if said is None:
        return []
    state = ", ".join(f"{key}: {value}" for key, value in said.state.items())
    found = [said.text or "(nothing)"]
    found += [f"state: {state}"] if state and state != said.text else []
    found += [f"steps: {'; '.join(said.steps)}"] if said.steps else []
    found += [f"at: {' | '.join(said.grounded)}"] if said.grounded else []
    return [*found, f"{said.confidence:.2f}{', uncertain' if said.uncertain else ''}"]


def where(regions: tuple[Region, ...]) -> str:
    """Return the place of regions in pixels: `box 120,80 300,400`, `point 7,9`, `whole image`."""
    if all(region.kind is RegionKind.IMAGE for region in regions):
        return "whole image"
    return "; ".join(
        f"{one.kind} {' '.join(f'{x:.0f},{y:.0f}' for x, y in one.points_px)}" for one in regions
    )


def remark(row: Compared) -> str:
    """Return the parts that differ, or the reason why the question was skipped."""
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
