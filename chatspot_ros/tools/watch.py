"""Show a node's answers and the changes that its watch list finds, as they come."""

from __future__ import annotations

import json
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
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


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add_node_option(parser)
    add("--changes", action="store_true", help="only changes of state, no answers")
    add("--count", type=int, default=0, metavar="N", help="end after so many; 0: at Ctrl-C")
    add("--json", action="store_true", help="print one JSON object for each, on a line")


def run(options: Namespace) -> int:
    """Show what comes until Ctrl-C; return the exit status."""
    from chatspot_ros.msg import RegionAnswers, StateChange
    from chatspot_ros.ros.operator_client import RosOperatorClient

    shown = _Shown(options.json, options.count)
    with RosOperatorClient(options.node) as client:
        name = client.link.name

        def subscribe() -> None:
            make = client.node.create_subscription
            make(StateChange, f"{name}/states", shown.on_change, 100)
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
        """Show a StateChange."""
        words = [message.thing, message.attribute, message.old_value, message.new_value]
        thing, attribute, old, new = map(one_line, words)
        values = {
            "kind": "change",
            "thing": message.thing,
            "label": message.label,
            "attribute": message.attribute,
            "old": message.old_value,
            "new": message.new_value,
            "confidence": float(message.confidence),
        }
        text = f"{thing}: {attribute} {old} -> {new} (confidence {message.confidence:.2f})"
        self._show(values, [text], message.header.stamp, "bold")

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

    def _show(self, values: dict[str, Any], lines: list[str], stamp: Any, style: str) -> None:
        if self.ended.is_set():
            return
        if self._json:
            stamp_ns = int(stamp.sec) * _NS + int(stamp.nanosec)
            print(json.dumps({**values, "stamp_ns": stamp_ns}), flush=True)
        else:
            clock = time.strftime("%H:%M:%S")
            self._console.print(Text(f"{clock} " + "\n         ".join(lines), style))
            sys.stdout.flush()
        self._left -= 1
        if self._left == 0:
            self.ended.set()


main = Command("watch", add_arguments, run, description=__doc__, failed=1)

if __name__ == "__main__":
    sys.exit(main())
