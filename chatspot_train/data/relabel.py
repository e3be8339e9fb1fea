"""Put a teacher's answers in the place of the records' own, for a student to learn from.

`chatspot relabel --model DIR_OR_ID --records DIR --images DIR --out DIR`
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import REGION_MARK
from chatspot_ros.engine.api import Question, Turn
from chatspot_ros.engine.engine import Engine
from chatspot_ros.engine.engine_config import add_engine_options, config_from, load_engine
from chatspot_ros.errors import ChatspotError
from chatspot_ros.util.command_line import Command
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import (
    Record,
    RecordError,
    Records,
    RecordTurn,
    check,
    write_records,
)

_log = logging.getLogger(__name__)


def relabel(engine: Engine, record: Record, images: Path) -> Record:
    """The record with the engine's answers, each turn asked after the ones before it.

    A box in an answer becomes a `<region>`. Turns that the teacher cannot answer are left out.
    Raises RecordError where none is left or the picture cannot be read.
    """
    scene = engine.prepare(read_picture(images / record.image))
    said: list[Turn] = []
    turns: list[RecordTurn] = []
    for turn in record.turns:
        question = Question(turn.question, turn.regions, turn.task, tuple(said))
        try:
            reply = engine.answer(scene, question)
        except ChatspotError as error:
            _log.warning("left out a turn of %s/%s: %s", record.source, record.id, error)
            continue
        if reply.answer.truncated or not reply.raw_text.strip():
            continue
        said.append(Turn(reply.prompt, reply.raw_text))
        turns.append(_with_regions(turn, reply.raw_text, engine, scene.fit))
    taught = replace(record, turns=tuple(turns), tags=(*record.tags, f"answers: {engine.name}"))
    check(taught)
    return taught


def _with_regions(turn: RecordTurn, text: str, engine: Engine, fit: Fit) -> RecordTurn:
    spoken = engine.dialect.find(text, fit)
    for found in reversed(spoken):
        text = text[: found.start] + REGION_MARK + text[found.end :]
    return replace(turn, answer=text, answer_regions=tuple(found.region_px for found in spoken))


def relabelled(engine: Engine, records: Records, images: Path, limit: int = 0) -> Iterator[Record]:
    """All records with the teacher's answers; those that cannot be used are logged and left out."""
    count = min(limit or len(records), len(records))
    for k in tqdm(range(count), desc="asking the teacher"):
        try:
            yield relabel(engine, records[k], images)
        except RecordError as error:
            _log.warning("left out %s/%s: %s", records[k].source, records[k].id, error)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="the teacher: a folder or a hub id")
    add_engine_options(parser)
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=0, help="records; 0: all")


def _run(options: argparse.Namespace) -> None:
    engine = load_engine(config_from(options))
    records = Records(options.records)
    written = relabelled(engine, records, options.images, options.limit)
    print(f"{write_records(written, options.out)} records in {options.out}")


main = Command(
    "relabel", _add_arguments, _run, description="Write records with a teacher's answers.", failed=1
)

if __name__ == "__main__":
    sys.exit(main())
