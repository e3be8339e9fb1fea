"""Many questions about one picture at once, as branches over one shared prefix.

The questions stand behind each other in a single sequence under a mask that lets every token see
the prefix and its own branch alone, each counted from the end of the prefix on. So the prefix's
keys and values are there once, whatever the number of questions, and nothing is padded
(docs/adr/0007). Between any two steps branches may come and go (docs/adr/0011).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from chatspot_ros.engine.api import ShouldStop
from chatspot_ros.engine.decoding import Constraint, Decoded, OnIds, check_stop, constrain
from chatspot_ros.engine.failures import ModelFailure
from chatspot_ros.engine.growing import Columns, Memory
from chatspot_ros.errors import CancelledError, ChatspotError, ModelError

if TYPE_CHECKING:
    from chatspot_ros.engine.runner import Runner

# The mask has rows x columns numbers: longer packs are read in pieces of whole branches.
MAX_PACKED_TOKENS = 2048
# Columns of finished branches are dropped from the cache once they are this share of it.
COMPACT_SHARE = 0.25
# Room made for columns to come, as a share of those that are there.
GROW_SHARE = 0.125


@dataclass(eq=False)
class Branch:
    """One question behind the prefix: its ids, and what came of it.

    `error` is set where it was stopped or failed; its answer is then not complete. With a
    `constraint` the answer is the likeliest of those that it allows. What `past` knows of the ids
    is not read again; with `remember`, `memory` is what the next turn can go on from.
    """

    ids: list[int]
    limit: int
    on_ids: OnIds | None = None
    should_stop: ShouldStop | None = None
    on_done: Callable[[], None] | None = None
    constraint: Constraint | None = None
    past: Memory | None = None
    remember: bool = False
    answer: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    truncated: bool = False
    done: bool = False
    error: Exception | None = None
    memory: Memory | None = None
    # Which columns of a pack are its own, and how many tokens it has there.
    number: int = -1
    read: int = 0

    @property
    def decoded(self) -> Decoded:
        """The answer."""
        return Decoded(self.answer, self.log_probabilities, self.truncated)

    @property
    def unread(self) -> list[int]:
        """The tokens that the model has to read next."""
        return self.ids[self.read :] if self.read < len(self.ids) else self.answer[-1:]

    def fail(self, error: Exception) -> None:
        """End it, unless it has ended."""
        if not self.done:
            self.error, self.done = error, True

    def goes_on(self) -> bool:
        """Whether it has not ended; asks whether it should."""
        if not self.done:
            try:
                check_stop(self.should_stop)
            except Exception as error:
                self.fail(error)
        return not self.done

    def leave(self) -> None:
        """End it because nobody waits for it any more."""
        self.fail(CancelledError("the answer was given up", value="a cancel", remedy="ask again"))

    def say(self, token: int, log_probability: float, end_ids: frozenset[int]) -> None:
        """Go on with a token, or end with it."""
        if token in end_ids:
            self.done = True
            return
        self.answer.append(token)
        self.log_probabilities.append(log_probability)
        if self.on_ids is not None:
            self.on_ids(self.answer)
        self.done = self.truncated = len(self.answer) >= self.limit

    def finish(self) -> None:
        """Hand a complete answer on."""
        if self.error is None and self.on_done is not None:
            try:
                self.on_done()
            except Exception as error:
                self.error = error


def take(live: list[Branch], logits: torch.Tensor, end_ids: frozenset[int]) -> None:
    """Give every branch its likeliest token, from logits (branches, vocabulary).

    What fails for one branch (numbers that are not finite, a listener) ends that one alone.
    Raises ModelError where the device fails.
    """
    with ModelFailure("answer"):
        logits = logits.float()
        allowed = constrain(logits, [(branch.constraint, branch.answer) for branch in live])
        best, index = allowed.max(dim=-1)
        # One transfer from the device for all numbers of all branches.
        rows = torch.stack([torch.logsumexp(logits, -1), best, index.to(best.dtype)], 1).tolist()
    for branch, (total, top, token) in zip(live, rows, strict=True):
        if not (abs(total) < float("inf") and abs(top) < float("inf")):
            branch.fail(_not_finite(top))
            continue
        try:
            branch.say(int(token), min(0.0, top - total), end_ids)
        except Exception as error:  # a listener's, which must not end the others
            branch.fail(error)


def _not_finite(top: float) -> ModelError:
    return ModelError(
        "the model computed numbers that are not finite",
        value=f"logits up to {top}",
        remedy="use dtype bfloat16 or float32; if it stays, the weights are damaged",
    )


class Pack:
    """The sequence behind a prefix. Call it inside torch.inference_mode."""

    merges = True

    def __init__(self, runner: Runner, home: DynamicCache) -> None:
        """`home` is the scene's cache of the prefix, which stays as it is."""
        self._model, self._home, self._end_ids = runner.model, home, runner.end_ids
        self._device, self._dtype = runner.device, runner.dtype
        self._numbers = itertools.count()
        self._branches: list[Branch] = []
        self._columns: Columns | None = None
        # Which branch each column behind the prefix belongs to.
        self._owners = torch.zeros(0, dtype=torch.long)

    @property
    def live(self) -> int:
        """How many branches go on."""
        return sum(not branch.done for branch in self._branches)

    @property
    def nbytes(self) -> int:
        """How many bytes its keys and values take, the prefix included; 0 when nothing is there."""
        return 0 if self._columns is None else self._columns.nbytes

    def admit(self, branch: Branch) -> None:
        """Take a branch in; it is read in the next step."""
        branch.number = next(self._numbers)
        self._branches.append(branch)

    def step(self) -> None:
        """One more token for every branch; new ones read their question and give their first.

        New ones beyond MAX_PACKED_TOKENS wait for the next step. A branch that ends, fails or is
        stopped leaves the others as they are; a failure of the model ends all, with its error.
        """
        live = [branch for branch in self._branches if branch.goes_on()]
        piece = _piece(live)
        if piece:
            try:
                take(piece, self._read(piece), self._end_ids)
            except ChatspotError as error:
                for branch in live:
                    branch.fail(error)
            for branch in piece:
                if branch.done:
                    self._remember(branch)
                    branch.finish()
        self.tidy()

    def tidy(self) -> None:
        """Forget the branches that have ended; when none is left, their columns too."""
        self._branches = [branch for branch in self._branches if not branch.done]
        if not self._branches and self._columns is not None:
            self._columns.leave()
            self._columns, self._owners = None, torch.zeros(0, dtype=torch.long)

    def _read(self, piece: list[Branch]) -> torch.Tensor:
        """Read what each branch has not read; return the logits behind it, (branches, words)."""
        for branch in piece:
            if branch.past is not None and not branch.read:
                branch.read = branch.past.known(branch.ids)
        texts = [branch.unread for branch in piece]
        columns = self._make_room(sum(map(len, texts)), piece)
        for branch in piece:
            if branch.past is not None:
                if branch.read:
                    columns.insert(branch.past, branch.read)
                    own = torch.full((branch.read,), branch.number)
                    self._owners = torch.cat([self._owners, own])
                branch.past = None
        lengths = torch.tensor([len(text) for text in texts])
        owners = torch.tensor([branch.number for branch in piece]).repeat_interleave(lengths)
        positions = [torch.arange(branch.read, branch.read + len(text))
                     for branch, text in zip(piece, texts, strict=True)]  # fmt: skip
        before = len(self._owners)
        self._owners = torch.cat([self._owners, owners])
        with ModelFailure("answer"):
            out = self._model(
                input_ids=torch.tensor([[i for text in texts for i in text]], device=self._device),
                attention_mask=self._mask(owners, before, columns.prefix),
                position_ids=(columns.prefix + torch.cat(positions))[None].to(self._device),
                past_key_values=columns.cache,
                use_cache=True,
                logits_to_keep=(lengths.cumsum(0) - 1).to(self._device),
            )
        for branch, text in zip(piece, texts, strict=True):
            branch.read += len(text)
        logits: torch.Tensor = out.logits[0]
        return logits

    def _mask(self, owners: torch.Tensor, before: int, prefix: int) -> torch.Tensor:
        """What each new token sees, (1, 1, new, columns): the prefix and its own branch so far."""
        own = self._owners[None] == owners[:, None]
        new = before + torch.arange(len(owners))
        seen = own & (torch.arange(len(self._owners))[None] <= new[:, None])
        mask = torch.zeros(len(owners), prefix + len(self._owners))
        mask[:, prefix:].masked_fill_(~seen, torch.finfo(self._dtype).min)
        return mask[None, None].to(self._device, self._dtype)

    def _make_room(self, need: int, piece: list[Branch]) -> Columns:
        """Make room for columns to come; drop those of ended branches when they are many."""
        if self._columns is None:
            self._columns = Columns(self._home)
        columns, used = self._columns, len(self._owners)
        need += sum(branch.read for branch in piece if branch.past is not None)
        kept = torch.isin(self._owners, torch.tensor([one.number for one in self._branches]))
        many = used - int(kept.sum()) > COMPACT_SHARE * (columns.prefix + used)
        if many or columns.prefix + used + need > columns.capacity:
            self._owners = self._owners[kept]
            there = columns.prefix + len(self._owners) + need
            # Answers may be far shorter than their limits: these only bound the room.
            most = sum(
                one.limit - 1 - len(one.answer) + (0 if one in piece else len(one.ids))
                for one in self._branches
            )
            columns.resize(kept.nonzero()[:, 0], need + min(most, int(GROW_SHARE * there)))
        return columns

    def _remember(self, branch: Branch) -> None:
        if branch.remember and branch.error is None and self._columns is not None:
            own = (self._owners == branch.number).nonzero()[:, 0]
            ids = tuple([*branch.ids, *branch.answer][: len(own)])
            branch.memory = self._columns.copy_out(own, ids)


def _piece(live: list[Branch]) -> list[Branch]:
    """All branches that have begun, and as many new ones as fit; at least one."""
    piece = [branch for branch in live if branch.read]
    tokens = len(piece)
    for branch in live:
        if not branch.read:
            if piece and tokens + len(branch.ids) > MAX_PACKED_TOKENS:
                break
            piece.append(branch)
            tokens += len(branch.ids)
    return piece
