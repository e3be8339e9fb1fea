"""Ask a recorded bag's questions again, with another model, and show what differs.

    chatspot replay BAG --model DIR [--html FILE] [--json FILE]

BAG holds the node's ~/answers and the camera's images; a question is asked about the image whose
header.stamp is that of the recorded answer. Exit status: 0 when no answer differs, 1 when some do,
2 when it cannot be done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.engine.api import BatchingEngine, Question, RegionEngine, Turn
from chatspot_ros.engine.engine_config import add_engine_options, config_from
from chatspot_ros.engine.serial_engine import as_batching
from chatspot_ros.errors import ChatspotError
from chatspot_ros.images.decode import message_to_rgb
from chatspot_ros.server import request_validation
from chatspot_ros.server.request import Query
from chatspot_ros.server.settings import Settings
from chatspot_ros.tools.bags import Bag, Recorded
from chatspot_ros.tools.replay_result import Compared, Replayed, Said
from chatspot_ros.util.atomic_write import OutputError, write_whole
from chatspot_ros.util.command_line import FAILED, Command

_ANSWERED = (0, 8)  # OK, and TIMEOUT for what was finished in time


def replay(
    bag: Bag,
    engine: RegionEngine,
    *,
    settings: Settings,
    answers_topic: str = "",
    image_topic: str = "",
    say: Callable[[str], None] = lambda _: None,
    keep_pictures: bool = False,
) -> Replayed:
    """Ask all questions of a bag again.

    Pictures are taken one after the other, each with all of its questions, so a long bag needs no
    more memory than a short one, unless the pictures are kept for the report. Questions of one
    conversation about one picture see the new model's earlier answers.

    Raises:
        BagError: the bag has no answers, breaks off, or its pictures cannot be told apart.
    """
    recorded = bag.answers(answers_topic)
    by_stamp: dict[int, list[Recorded]] = defaultdict(list)
    for one in recorded:
        by_stamp[one.stamp_ns].append(one)
    wanted = set(by_stamp) - {0}
    topics = dict.fromkeys(wanted, image_topic) if image_topic else bag.image_topics(wanted)
    batching = as_batching(engine)
    rows: dict[int, list[Compared]] = {}
    pictures: dict[int, RgbImage] = {}
    for stamp, message in bag.images(topics):
        try:
            image_rgb = message_to_rgb(message, settings.max_pixels)
            scene = batching.prepare(image_rgb)
        except ChatspotError as error:
            rows.update({one.number: [_skipped(one, str(error))] for one in by_stamp[stamp]})
            continue
        if keep_pictures:
            pictures[stamp] = image_rgb
        turns: dict[str, list[Turn]] = defaultdict(list)
        for one in by_stamp[stamp]:
            say(f"asking {one.number} of {len(recorded)}: {one.message.question}")
            height, width = image_rgb.shape[:2]
            rows[one.number] = _ask_again(one, batching, scene, (width, height), turns, settings)
    for one in recorded:
        rows.setdefault(one.number, [_skipped(one, _why_not(one, topics))])
    return Replayed(
        bag=bag.path.name,
        models_before=tuple(dict.fromkeys(one.message.model for one in recorded)),
        model=engine.name,
        rows=tuple(row for number in sorted(rows) for row in rows[number]),
        pictures=pictures,
    )


def _ask_again(
    one: Recorded,
    engine: BatchingEngine,
    scene: Any,
    size_wh: tuple[int, int],
    turns: dict[str, list[Turn]],
    settings: Settings,
) -> list[Compared]:
    """Ask one recorded question again, as the node would, and compare its answers."""
    message = one.message
    if message.status not in _ANSWERED or not len(message.answers):
        return [_skipped(one, f"it had no answer: {message.message}")]
    session = str(message.session)
    earlier = tuple(turns[session][-settings.session_turns :]) if session else ()
    try:
        asks = _asks(message, size_wh, settings)
        questions = [replace(ask, turns=earlier) for ask in asks]
        replies = engine.answer_many(scene, questions)
    except ChatspotError as error:
        return [_skipped(one, str(error))]
    if session:
        turns[session] += [Turn(reply.prompt, reply.raw_text, reply.task) for reply in replies]
    return [
        _compare(one, ask, before, reply.answer)
        for ask, before, reply in zip(asks, message.answers, replies, strict=False)
    ]


def _asks(message: Any, size_wh: tuple[int, int], settings: Settings) -> list[Question]:
    """Return what was asked: the recorded regions are the asked ones, clipped.

    Raises RequestError or RegionError where question and regions do not fit together.
    """
    regions = tuple(_region(region) for answer in message.answers for region in answer.regions)
    typed = "<box>" in message.question
    # Bags of before these fields have none.
    form: dict[str, Any] = {
        "task": message.task,
        "choices": tuple(map(str, getattr(message, "choices", ()))),
        "json_schema": str(getattr(message, "json_schema", "")),
    }
    query = Query(message.question, regions=() if typed else regions, **form)
    text = request_validation.check(query, settings)
    if REGION_MARK not in text and not typed:
        # Each answer is about its own region; a whole picture has one without points.
        queries = (Query(text, regions=(one,), **form) for one in regions or (Region.image(),))
        return [request_validation.compose(one, text, (), size_wh, settings)[0] for one in queries]
    return request_validation.compose(query, text, (), size_wh, settings)


def _region(message: Any) -> Region:
    points = tuple((float(point.x), float(point.y)) for point in message.points)
    # Bags of before this field have none.
    stroke = bool(getattr(message, "stroke", False))
    return Region(points, id=message.id, label=message.label, stroke=stroke)


# --- comparing


def _compare(one: Recorded, ask: Question, before: Any, now: Answer) -> Compared:
    old, new = said_before(before), said_now(now)
    parts = ("text", "state", "steps", "grounded")
    differs = tuple(part for part in parts if _plain(old, part) != _plain(new, part))
    message = one.message
    return Compared(
        one.number, ask.text, message.task, ask.regions, one.stamp_ns, old, new, differs
    )


def _plain(said: Said, part: str) -> Any:
    """A part of an answer without what makes no difference: case, spaces, a full stop."""
    value = getattr(said, part)
    if part == "text":
        return " ".join(value.lower().split()).rstrip(".")
    return value


def said_before(message: Any) -> Said:
    """Return a RegionAnswer message, of rclpy or of rosbags, as what was said."""
    return Said(
        text=str(message.text),
        state={pair.key: pair.value for pair in message.state},
        steps=tuple(_step(step) for step in message.steps),
        grounded=tuple(_place(_region(region)) for region in message.grounded),
        confidence=float(message.confidence),
        uncertain=bool(message.uncertain),
    )


def said_now(answer: Answer) -> Said:
    """Return an engine's answer as what was said."""
    return Said(
        text=answer.text,
        state=dict(answer.state),
        steps=tuple(_step(step) for step in answer.steps),
        grounded=tuple(_place(region) for region in answer.grounded),
        confidence=answer.confidence,
        uncertain=answer.uncertain,
    )


