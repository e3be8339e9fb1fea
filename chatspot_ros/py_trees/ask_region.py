"""A behaviour that asks the region query node; those that judge its answers are made of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import py_trees
from py_trees.common import Access, Status

from chatspot_ros.errors import RequestError
from chatspot_ros.operators.client import OK, UNREACHABLE, Ask, AskedQuestion, OperatorClient, Reply

# A question; the key of one on the blackboard; or what returns one at each look, None while there
# is none yet (such as before a newer picture).
AskSource = Ask | str | Callable[[], Ask | None]
IfUnsure = Literal["look_again", "fail"]
# Of what a later look may find differently.
_PASSING = ("NO_IMAGE", "STALE_IMAGE", "FRAME_EXPIRED", "BUSY", "TIMEOUT", UNREACHABLE)


class AskRegion(py_trees.behaviour.Behaviour):
    """Asks a question about regions: RUNNING while asked, SUCCESS with certain answers.

    The result, a chatspot_ros.action.AskRegion.Result as the node sent it, is written to the
    blackboard; for a FAILURE too, where there is one. FAILURE where the node is missing, ends, or
    refuses, where an answer is not certain (see `if_unsure`), and after `timeout_s`; then
    `feedback_message` has the reason. A tick returns at once. Where a tree stops the behaviour
    (INVALID), or the time runs out, the node is told to stop, too.

    One `client`, such as a RosOperatorClient, may serve all behaviours of a tree.

    Args:
        name: the behaviour's name.
        client: asks the node; its owner closes it.
        ask: the question, or where it comes from. With a fixed stamp, it sees one picture.
        result_key: where the result stands on the blackboard.
        timeout_s: the longest time from the first tick to the end, all looks together.
        if_unsure: `look_again`: ask anew, about the newest picture where `ask` has no stamp,
            when an answer is uncertain or the node cannot answer just now, a missing one
            included; `fail`: FAILURE.
        looks: how often at most it is asked, with `look_again`.
    """

    def __init__(
        self,
        name: str,
        client: OperatorClient,
        ask: AskSource,
        *,
        result_key: str = "region_result",
        timeout_s: float = 60.0,
        if_unsure: IfUnsure = "fail",
        looks: int = 3,
    ) -> None:
        """Raises RequestError: `timeout_s` not positive, `looks` below 1, `if_unsure` unknown."""
        super().__init__(name)
        if not timeout_s > 0:
            raise RequestError("timeout_s is a positive number of seconds", value=timeout_s,
                               remedy="leave it out for 60")  # fmt: skip
        if looks < 1:
            raise RequestError("looks is 1 or more", value=looks, remedy="1 asks once")
        if if_unsure not in ("look_again", "fail"):
            raise RequestError("if_unsure is unknown", value=if_unsure,
                               remedy="use look_again or fail")  # fmt: skip
        self._client = client
        self._source = ask
        self._timeout_s = timeout_s
        self._looks = looks if if_unsure == "look_again" else 1
        self.result_key = result_key
        self.board = self.attach_blackboard_client()
        self.board.register_key(result_key, access=Access.WRITE)
        if isinstance(ask, str):
            self.board.register_key(ask, access=Access.READ)
        self._asked: _Asked | None = None
        self._looked = 0
        self._until_s = 0.0

    # --- what py_trees calls

    def initialise(self) -> None:
        """Begin anew."""
        self._drop()
        self._looked = 0
        self.board.unset(self.result_key)  # an old result is never taken for a new one
        self._until_s = time.monotonic() + self._timeout_s
        self.feedback_message = "asking"

    def update(self) -> Status:
        """Ask, or look whether the reply has come; return at once."""
        if self._asked is not None and (reply := self._asked.reply) is not None:
            self._asked = None
            return self._judge(reply)
        if time.monotonic() > self._until_s:
            self._drop()
            return self.fail(f"no answer in {self._timeout_s:g} s; {self.feedback_message}")
        if self._asked is None:
            self._begin()
        elif text := self._asked.text:
            self.feedback_message = f"it says: {text}"
        return Status.RUNNING

    def terminate(self, new_status: Status) -> None:
        """Tell the node to stop, where the tree stops this behaviour."""
        self._drop()

    # --- for the behaviours that judge the answers

    def complete(self, ask: Ask) -> Ask:
        """Return the question as it is asked."""
        return ask

    def judge(self, answers: Sequence[Any]) -> tuple[Status, str]:
        """Return SUCCESS or FAILURE, and why, for these certain answers (RegionAnswer)."""
        return Status.SUCCESS, "; ".join(answer.text for answer in answers)

    def unsure(self, answers: Sequence[Any]) -> str:
        """Return why these answers are not certain; empty if they are."""
        doubtful = [one.text or "(no text)" for one in answers if one.uncertain or one.truncated]
        return f"not sure of: {'; '.join(doubtful)}" if doubtful else ""

    def fail(self, why: str) -> Status:
        """Return FAILURE, with the reason as the feedback message."""
        self.feedback_message = why
        return Status.FAILURE

    # --- within

    def _begin(self) -> None:
        ask = self._find_ask()
        if ask is None:
            self.feedback_message = "waiting for a picture to ask about"
            return
        self._looked += 1
        self._asked = _Asked(self._client, self.complete(ask))

    def _find_ask(self) -> Ask | None:
        if isinstance(self._source, Ask):
            return self._source
        if callable(self._source):
            return self._source()
        found = self.board.get(self._source) if self.board.exists(self._source) else None
        if found is not None and not isinstance(found, Ask):
            raise RequestError(
                f"the blackboard has no question at {self._source!r}", value=type(found).__name__,
                remedy="write an Ask of chatspot_ros.operators.client there",
            )  # fmt: skip
        return found

    def _judge(self, reply: Reply) -> Status:
        if reply.result is not None:
            self.board.set(self.result_key, reply.result)
        answers = list(reply.result.answers) if reply.result is not None else []
        if reply.status != OK or not answers:
            why = reply.message or "no answers came"
            passes = reply.status in _PASSING
            return self._doubt(f"{reply.status}: {why}") if passes else self.fail(
                f"{reply.status}: {why}"
            )  # fmt: skip
        if doubt := self.unsure(answers):
            return self._doubt(doubt)
        status, self.feedback_message = self.judge(answers)
        return status

    def _doubt(self, why: str) -> Status:
        if self._looked >= self._looks:
            times = f" ({self._looked} looks)" if self._looks > 1 else ""
            return self.fail(f"{why}{times}")
        self.feedback_message = f"looking again: {why}"
        return Status.RUNNING

    def _drop(self) -> None:
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None


class _Asked:
    """A question on its way, filled by the client's thread. A dropped one is never heard again."""

    def __init__(self, client: OperatorClient, ask: Ask) -> None:
        self.reply: Reply | None = None
        self._texts: dict[int, str] = {}
        self._lock = threading.Lock()
        self._question: AskedQuestion = client.ask(ask, self._on_text, self._on_reply)

    @property
    def text(self) -> str:
        """What has been said so far."""
        with self._lock:
            return "; ".join(self._texts[k].strip() for k in sorted(self._texts))

    def cancel(self) -> None:
        """Have the node stop."""
        self._question.cancel()

    def _on_text(self, index: int, text: str) -> None:
        with self._lock:
            self._texts[index] = self._texts.get(index, "") + text

    def _on_reply(self, reply: Reply) -> None:
        self.reply = reply
