"""Ask about a region of a camera's picture, over ROS 2; or of a photo, without ROS.

Exit status: 0 when every question was answered, 1 when one was not.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from chatspot_ros.core.regions import Region, parse_region
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.operators.client import OK, Ask, Reply
from chatspot_ros.operators.words import answer_words, region_words, reply_json, status_words
from chatspot_ros.util.command_line import Command
from chatspot_ros.util.resources import photo_model

NOT_ANSWERED = 1
_CANCELLING_S = 6.0
_KINDS = {"box": (4, "x1,y1,x2,y2"), "point": (2, "x,y"), "polygon": (0, "x1,y1,x2,y2,x3,y3,...")}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("words", nargs="*", metavar="[PHOTO ...] QUESTION",
        help="photos, if it is not about a camera's picture, then the question; it may be left "
        "out with a --task that has its own")  # fmt: skip
    for kind, (_, form) in _KINDS.items():
        add(f"--{kind}", dest="regions", action="append", metavar=form, default=[],
            type=_reader(kind), help=f"a {kind} in pixels of the full picture; may be given again",
            )  # fmt: skip
    add("--task", default="", choices=[name for name in TASKS if name], metavar="TASK",
        help=f"the kind of answer ({', '.join(name for name in TASKS if name)}); the question "
        "decides, where none is given")  # fmt: skip
    add("--choices", default="", metavar="A,B,...",
        help="the only answers, such as yes,no,unclear: prints how probable each is")  # fmt: skip
    add("--schema", type=Path, metavar="FILE",
        help="a JSON schema that the answer shall follow (docs/interfaces.md); - reads it from "
        "standard input")  # fmt: skip
    add("--timeout", type=float, default=0.0, metavar="S", help="longest time to an answer, in s")
    add("--json", action="store_true", help="print one JSON object a picture, on a line")
    ros = parser.add_argument_group("about a camera's picture")
    ros.add_argument("--camera", default="", help="the camera; the node's first if not given")
    ros.add_argument("--session", default="", metavar="NAME",
                     help="a conversation: later questions of that name know it")  # fmt: skip
    add_node_option(ros)
    photo = parser.add_argument_group("about a photo")
    photo.add_argument("--model", default="", metavar="DIR_OR_ID",
                       help="checkpoint: a folder, a bundled name or a hub id (chatspot-small, "
                       "where it is installed)")  # fmt: skip
    photo.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")


def add_node_option(parser: Any) -> None:
    """Add --node, the node that a command speaks to."""
    parser.add_argument("--node", default="/region_query_node", metavar="NAME",
                        help="the node's full name (%(default)s)")  # fmt: skip


def _reader(kind: str) -> Callable[[str], Region]:
    count, form = _KINDS[kind]

    def read(text: str) -> Region:
        try:
            region = parse_region(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"give {form}, in pixels (got {text!r})") from error
        given = 2 * len(region.points_px)
        if given != count if count else given < 6:
            raise argparse.ArgumentTypeError(f"give {form}, in pixels (got {given} numbers)")
        return region

    return read


def run(options: Namespace) -> int:
    """Ask; return the exit status."""
    photos, question = _split(options)
    _check(options, photos, question)
    ask = Ask(
        question,
        regions=tuple(options.regions),
        camera=options.camera,
        task="json" if options.schema else options.task,
        choices=_choices(options.choices),
        json_schema=_read_schema(options.schema),
        session=options.session,
        timeout_s=options.timeout,
    )
    shown = _Shown(as_json=options.json, ask=ask)
    if not photos:
        return _ask_node(options.node, ask, shown)
    from chatspot_ros.tools.photo_client import PhotoClient

    statuses = []
    model = options.model or photo_model()
    with shown.console.status(f"loading {model}"):
        client = PhotoClient(model, options.device)
    with client:
        for photo in photos:
            with shown.streaming(str(photo) if len(photos) > 1 else ""):
                reply = client.ask(photo, ask, shown.on_text)
            shown.finish(reply, photo=str(photo))
            statuses.append(reply.status)
    return 0 if set(statuses) == {OK} else NOT_ANSWERED


def _split(options: Namespace) -> tuple[list[Path], str]:
    """Return the photos and the question. With a task the question may be missing."""
    words = list(options.words)
    if not words or (options.task and Path(words[-1]).is_file()):
        return [Path(word) for word in words], ""
    return [Path(word) for word in words[:-1]], words[-1]


def _check(options: Namespace, photos: list[Path], question: str) -> None:
    """Raise ArgumentError for options that contradict each other."""
    if not question and not options.task:
        raise ArgumentError(None, "give the question, in quotes, as the last word")
    if Path(question).is_file():
        raise ArgumentError(None, f"give the question, in quotes, behind the photo {question}")
    if not options.timeout >= 0:
        raise ArgumentError(None, f"--timeout must be 0 or more (got {options.timeout})")
    if options.schema and options.task not in ("", "json"):
        raise ArgumentError(None, "--schema is for the task json: leave --task out")
    if options.choices and (options.task or options.schema):
        raise ArgumentError(None, "--choices need neither --task nor --schema: leave them out")
    if photos and (options.camera or options.session):
        raise ArgumentError(None, "--camera and --session need a node: give no photo")
    if not photos and options.model:
        raise ArgumentError(None, "--model needs a photo: a node has its own model")


def _choices(text: str) -> tuple[str, ...]:
    """Return the choices in a text; a comma within one is written twice."""
    parts = text.replace(",,", "\0").split(",") if text else []
    return tuple(part.replace("\0", ",").strip() for part in parts)


def _read_schema(file: Path | None) -> str:
    """Return the text of a schema's file. Raises ArgumentError where it cannot be read."""
    if file is None:
        return ""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(None, f"--schema cannot be read: {error}") from error


