"""The record format of all data sets: an image, and questions and answers about it.

A folder holds Parquet shards `records-00000.parquet`, ... and `report.json` (counts of kept and
dropped entries). Regions are in pixels of the image, as in `chatspot_ros.core.regions`; each
`<region>` in a text stands for the next region of the text's list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.errors import RegionError

RECORDS_PER_SHARD = 5000
GROUPS_KEPT = 128  # row groups of 256 records in memory, about 0.25 MB each
MAX_SIDE = 2**31 - 1  # pixels; the width of the column
SPLIT_TAG = "split: "

_POINT = pa.struct([("x", pa.float64()), ("y", pa.float64())])
_REGIONS = pa.list_(pa.list_(_POINT))
_TURN = pa.struct(
    [
        ("question", pa.string()),
        ("regions", _REGIONS),
        ("task", pa.string()),
        ("answer", pa.string()),
        ("answer_regions", _REGIONS),
        ("print_lines", pa.list_(pa.string())),
    ]
)
SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("id", pa.string()),
        ("image", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("turns", pa.list_(_TURN)),
        ("tags", pa.list_(pa.string())),
        ("licence", pa.string()),
    ]
)


class RecordError(ValueError):
    """A record is not usable for training; the message names the problem and the value."""


class PictureError(RecordError):
    """A record's picture is missing, unreadable, too large, or of another size."""


@dataclass(frozen=True)
class RecordTurn:
    """One question and its answer.

    `task` is one of `chatspot_ros.core.tasks.TASKS` and sets the form of the answer ("" short,
    "describe" detailed, "locate" a box, ...). A question with one region and no `<region>` in its
    text is about that region. `print_lines` is the print in that region, as a reader read it.
    """

    question: str
    answer: str
    regions: tuple[Region, ...] = ()
    task: str = ""
    answer_regions: tuple[Region, ...] = ()
    print_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """An image of `width` x `height` pixels with its turns.

    `image` is a path relative to the folder of images, `id` the source's own, `tags` are words to
    count and filter by ("region level", "split: val"), `licence` is a note on the permitted use.
    """

    source: str
    id: str
    image: str
    width: int
    height: int
    turns: tuple[RecordTurn, ...]
    tags: tuple[str, ...] = ()
    licence: str = field(default="", compare=False)


def split_of(tags: Iterable[str]) -> str:
    """Return the split that a record's tags name; empty: none."""
    return next((tag.removeprefix(SPLIT_TAG) for tag in tags if tag.startswith(SPLIT_TAG)), "")


def check(record: Record) -> None:
    """Raise RecordError unless the record is usable for training."""
    if not (1 <= record.width <= MAX_SIDE and 1 <= record.height <= MAX_SIDE):
        raise RecordError(f"the picture's size is {record.width} x {record.height}")
    if not record.image:
        raise RecordError("it names no picture")
    if not record.turns:
        raise RecordError("it has no turns")
    said = [
        text for turn in record.turns for text in (turn.question, turn.answer, *turn.print_lines)
    ]
    for text in (record.source, record.id, record.image, record.licence, *record.tags, *said):
        try:
            text.encode()
        except UnicodeError as error:
            raise RecordError(f"the text {text!a} is not Unicode") from error
    for turn in record.turns:
        _check_turn(turn, record.width, record.height)


def check_size(record: Record, width: int, height: int) -> None:
    """Raise PictureError unless the image is as large as the record says."""
    if (width, height) != (record.width, record.height):
        raise PictureError(
            f"{record.image} is {width} x {height} pixels, the record says "
            f"{record.width} x {record.height}"
        )


def _check_turn(turn: RecordTurn, width: int, height: int) -> None:
    if not turn.question.strip():
        raise RecordError("a question is empty")
    if not turn.answer.strip():
        raise RecordError(f"the answer to {turn.question!r} is empty")
    if turn.task not in TASKS:
        raise RecordError(f"there is no task {turn.task!r}")
    marks = turn.question.count(REGION_MARK)
    alone = marks == 0 and len(turn.regions) == 1
    if not alone and marks != len(turn.regions):
        raise RecordError(f"{marks} {REGION_MARK} for {len(turn.regions)} regions in a question")
    if turn.answer.count(REGION_MARK) != len(turn.answer_regions):
        raise RecordError(
            f"{turn.answer.count(REGION_MARK)} {REGION_MARK} for {len(turn.answer_regions)} "
            "regions in an answer"
        )
    for region in (*turn.regions, *turn.answer_regions):
        try:
            region.clipped(width, height)
        except RegionError as error:
            raise RecordError(str(error)) from error


