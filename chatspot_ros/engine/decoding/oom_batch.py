"""A batch that halves, then answers one by one, where memory is full.

No text is passed on twice. Only a question that does not fit alone ends with an OutOfMemoryError.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chatspot_ros.engine.api import (
    Admission,
    Batch,
    OnReplyOf,
    OnTextOf,
    Question,
    Reply,
    ShouldStop,
    check_stop,
    for_index,
)
from chatspot_ros.engine.decoding.oom_recovery import (
    MemoryHolder,
    NewTextOnly,
    clear_tracebacks,
    log_out_of_memory,
    release_memory,
)
from chatspot_ros.engine.model_errors import OutOfMemoryError, is_out_of_memory, numbers


class _OomAdmission:
    """Questions in a batch that shrinks; an `api.Admission`."""

    def __init__(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None,
        should_stop: ShouldStop | None,
        on_reply: OnReplyOf | None,
        memory: Any,
        remember: bool,
    ) -> None:
        self._questions = questions
        self._hears = on_text is not None
        self._listeners = [NewTextOnly(for_index(on_text, k)) for k in range(len(questions))]
        self._should_stop, self._on_reply = should_stop, on_reply
        self._past, self._remember = memory, remember
        self._began_s = time.perf_counter()
        self._replies: dict[int, Reply] = {}
        # The admissions of the wrapped batch with their questions, and the questions that wait.
        self._parts: list[tuple[list[int], Admission]] = []
        self._first: Admission | None = None
        self.waiting: list[int] = []
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether all are answered, or one of them cannot be."""
        return self.error is not None or (
            not self.waiting and all(part.done for _, part in self._parts)
        )

    @property
    def live(self) -> int:
        """The number of questions being answered."""
        return sum(len(self._left(held)) for held, _ in self._parts)

    @property
    def memory(self) -> Any:
        """The KV-cache entries for the next turn."""
        return None if self._first is None else self._first.memory

    def ask(self, batch: Batch, indices: list[int]) -> None:
        """Admit some of the questions to a batch, from their beginning."""
        began_s = time.perf_counter()
        for index in indices:
            self._listeners[index].begin()

        def on_text(position: int, added: str) -> None:
            self._listeners[indices[position]](added)

        def on_reply(position: int, reply: Reply) -> None:
            reply = replace(reply, seconds=reply.seconds + began_s - self._began_s)
            self._replies[indices[position]] = reply
            if self._on_reply is not None:
                self._on_reply(indices[position], reply)

        part = batch.admit(
            [self._questions[index] for index in indices],
            on_text if self._hears else None,
            self._should_stop,
            on_reply,
            memory=self._past,
            remember=self._remember and 0 in indices,
        )
        self._parts.append((indices, part))
        if 0 in indices:
            self._first = part

    def look(self) -> OutOfMemoryError | None:
        """Collect ended parts; return the error of one that ran out of memory."""
        short: OutOfMemoryError | None = None
        for part in list(self._parts):
            if not part[1].done:
                continue
            try:
                part[1].result()
            except OutOfMemoryError as error:
                short = error
            except Exception as error:
                self.error = self.error or error
            else:
                self._parts.remove(part)
        return short

    def take_back(self) -> list[int]:
        """Take the unanswered questions out of the batch to wait; return their indices."""
        taken = [index for held, _ in self._parts for index in self._left(held)]
        for _, part in self._parts:
            part.leave()
        self._parts.clear()
        self.waiting = sorted({*taken, *self.waiting})
        return taken

    def check(self) -> None:
        """Call `should_stop` for the waiting questions."""
        if self.waiting and self.error is None:
            try:
                check_stop(self._should_stop)
            except Exception as error:
                self.error = error

    def leave(self) -> None:
        """End the unfinished questions."""
        self.waiting.clear()
        for _, part in self._parts:
            part.leave()

    def result(self) -> list[Reply]:
        """Return the replies in order. Raises the error of the first that was stopped or failed."""
        if self.error is not None:
            raise self.error
        return [self._replies[index] for index in range(len(self._questions))]

    def _left(self, held: list[int]) -> list[int]:
        return [index for index in held if index not in self._replies]


class OomBatch:
    """A batch that answers fewer questions at a time when the device's memory is full."""

    def __init__(self, batch: Batch, holder: MemoryHolder) -> None:
        self._batch, self._holder = batch, holder
        self._asked: list[_OomAdmission] = []
        # Questions at a time; None: no limit.
        self._most: int | None = None

    @property
    def merges(self) -> bool:
        """Whether further questions are cheaper in this batch than after it."""
        return self._most is None and self._batch.merges

    @property
    def live(self) -> int:
        """The number of questions being answered or waiting for room."""
        return sum(one.live + len(one.waiting) for one in self._asked if not one.done)

    def admit(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
        memory: Any = None,
        remember: bool = False,
    ) -> Admission:
        """Take questions in; see `api.Batch`."""
        asked = _OomAdmission(questions, on_text, should_stop, on_reply, memory, remember)
        asked.ask(self._batch, list(range(len(questions))))
        self._asked.append(asked)
        if self._most is not None:
            asked.take_back()
        return asked

    def step(self) -> None:
        """Decode a token of every question that has room."""
        full: OutOfMemoryError | None = None
        try:
            self._batch.step()
        except Exception as error:
            if not isinstance(error, OutOfMemoryError) and not is_out_of_memory(error):
                raise
            full = _as_ours(error)
        for one in self._asked:
            full = one.look() or full
        if full is not None:
            self._shrink(full)
        self._asked = [one for one in self._asked if not one.done]
        if self._most is not None:
            self._fill(self._most)
        if not self._asked:
            self._most = None

    def _shrink(self, error: OutOfMemoryError) -> None:
        """Take all questions back, free memory, and continue with half of them, then with one."""
        log_out_of_memory(error, "answering fewer questions at a time")
        clear_tracebacks(error)
        taken = [(one, one.take_back()) for one in self._asked if one.error is None]
        count = sum(len(indices) for _, indices in taken)
        if self._most == 1:
            for one, indices in taken:
                if indices:
                    one.error = error
        self._most = -(-count // 2) if self._most is None else 1
        release_memory(self._holder)

    def _fill(self, most: int) -> None:
        for one in self._asked:
            one.check()
            while one.waiting and one.error is None and sum(a.live for a in self._asked) < most:
                try:
                    one.ask(self._batch, [one.waiting.pop(0)])
                # Its second look may not fit, or its caller gives up: the others go on.
                except Exception as error:
                    one.error = error


def _as_ours(error: Exception) -> OutOfMemoryError:
    if isinstance(error, OutOfMemoryError):
        return error
    return OutOfMemoryError(
        "the device ran out of memory while it had to answer", value=numbers(str(error)),
        remedy="ask fewer or shorter questions at a time, or use a smaller model",
    )  # fmt: skip
