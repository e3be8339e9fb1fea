"""Dialogues about many images: several requests at a time, each reply checked and written."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from chatspot_train.data.records import RecordTurn
from chatspot_train.data.region_chat.annotations import Annotated, Annotations
from chatspot_train.data.region_chat.journal import Journal
from chatspot_train.data.region_chat.llm_prompt import Wording
from chatspot_train.data.region_chat.reply_checks import Checked, check_reply
from chatspot_train.data.sources.conversion_report import ENTRY_ERRORS, explain
from chatspot_train.openai_client import AskError, ChatClient, EndpointError, UnreachableError

# The run stops after this many requests in a row without a connection.
_MOST_UNREACHABLE = 10


@dataclass
class Tally:
    """The counts of a run. Prices are in US dollars per million tokens; 0: unknown."""

    price_in: float = 0.0
    price_out: float = 0.0
    dialogues: int = 0
    turns: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def cost_usd(self) -> float:
        """The cost of all tokens in US dollars."""
        return (self.tokens_in * self.price_in + self.tokens_out * self.price_out) / 1e6

    def postfix(self) -> dict[str, object]:
        """Return the values shown after the progress bar."""
        shown: dict[str, object] = {
            "turns": self.turns, "failed": self.failed.total(),
            "tokens": f"{self.tokens_in:,}+{self.tokens_out:,}",
        }  # fmt: skip
        if self.price_in or self.price_out:
            shown["cost"] = f"${self.cost_usd:.2f}"
        return shown

    def to_dict(self) -> dict[str, Any]:
        """Return all counts as JSON values, the most frequent reason first."""
        return {
            "dialogues": self.dialogues, "turns": self.turns, "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out, "cost_usd": round(self.cost_usd, 6),
            "failed": dict(self.failed.most_common()),
            "dropped": dict(self.dropped.most_common()),
        }  # fmt: skip


class Writer:
    """Writes dialogues about annotated images with a language model."""

    def __init__(
        self,
        annotations: Annotations,
        wording: Wording,
        asker: ChatClient,
        journal: Journal,
        tally: Tally,
    ) -> None:
        self._annotations, self._wording = annotations, wording
        self._asker, self._journal, self.tally = asker, journal, tally
        self._unreachable = 0

    async def run(self, limit: int | None, concurrency: int, progress: bool = True) -> None:
        """Write dialogues for the first `limit` images (None: all) that are not done.

        Sends `concurrency` requests at a time. Raises EndpointError where the endpoint is
        unusable. Writes `report.json` also for a stopped run.
        """
        wanted = self._annotations[:limit]
        ids = [one for one in wanted if one not in self._journal.done]
        self._journal.begin(ids)
        todo = iter(ids)
        try:
            with tqdm(
                total=len(wanted), initial=len(wanted) - len(ids), desc="dialogues", unit="picture",
                disable=not progress,
            ) as bar:  # fmt: skip
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(concurrency, len(ids))):
                        group.create_task(self._work(todo, bar))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._report(len(wanted))

    async def _work(self, todo: Iterator[str], bar: tqdm[Any]) -> None:
        for picture_id in todo:
            try:
                await self._write_one(picture_id)
            except AskError as error:
                self._fail(picture_id, error.reason, error.detail)
                self._count_unreachable(error)
            except ENTRY_ERRORS as error:
                self._fail(picture_id, *explain(error))
            bar.update()
            bar.set_postfix(self.tally.postfix())

    async def _write_one(self, picture_id: str) -> None:
        def on_fault(where: str, error: Exception) -> None:
            self._drop(picture_id, where, *explain(error))

        picture = self._annotations.read(picture_id, on_fault)
        reply = await self._asker.ask(self._wording.messages(picture))
        self._unreachable = 0
        self.tally.tokens_in += reply.tokens_in
        self.tally.tokens_out += reply.tokens_out
        checked = check_reply(reply.text, picture)
        for fault in checked.faults:
            where = "reply" if fault.turn is None else f"turn {fault.turn}"
            self._drop(picture_id, where, fault.reason.value, fault.detail)
        if not checked.turns:
            self._fail(picture_id, *_why_nothing(checked, reply.cut_off))
            return
        self._journal.finish(to_line(picture, checked.turns))
        self.tally.dialogues += 1
        self.tally.turns += len(checked.turns)

    def _fail(self, picture_id: str, reason: str, detail: str) -> None:
        self._journal.fail(picture_id, reason, detail)
        self.tally.failed[reason] += 1

    def _drop(self, picture_id: str, where: str, reason: str, detail: str) -> None:
        self._journal.drop(picture_id, where, reason, detail)
        self.tally.dropped[reason] += 1

    def _count_unreachable(self, error: AskError) -> None:
        self._unreachable = self._unreachable + 1 if isinstance(error, UnreachableError) else 0
        if self._unreachable >= _MOST_UNREACHABLE:
            raise EndpointError(
                f"{_MOST_UNREACHABLE} requests in a row got no connection ({error.detail})",
                value=self._asker.endpoint,
                remedy="check --endpoint and that its server runs; what is done is kept",
            )

    def _report(self, wanted: int) -> None:
        about = {
            "model": self._asker.model, "endpoint": self._asker.endpoint, "pictures": wanted,
            "done": len(self._journal.done), "this_run": self.tally.to_dict(),
        }  # fmt: skip
        text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
        (self._journal.folder / "report.json").write_text(text, encoding="utf-8")


def to_line(picture: Annotated, turns: tuple[RecordTurn, ...]) -> dict[str, Any]:
    """Return a dialogue as data.sources.region_chat reads it, regions in pixels."""
    return {
        "id": picture.id, "image": picture.image, "width": picture.width, "height": picture.height,
        "turns": [
            {"question": turn.question, "answer": turn.answer,
             "regions": [[list(point) for point in region.points_px] for region in turn.regions]}
            for turn in turns
        ],
    }  # fmt: skip


def _why_nothing(checked: Checked, cut_off: bool) -> tuple[str, str]:
    """Return the reason and detail of a reply without an accepted turn."""
    first = checked.faults[0]
    if cut_off:
        return "the reply is longer than max_tokens; raise it in the --seeds file", first.detail
    if first.turn is None:
        return first.reason.value, first.detail
    return "no turn can be taken", f"the first: {first.reason}: {first.detail}"
