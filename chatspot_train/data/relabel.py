"""Replace the answers of records by those of a teacher model, to train a student on them.

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
    """Return the record with the engine's answers, asked in one conversation.

    A box in an answer becomes a `<region>`. Turns without an answer are left out. Raises
    RecordError where no turn is left or the image cannot be read.
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
        said.append(Turn(reply.prompt, reply.raw_text, reply.task))
        turns.append(_with_regions(turn, reply.raw_text, engine, scene.fit))
    taught = replace(record, turns=tuple(turns), tags=(*record.tags, f"answers: {engine.name}"))
    check(taught)
    return taught


def _with_regions(turn: RecordTurn, text: str, engine: Engine, fit: Fit) -> RecordTurn:
    """Return the turn with this answer, its boxes as answer regions."""
    boxes = engine.dialect.find(text, fit)
    for found in reversed(boxes):
        text = text[: found.start] + REGION_MARK + text[found.end :]
    return replace(turn, answer=text, answer_regions=tuple(found.region_px for found in boxes))


def relabelled(engine: Engine, records: Records, images: Path, limit: int = 0) -> Iterator[Record]:
    """Yield the records with the teacher's answers; log and leave out the unusable ones."""
    count = min(limit or len(records), len(records))
    for k in tqdm(range(count), desc="answers of the teacher"):
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
    parser.add_argument("--limit", type=int, default=0, help="maximum number of records; 0: all")


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
