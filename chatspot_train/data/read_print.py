"""Write into records what is printed in their regions.

`chatspot read-print RECORDS --images DIR --out DIR`
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.core.tasks.read import asks_for_print
from chatspot_ros.engine.text_reader import TextReader
from chatspot_ros.errors import ChatspotError
from chatspot_ros.util.command_line import Command
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import (
    Record,
    RecordError,
    Records,
    RecordTurn,
    check_size,
    write_records,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Which turns are read: those with one region, of these tasks or with these words.

    A turn is chosen if its task is one of `tasks` (read: also if its question asks for print), or
    if its answer contains one of `words`, in whatever letter case. Without both, each turn with one
    region is.
    """

    tasks: Collection[str] = ()
    words: Collection[str] = ()

    def holds(self, turn: RecordTurn) -> bool:
        """Return whether the turn is read."""
        if len(turn.regions) != 1:
            return False
        answer = turn.answer.casefold()
        return (
            not (self.tasks or self.words)
            or turn.task in self.tasks
            or ("read" in self.tasks and asks_for_print(turn.question, turn.task))
            or any(word.casefold() in answer for word in self.words)
        )


class PrintOfPictures:
    """Reads print for records that follow one another; a picture's region is read once."""

    def __init__(self, reader: TextReader, images: Path) -> None:
        self._reader = reader
        self._images = images
        self._name = ""
        self._picture: RgbImage | None = None
        self._read: dict[Region, tuple[str, ...]] = {}

    def fill(self, record: Record, choice: Choice) -> Record:
        """Return the record with the print of its chosen turns; what other turns have stays.

        Raises PictureError: its picture cannot be read, or has another size.
        """
        turns = [
            replace(turn, print_lines=self._lines(record, turn.regions[0]))
            if choice.holds(turn)
            else turn
            for turn in record.turns
        ]
        return replace(record, turns=tuple(turns))

    def _lines(self, record: Record, region: Region) -> tuple[str, ...]:
        if record.image != self._name or self._picture is None:
            self._picture = read_picture(self._images / record.image)
            self._name, self._read = record.image, {}
        height, width = self._picture.shape[:2]
        check_size(record, width, height)
        if region not in self._read:
            found = self._reader.read(self._picture, region)
            self._read[region] = tuple(line.text for line in found)
        return self._read[region]


def filled(records: Records, images: Path, choice: Choice, reader: TextReader) -> Iterator[Record]:
    """Yield every record, with print; one whose picture cannot be read stays as it was, logged."""
    pictures = PrintOfPictures(reader, images)
    for record in tqdm(records, desc="print", unit="record"):
        try:
            yield pictures.fill(record, choice)
        except (RecordError, ChatspotError) as error:
            _log.warning("not read: %s/%s: %s", record.source, record.id, error)
            yield record


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _tasks(text: str) -> tuple[str, ...]:
    names = _words(text)
    for name in names:
        if name not in TASKS:
            raise argparse.ArgumentTypeError(
                f"there is no task {name!r}; known: {', '.join(TASKS)}"
            )
    return names


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("records", type=Path, help="a folder of records")
    parser.add_argument("--images", type=Path, required=True, help="the folder of their pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records")
    parser.add_argument(
        "--tasks", type=_tasks, default=(), help="read turns of these tasks, as in: read,describe"
    )
    parser.add_argument(
        "--match", type=_words, default=(),
        help="read turns whose answers contain one of these words, as in: juice,milk",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")


def _run(options: argparse.Namespace) -> None:
    choice = Choice(options.tasks, options.match)
    records = Records(options.records)
    reader = TextReader(threads=options.threads)
    read = 0

    def counted() -> Iterator[Record]:
        nonlocal read
        for record in filled(records, options.images, choice, reader):
            read += sum(bool(turn.print_lines) for turn in record.turns)
            yield record

    count = write_records(counted(), options.out)
    print(f"{count} records in {options.out}, {read} turns with print")


main = Command(
    "read-print", _add_arguments, _run, failed=1,
    description="Write into records what is printed in their regions, as a reader reads it.",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
