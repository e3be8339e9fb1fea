"""What a run says of its sources: records taken and left out, missing pictures, licences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from chatspot_train.common.kept_settings import digest_files
from chatspot_train.data.records import RecordError, Records, split_of
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.image_folder import ImageFolder
from chatspot_train.finetune.config import InstructSettings, SourceSettings


def source_note(source: SourceSettings, progress: bool = False) -> dict[str, Any]:
    """Return what a model card says about a source, and a digest of its records.

    `left_out` counts records by their splits, `missing` the pictures that are not there or have no
    readable header. Raises RecordError where no record is of a split that the source takes.
    """
    records = Records(source.records)
    pictures = ImageFolder(source.images)
    left_out: Counter[str] = Counter()
    wanted: set[str] = set()
    taken = 0
    for image, tags in records.columns("image", "tags"):
        split = split_of(tags)
        if source.takes(split):
            taken += 1
            wanted.add(image)
        else:
            left_out[split] += 1
    if left_out and not taken:
        there = ", ".join(f"{count} of {split}" for split, count in left_out.items())
        raise RecordError(
            f"{source.records} has no record of the splits {', '.join(source.splits)}, but "
            f"{there}: name the splits to take in `splits`"
        )
    name = f"pictures of {source.records.name}"
    missing = sum(
        not _is_there(pictures, image)
        for image in tqdm(sorted(wanted), desc=name, disable=not progress)
    )
    first = records[0] if len(records) else None
    return {
        "name": first.source if first else source.records.name,
        "records": taken,
        "weight": source.weight,
        "licence": first.licence if first else "",
        "left_out": dict(left_out),
        "pictures": len(wanted),
        "missing": missing,
        "digest": digest_files(*records.shards),
    }


def _is_there(pictures: ImageFolder, image: str) -> bool:
    try:
        pictures.size(image)
    except SkipError:
        return False
    return True


def all_sources(settings: InstructSettings) -> list[SourceSettings]:
    """Return the sources that are learned from: the data and the replayed data."""
    return [*settings.data, *(settings.replay.data if settings.replay else [])]


def checked_notes(settings: InstructSettings) -> list[dict[str, Any]]:
    """Return the notes of the sources that are learned from.

    Raises RecordError for one that lacks more than `max_missing` of its pictures, as for one of
    `validation`.
    """
    progress = settings.optim.progress
    notes = [source_note(source, progress) for source in all_sources(settings)]
    held_out = [source_note(source, progress) for source in settings.validation]
    _check_missing([*notes, *held_out], settings.max_missing)
    return notes


def _check_missing(notes: Sequence[dict[str, Any]], most: float) -> None:
    for note in notes:
        missing, count = note["missing"], note["pictures"]
        if missing > most * count:
            raise RecordError(
                f"source {note['name']}: {missing} of {count} pictures are missing or unreadable, "
                f"more than max_missing {most:g}: give the right `images`, build the records "
                "again, or raise max_missing"
            )
