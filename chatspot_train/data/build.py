"""Convert a data set to records: `chatspot build --source NAME --out DIR ...`.

Writes Parquet shards, `report.json` (counts of kept and dropped entries) and `drops.jsonl` (each
dropped entry with its place and reason). docs/data.md lists the files that each source reads.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatspot_ros.util.command_line import Command
from chatspot_train.data.records import Record, write_records
from chatspot_train.data.sources import SOURCES, find_source
from chatspot_train.data.sources.base import Job, Source, SourceError, read_source
from chatspot_train.data.sources.conversion_report import ConversionReport
from chatspot_train.data.sources.image_folder import ImageFolder

REASONS_SHOWN = 20


def build(
    source: Source,
    annotations: Path | None,
    images: Path | None,
    out: Path,
    *,
    split: str = "",
    limit: int | None = None,
    licence: str = "",
    regions: str = "",
    blank: str = "",
    first: int = 0,
    mosaic: int = 0,
    classes: Path | None = None,
    without: tuple[str, ...] = (),
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Convert a data set into a folder of records; return the content of `report.json`.

    `licence` is that of own data; empty: the source's. `regions` is one of the source's
    `region_forms`; empty: the first. `blank` is a picture in `images` for dialogues without one;
    empty: they are dropped. `first` is the first kitchen's number, `mosaic` the number of pictures
    to lay into one, `classes` a file that names the folders' kinds, `without` are folders or kinds
    to leave out; another `seed` draws other questions, words and mosaics. A failed build leaves
    earlier records.

    Raises SourceError where files or options are missing or of the wrong kind.
    """
    annotations, images = _files(source, annotations, images, out)
    _check_option(source, "split", split, source.splits)
    _check_option(source, "regions", regions, source.region_forms)
    for option, value in (
        ("blank", blank), ("first", first), ("mosaic", mosaic), ("classes", classes),
        ("without", without), ("seed", seed),
    ):  # fmt: skip
        if value and option not in source.takes:
            raise SourceError(
                f"{source.name} has no use for --{option}", value=value,
                remedy=f"leave --{option} out",
            )  # fmt: skip
    regions = regions or next(iter(source.region_forms), "")
    if limit is not None and limit < 1:
        raise SourceError("the limit is not positive", value=limit, remedy="keep at least 1 record")
    with closing(ConversionReport(out)) as report:
        job = Job(annotations, ImageFolder(images), out, report, split, limit, regions, blank,
                  first, mosaic, classes, without, seed)  # fmt: skip
        write_records(_licensed(read_source(source, job, progress), licence), out)
        report.publish()
    about = {
        "source": source.name, "annotations": str(annotations.resolve()),
        "images": str(images.resolve()), "split": split, "limit": limit,
        "licence": licence or source.licence, **({"regions": regions} if regions else {}),
    }  # fmt: skip
    found = about | report.to_dict()
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    part = out / "report.part"
    part.write_text(text, encoding="utf-8", errors="backslashreplace")
    part.replace(out / "report.json")
    return found


def _licensed(records: Iterable[Record], licence: str) -> Iterator[Record]:
    """Yield the records under this licence; empty: that of their source."""
    return (replace(one, licence=licence) if licence else one for one in records)


def _check_option(source: Source, option: str, value: str, known: tuple[str, ...]) -> None:
    """Raise SourceError for a value that the source does not know."""
    if value and value not in known:
        remedy = f"use one of {', '.join(known)}" if known else f"leave --{option} out"
        raise SourceError(f"{source.name} has no such {option}", value=value, remedy=remedy)


def _files(
    source: Source, annotations: Path | None, images: Path | None, out: Path
) -> tuple[Path, Path]:
    """Return the paths of annotations and images; the images' for annotations that are optional and
    not given. Raises SourceError where one is missing."""
    if not source.needs_files:
        if annotations is not None or images is not None:
            raise SourceError(
                f"{source.name} makes its own images and annotations",
                value=annotations or images, remedy="leave --annotations and --images out",
            )  # fmt: skip
        return out, out / "images"
    optional = annotations is None and not source.needs_annotations
    if not optional and (annotations is None or not annotations.exists()):
        raise SourceError(
            f"{source.name} needs its annotations", value=annotations or "no --annotations",
            remedy=f"give the path of {source.annotations} with --annotations",
        )  # fmt: skip
    if images is None or not images.is_dir():
        raise SourceError(
            f"{source.name} needs the folder of its images", value=images or "no --images",
            remedy="give it with --images",
        )  # fmt: skip
    return annotations or images, images


