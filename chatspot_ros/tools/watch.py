"""Show a node's answers, and the changes and conditions that its watch list finds, as they come.

`--history` shows the changes so far instead.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from argparse import ArgumentError, ArgumentParser, Namespace
from typing import Any

from rich.console import Console
from rich.text import Text

from chatspot_ros.errors import one_line
from chatspot_ros.operators.client import OK, Reply
from chatspot_ros.operators.words import answer_words, reply_json, status_words
from chatspot_ros.tools.ask import add_node_option
from chatspot_ros.util.command_line import Command

_LOOK_S = 0.5
_NS = 1_000_000_000
# The history is asked for again after this time, for a reply can be lost, and given up after that.
_AGAIN_S, _PATIENCE_S = 2.0, 15.0
# Stamps before this are of a clock that is no calendar's, as in a simulation.
_CALENDAR_S = 1_000_000_000


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add_node_option(parser)
    add("--changes", action="store_true", help="only changes and conditions, no answers")
    add("--history", action="store_true", help="the changes so far, and end")
    add("--thing", default="", metavar="NAME", help="with --history: only of this thing")
    add("--count", type=int, default=0, metavar="N",
        help="end after so many, 0: at Ctrl-C; with --history the newest, 0: all")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object for each, on a line")


def run(options: Namespace) -> int:
    """Show what comes until Ctrl-C; return the exit status."""
    from chatspot_ros.msg import RegionAnswers, StateChange
    from chatspot_ros.ros.operator_client import RosOperatorClient

    if options.count < 0:
        raise ArgumentError(None, f"--count is 0 or more (got {options.count})")
    if options.thing and not options.history:
        raise ArgumentError(None, "--thing goes with --history")
    if options.history:
        return _show_history(options)
    shown = _Shown(options.json, options.count)
    with RosOperatorClient(options.node) as client:
        name = client.link.name

        def subscribe() -> None:
            make = client.node.create_subscription
            make(StateChange, f"{name}/states", shown.on_change, 100)
            make(StateChange, f"{name}/events", shown.on_change, 100)
            if not options.changes:
                make(RegionAnswers, f"{name}/answers", shown.on_answers, 100)

        client.in_thread(subscribe)
        problem = ""
        try:
            while not shown.ended.wait(_LOOK_S):
                now = client.problem()
                if now != problem and not now.startswith("looking for"):
                    main.say(now or f"{name} answers")
                    problem = now
        except KeyboardInterrupt:
            return 0  # the way in which a person ends it
    return 0


class _Shown:
    """Prints each message as it comes. Its methods run in the client's thread."""

    def __init__(self, as_json: bool, count: int) -> None:
        self.ended = threading.Event()
        self._json = as_json
        self._left = count
        self._console = Console(highlight=False, soft_wrap=True)

    def on_change(self, message: Any) -> None:
        """Show a StateChange of ~/states or ~/events."""
        values, text = _change_words(message)
        self._show(values, [text], message.header.stamp, "bold")

    def show_past(self, message: Any) -> None:
        """Show a StateChange of ~/history."""
        values, text = _change_words(message)
        self._show(values, [text], message.header.stamp, "", _clock(message.header.stamp))

    def on_answers(self, message: Any) -> None:
        """Show a RegionAnswers."""
        from chatspot_ros.ros.operator_messages import to_answers_reply

        reply: Reply = to_answers_reply(message)
        values = {
            "kind": "answers",
            "camera": message.camera,
            "question": message.question,
            "task": message.task,
            "choices": list(message.choices),
            "session": message.session,
            **reply_json(reply),
        }
        asked = one_line(message.question or message.task)
        lines = [f"{message.camera or 'a picture of its own'}: {asked}"]
        for answer in reply.answers:
            lines += [f"  {line}" for line in answer_words(answer, message.choices)]
        if reply.status != OK:
            lines.append(f"  {status_words(reply)}")
        self._show(values, lines, message.header.stamp, "")

    def _show(
        self, values: dict[str, Any], lines: list[str], stamp: Any, style: str, clock: str = ""
    ) -> None:
        if self.ended.is_set():
            return
        if self._json:
            stamp_ns = int(stamp.sec) * _NS + int(stamp.nanosec)
            print(json.dumps({**values, "stamp_ns": stamp_ns}), flush=True)
        else:
            clock = clock or time.strftime("%H:%M:%S")
            self._console.print(Text(f"{clock} " + "\n         ".join(lines), style))
            sys.stdout.flush()
        self._left -= 1
        if self._left == 0:
            self.ended.set()


def _change_words(message: Any) -> tuple[dict[str, Any], str]:
    """Return a StateChange as values for JSON and as a line."""
    words = (message.thing, message.attribute, message.old_value, message.new_value)
    thing, attribute, old, new = map(one_line, words)
    values = {
        "kind": "event" if message.condition else "change",
        "thing": message.thing,
        "label": message.label,
        "attribute": message.attribute,
        "old": message.old_value,
        "new": message.new_value,
        "confidence": float(message.confidence),
    }
    sure = f"confidence {message.confidence:.2f}"
    change = f"{attribute} {old} -> {new}" if old else f"{attribute} {new}"
    if not message.condition:
        return values, f"{thing}: {change} ({sure})"
    values["condition"] = message.condition
    return values, f"{thing}: {one_line(message.condition)} ({change}, {sure})"


def _clock(stamp: Any) -> str:
    """Return a stamp as a person reads it."""
    seconds = stamp.sec + stamp.nanosec / _NS
    if stamp.sec < _CALENDAR_S:
        return f"{seconds:.3f} s"
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stamp.sec))
    return f"{day}.{stamp.nanosec // 10**6:03d}"


def _show_history(options: Namespace) -> int:
    """Show the changes so far; return the exit status."""
    from chatspot_ros.ros.operator_client import RosOperatorClient
    from chatspot_ros.srv import WatchHistory

    request = WatchHistory.Request(thing=options.thing, limit=options.count)
    replies: queue.Queue[Any] = queue.Queue()
    with RosOperatorClient(options.node) as client:
        service: list[Any] = []

        def ask() -> None:
            if not service:
                service.append(
                    client.node.create_client(WatchHistory, f"{client.link.name}/history")
                )
            if service[0].service_is_ready():
                service[0].call_async(request).add_done_callback(replies.put)

        until_s = time.monotonic() + _PATIENCE_S
        wait_s = _LOOK_S
        while time.monotonic() < until_s:
            client.in_thread(ask)
            try:
                reply = replies.get(timeout=wait_s).result()
                break
            except queue.Empty:
                wait_s = _AGAIN_S
        else:
            main.say(client.problem() or f"{client.link.name} does not answer for its history")
            return 1
    shown = _Shown(options.json, 0)
    for message in reply.changes:
        shown.show_past(message)
    if reply.message:
        main.say(reply.message)
    return 0


main = Command("watch", add_arguments, run, description=__doc__, failed=1)

if __name__ == "__main__":
    sys.exit(main())