def _ask_node(node: str, ask: Ask, shown: _Shown) -> int:
    from chatspot_ros.ros.operator_client import RosOperatorClient

    replies: list[Reply] = []
    replied = threading.Event()

    def on_reply(reply: Reply) -> None:
        replies.append(reply)
        replied.set()

    with RosOperatorClient(node) as client:
        with shown.streaming():
            asked = client.ask(ask, shown.on_text, on_reply)
            try:
                replied.wait()
            except KeyboardInterrupt:
                asked.cancel()
                replied.wait(_CANCELLING_S)
                raise
        shown.finish(replies[0])
    return 0 if replies[0].status == OK else NOT_ANSWERED


class _Shown:
    """Shows words as they come where the output is a terminal, and the answers at the end."""

    def __init__(self, *, as_json: bool, ask: Ask) -> None:
        self._json = as_json
        self._regions, self._choices = ask.regions, ask.choices
        # What people watch while they wait goes beside JSON, or into no file at all.
        self.console = Console(stderr=as_json or not sys.stdout.isatty())
        self._lock = threading.Lock()
        self._texts: dict[int, str] = {}
        self._live: Live | None = None

    def streaming(self, title: str = "") -> Live:
        """Return a context in which words are shown as they come, below a title."""
        self._texts = {}
        self._title = title
        self._began_s = time.monotonic()
        self._live = Live(
            console=self.console, get_renderable=self._render, transient=True, refresh_per_second=12
        )
        return self._live

    def on_text(self, index: int, text: str) -> None:
        """Take more of an answer's text."""
        with self._lock:
            self._texts[index] = self._texts.get(index, "") + text

    def _render(self) -> Text:
        with self._lock:
            texts = sorted(self._texts.items())
        lines = [self._title] if self._title else []
        for index, text in texts:
            where = region_words(self._regions[index]) if index < len(self._regions) else ""
            lines.append(f"{where}: {text}" if where else text)
        if not any(text for _, text in texts):
            lines.append(f"... {time.monotonic() - self._began_s:.0f} s")
        # Not as markup: an answer may hold brackets.
        return Text("\n".join(lines))

    def finish(self, reply: Reply, photo: str = "") -> None:
        """Print a reply, for a photo with its name if it has a title."""
        if self._json:
            values = reply_json(reply)
            print(json.dumps({"photo": photo, **values} if photo else values), flush=True)
            return
        if self._title:
            print(f"{self._title}:")
        for answer in reply.answers:
            print("\n".join(answer_words(answer, self._choices)))
        sys.stdout.flush()
        if reply.status != OK:
            main.say(status_words(reply))
        elif reply.message:
            main.say(reply.message)


main = Command("ask", add_arguments, run, description=__doc__, failed=NOT_ANSWERED, more="words")

if __name__ == "__main__":
    sys.exit(main())