def show(found: dict[str, Any], console: Console) -> None:
    """Print the counts of kept entries, and of dropped ones by reason."""
    kept = Table("kept", "count", title=f"{found['source']}: {found['licence']}")
    for name in ("entries", "records", "turns"):
        kept.add_row(name, f"{found[name]:,}")
    for group in ("tasks", "regions", "tags"):
        for name, count in found[group].items():
            kept.add_row(Text(f"  {group[:-1]}: {name}"), f"{count:,}")
    console.print(kept)
    if not found["drops"]:
        console.print("nothing was dropped")
        return
    dropped = Table("dropped because", "count", "example", "detail")
    for drop in found["drops"][:REASONS_SHOWN]:
        example = drop["examples"][0]
        words = (drop["reason"], f"{drop['count']:,}", example["where"], example["detail"])
        dropped.add_row(*(Text(word) for word in words))
    hidden = len(found["drops"]) - REASONS_SHOWN
    if hidden > 0:
        dropped.add_row(f"... {hidden} more reasons in report.json", "", "", "")
    console.print(dropped)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"sources: {', '.join(SOURCES)}"
    parser.add_argument("--source", required=True, help="name of the data set")
    parser.add_argument("--annotations", type=Path, help="the data set's own annotation file")
    parser.add_argument("--images", type=Path, help="folder of its images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records")
    parser.add_argument("--split", default="", help="only this split of the data set")
    forms = "; ".join(
        f"{one.name}: {', '.join(one.region_forms)}" for one in SOURCES.values() if one.region_forms
    )
    parser.add_argument("--regions", default="", help=f"how texts write regions ({forms})")
    parser.add_argument(
        "--blank", default="", help="a picture in --images for dialogues without one "
        f"({_takers('blank')})",
    )  # fmt: skip
    parser.add_argument(
        "--first", type=int, default=0, help=f"number of the first one ({_takers('first')})"
    )
    parser.add_argument(
        "--mosaic", type=int, default=0, metavar="N",
        help=f"lay N pictures into one, in images/ of --out ({_takers('mosaic')})",
    )  # fmt: skip
    parser.add_argument(
        "--classes", type=Path, help="CSV or JSON file: folder, its coarser kind "
        f"({_takers('classes')})",
    )  # fmt: skip
    parser.add_argument("--licence", default="", help="licence of own data, for the model's card")
    parser.add_argument("--limit", type=int, help="most records to keep; how many kitchens")

    parser.add_argument(
        "--without", default="", metavar="NAMES",
        help=f"folders or kinds to leave out, with commas ({_takers('without')})",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0,
        help=f"another number draws other questions, words and mosaics ({_takers('seed')})",
    )  # fmt: skip


def _takers(option: str) -> str:
    """Return the names of the sources that read an option."""
    return ", ".join(one.name for one in SOURCES.values() if option in one.takes)


def _run(options: argparse.Namespace) -> int:
    """Return the exit status: 0, or 1 when no record was kept."""
    source = find_source(options.source)
    found = build(source, options.annotations, options.images, options.out,
                  split=options.split, limit=options.limit, licence=options.licence,
                  regions=options.regions, blank=options.blank, first=options.first,
                  mosaic=options.mosaic, classes=options.classes,
                  without=tuple(one.strip() for one in options.without.split(",") if one.strip()),
                  seed=options.seed)  # fmt: skip
    show(found, Console())
    if not found["records"]:
        main.say(f"no record was kept; {options.out}/report.json says why")
        return 1
    return 0


main = Command("build", _add_arguments, _run, description="Convert a data set to records.")

if __name__ == "__main__":
    sys.exit(main())