def _step(step: Any) -> str:
    return f"{step.action} {step.target}".strip() if step.action else str(step.text)


def _place(region: Region) -> str:
    """A place in whole pixels: the bag holds 32-bit numbers."""
    return " ".join(f"{round(x)},{round(y)}" for x, y in region.points_px)


def _skipped(one: Recorded, why: str) -> Compared:
    message = one.message
    before = said_before(message.answers[0]) if len(message.answers) else None
    regions = tuple(_region(r) for answer in message.answers for r in answer.regions)
    return Compared(one.number, message.question, message.task, regions, one.stamp_ns, before,
                    skipped=why)  # fmt: skip


def _why_not(one: Recorded, topics: dict[int, str]) -> str:
    if not one.stamp_ns:
        return "it was about no camera's picture"
    if one.stamp_ns not in topics:
        return "the bag has no picture of that stamp"
    return f"{topics[one.stamp_ns]} has no picture of that stamp"


# --- the program


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="folder of the bag (mcap or sqlite3)")
    parser.add_argument("--model", required=True, metavar="DIR_OR_ID",
                        help="checkpoint: a folder, a bundled name or a hub id")  # fmt: skip
    add_engine_options(parser)
    parser.add_argument("--answers-topic", default="", metavar="TOPIC",
                        help="only these answers (all that the bag has)")  # fmt: skip
    parser.add_argument("--image-topic", default="", metavar="TOPIC",
                        help="the camera's images (found by their stamps)")  # fmt: skip
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page with the pictures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, for programs")
    parser.add_argument("--all", action="store_true", help="show also what is the same")


def _run(options: argparse.Namespace) -> int:
    """Replay a bag; return the exit status."""
    from chatspot_ros.server.engine_factory import load_engine
    from chatspot_ros.tools.replay_report import console, show
    from chatspot_ros.util.resources import share_folder

    settings = Settings(**asdict(config_from(options)))
    out = console()
    with Bag(options.bag, share_folder() / "msg") as bag:
        bag.answers(options.answers_topic)  # before a model is loaded for nothing
        done = replay(
            bag,
            load_engine(settings),
            settings=settings,
            answers_topic=options.answers_topic,
            image_topic=options.image_topic,
            say=lambda text: out.print(text, style="dim", markup=False),
            keep_pictures=options.html is not None,
        )
    # What took so long to find out is told in each way that works.
    show(done, out, everything=options.all)
    if not _write_reports(done, options.json, options.html):
        return FAILED
    return 1 if done.count("different") else 0


def _write_reports(done: Replayed, json_file: Path | None, page: Path | None) -> bool:
    """Write the files that are wanted, as far as that goes; return whether all were written."""
    from chatspot_ros.tools.replay_report import to_html, to_json

    written = True
    for path, make in (
        (json_file, lambda: json.dumps(to_json(done), indent=1) + "\n"),
        (page, lambda: to_html(done)),
    ):
        if path is not None:
            try:
                write_whole(path, make())
            except OutputError as error:
                main.say(error)
                written = False
    return written


main = Command(
    "replay", _add_arguments, _run,
    description="Ask the questions of a recorded bag again, with another model.",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
