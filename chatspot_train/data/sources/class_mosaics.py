"""Records about mosaics of an image folder: names, coarse and exact, places, what is not there."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chatspot_ros.core.regions import Region
from chatspot_train.data.noisy_boxes import noisy_box
from chatspot_train.data.records import RecordTurn
from chatspot_train.data.sources.asides import aside, wants_aside
from chatspot_train.data.sources.base import TURNS_PER_RECORD, SourceError
from chatspot_train.data.sources.grounded_descriptions import Place, grounded_turn
from chatspot_train.data.sources.json_reader import clean, load_json
from chatspot_train.data.sources.photo_wordings import ask, there_text

GROUNDED = 0.5  # of the mosaics are described with boxes
NOISE = 0.12  # of a box's side, as noisy_box takes it
MOST = 64  # pictures in one


@dataclass(frozen=True)
class Kind:
    """What a picture of a folder shows: the exact name, and that of its coarser kind."""

    exact: str
    coarse: str


def readable(folder: str) -> str:
    """Return a folder's name as words: `Red-Grapefruit` is `Red Grapefruit`."""
    return clean(folder.replace("_", " ").replace("-", " "))


def read_classes(file: Path) -> dict[str, str]:
    """Return the coarser kind, in small letters, of each folder.

    The file is a JSON object, or CSV with a line of headings whose first two columns are the folder
    and its kind. Raises SourceError where it is neither.
    """
    if file.suffix.casefold() == ".csv":
        try:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                rows = [row for row in csv.reader(lines) if row][1:]
        except (OSError, UnicodeError, csv.Error) as error:
            raise SourceError(
                f"the classes cannot be read ({error})", value=file,
                remedy="give a CSV file, folder and kind in each line, with --classes",
            ) from error  # fmt: skip
        found = {row[0].strip(): row[1] for row in rows if len(row) > 1}
    else:
        loaded = load_json(file)
        found = loaded if isinstance(loaded, dict) else {}
    kinds = {
        folder: readable(kind).lower() for folder, kind in found.items()
        if isinstance(kind, str) and kind.strip()
    }  # fmt: skip
    if not kinds:
        raise SourceError(
            "the classes' file names no kinds", value=file,
            remedy='write "folder,kind" lines under a line of headings, or {"folder": "kind"}',
        )  # fmt: skip
    return kinds


def mosaic_turns(
    kinds: Sequence[Kind],
    boxes: Sequence[Region],
    known: Sequence[str],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> list[RecordTurn]:
    """Return the turns about one mosaic, in random order but for exact names and, in some, a
    description with boxes, which come last.

    `known` are all coarse kinds. One thing that is there once is located, and then not named.
    """
    counts = Counter(kind.coarse for kind in kinds)
    single = [k for k, kind in enumerate(kinds) if counts[kind.coarse] == 1]
    located = single[int(rng.integers(len(single)))] if single and rng.random() < 0.85 else -1
    turns = list(_about_the_picture(counts, known, rng))
    exact = []
    for k, (kind, box) in enumerate(zip(kinds, boxes, strict=True)):
        if k == located:
            question, _ = ask("locate", rng, thing=kind.coarse)
            turns.append(RecordTurn(question, "<region>", (), "locate", (box,)))
            continue
        question, _ = ask("name", rng)
        turns.append(RecordTurn(question, kind.coarse, (_region(box, size, rng),)))
        if kind.exact.lower() != kind.coarse or rng.random() < 0.2:
            question, _ = ask("exact", rng, thing=kind.coarse)
            answer = kind.exact if kind.exact.lower() != kind.coarse else kind.coarse
            exact.append(RecordTurn(question, answer, (_region(box, size, rng),)))
    key = ("mosaic", int(rng.integers(2**31)))
    if wants_aside(len(turns) + len(exact), *key):
        turns.append(aside(*key, regions=boxes))
    ordered = [turns[int(k)] for k in rng.permutation(len(turns))]
    ordered += [exact[int(k)] for k in rng.permutation(len(exact))]
    if rng.random() < GROUNDED:
        turn = grounded_turn(places_of(kinds, boxes), size, rng)
        ordered = [*ordered[: TURNS_PER_RECORD - 1], turn]
    return ordered


def places_of(kinds: Sequence[Kind], boxes: Sequence[Region]) -> list[Place]:
    """Return what a description with boxes says of a mosaic's pictures."""
    return [Place(kind.coarse, box.box_xyxy_px) for kind, box in zip(kinds, boxes, strict=True)]


def _about_the_picture(
    counts: Counter[str], known: Sequence[str], rng: np.random.Generator
) -> Iterator[RecordTurn]:
    present = sorted(counts)
    absent = [kind for kind in known if not _alike(kind, present)]
    for some, there in ((present, True), (absent, False)):
        if some and absent:
            name = some[int(rng.integers(len(some)))]
            question, _ = ask("is_there_scene", rng, thing=name)
            yield RecordTurn(question, there_text(name, there))
    if absent and rng.random() < 0.5:
        name = absent[int(rng.integers(len(absent)))]
        question, _ = ask("locate", rng, thing=name)
        yield RecordTurn(question, f"there is no {name} here", (), "locate")


def _alike(kind: str, present: Sequence[str]) -> bool:
    """True if a kind's words are those of one that is there, or part of them: milk, oat milk."""
    words = set(kind.split())
    return any(words <= set(one.split()) or set(one.split()) <= words for one in present)


def _region(box: Region, size: tuple[int, int], rng: np.random.Generator) -> Region:
    """Draw a box with moved edges, or a point near the middle."""
    (x1, y1), (x2, y2) = box.points_px
    if rng.random() < 0.25:
        return Region.point(*(a + (b - a) * float(rng.uniform(0.35, 0.65))
                              for a, b in ((x1, x2), (y1, y2))))  # fmt: skip
    return Region.box(*noisy_box((x1, y1, x2, y2), NOISE, *size, rng))