def write_records(
    records: Iterable[Record], folder: Path, per_shard: int = RECORDS_PER_SHARD
) -> int:
    """Write shards of `per_shard` records into `folder`, in order; return the number of records.

    Older shards there are replaced when all new ones are complete, and stay where one fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("records-*.part"):
        left.unlink()
    try:
        count, parts = _write_parts(records, folder, per_shard)
    except BaseException:
        for left in folder.glob("records-*.part"):
            left.unlink()
        raise
    for old in folder.glob("records-*.parquet"):
        old.unlink()
    for part in parts:
        part.rename(part.with_suffix(".parquet"))
    return count


def _write_parts(records: Iterable[Record], folder: Path, per_shard: int) -> tuple[int, list[Path]]:
    """Write complete shards under the suffix .part; return the number of records, and the files."""
    count, rows = 0, []
    parts: list[Path] = []
    for record in records:
        rows.append(_to_row(record))
        count += 1
        if len(rows) == per_shard:
            parts.append(_write_shard(rows, folder, len(parts)))
            rows = []
    if rows or not count:
        parts.append(_write_shard(rows, folder, len(parts)))
    return count, parts


def _write_shard(rows: list[dict[str, Any]], folder: Path, number: int) -> Path:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    part = folder / f"records-{number:05d}.part"
    pq.write_table(table, part, compression="zstd", row_group_size=256)
    return part


def _to_row(record: Record) -> dict[str, Any]:
    return {
        "source": record.source, "id": record.id, "image": record.image,
        "width": record.width, "height": record.height,
        "turns": [
            {"question": t.question, "regions": _to_points(t.regions), "task": t.task,
             "answer": t.answer, "answer_regions": _to_points(t.answer_regions),
             "print_lines": list(t.print_lines)}
            for t in record.turns
        ],
        "tags": list(record.tags), "licence": record.licence,
    }  # fmt: skip


def _to_points(regions: Sequence[Region]) -> list[list[dict[str, float]]]:
    return [[{"x": float(x), "y": float(y)} for x, y in region.points_px] for region in regions]


def _from_row(row: dict[str, Any]) -> Record:
    return Record(
        row["source"], row["id"], row["image"], row["width"], row["height"],
        tuple(
            RecordTurn(t["question"], t["answer"], _from_points(t["regions"]), t["task"],
                       _from_points(t["answer_regions"]),
                       # Records of before the column have none.
                       tuple(t.get("print_lines") or ()))
            for t in row["turns"]
        ),
        tuple(row["tags"]), row["licence"],
    )  # fmt: skip


def _from_points(regions: list[list[dict[str, float]]]) -> tuple[Region, ...]:
    return tuple(Region(tuple((p["x"], p["y"]) for p in points)) for points in regions)


class Records(Sequence[Record]):
    """The records of a folder by number, read on demand; only the shards' sizes are in memory.

    The last row groups stay in memory, so reading in order, or out of a few groups, is cheap.
    """

    def __init__(self, folder: Path, groups_kept: int = GROUPS_KEPT) -> None:
        """Raises FileNotFoundError where there are no shards."""
        self.folder = Path(folder)
        self.shards = sorted(self.folder.glob("records-*.parquet"))
        if not self.shards:
            raise FileNotFoundError(f"no records in {folder}; write some with `chatspot build`")
        self._files = [pq.ParquetFile(shard, memory_map=True) for shard in self.shards]
        self._groups: list[tuple[int, int, int]] = []  # first record, file, group
        count = 0
        for number, file in enumerate(self._files):
            for group in range(file.metadata.num_row_groups):
                self._groups.append((count, number, group))
                count += file.metadata.row_group(group).num_rows
        self._count = count
        self._starts = [first for first, _, _ in self._groups]
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()
        self._groups_kept = groups_kept

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """Return a record by its number (negative: from the end), or a list for a slice."""
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"record {index} of {self._count}")
        index %= self._count
        group = self.group_of(index)
        # Only this row becomes Python objects: of a whole group that takes ten times its reading.
        row = self.table(group).slice(index - self.first_of(group), 1)
        return _from_row(row.to_pylist()[0])

    def group_of(self, index: int) -> int:
        """Return the number of the row group of a record; groups are read as a whole."""
        return bisect_right(self._starts, index) - 1

    def first_of(self, group: int) -> int:
        """Return the number of the first record of a row group."""
        return self._starts[group]

    def table(self, group: int) -> pa.Table:
        """Return a row group as an Arrow table, from memory where it was read lately."""
        if group in self._kept:
            self._kept.move_to_end(group)
            return self._kept[group]
        _, file, inside = self._groups[group]
        table = self._files[file].read_row_group(inside).combine_chunks()
        self._kept[group] = table
        if len(self._kept) > self._groups_kept:
            self._kept.popitem(last=False)
        return table

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield only these fields of each record, in order."""
        for file in self._files:
            for batch in file.iter_batches(columns=list(names)):
                yield from ((*map(row.get, names),) for row in batch.to_pylist())

    def __iter__(self) -> Iterator[Record]:
        return (self[k] for k in range(self._count))
