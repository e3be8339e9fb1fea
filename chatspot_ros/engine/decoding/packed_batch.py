"""Many questions about one picture at once, as branches over one shared prefix.

The questions stand behind each other in a single sequence under a mask that lets every token see
the prefix and its own branch alone, each counted from the end of the prefix on. So the prefix's
keys and values are there once, whatever the number of questions, and nothing is padded
(docs/adr/0007). What questions that come together begin with is there once too, as their stem.
Between any two steps branches may come and go (docs/adr/0011).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from chatspot_ros.engine.decoding.cuda_graphs import StaticSteps
from chatspot_ros.engine.decoding.kv_cache import Columns
from chatspot_ros.engine.decoding.sequence import Branch, take
from chatspot_ros.engine.decoding.tree_mask import Owners, Row
from chatspot_ros.engine.model_errors import ModelFailure
from chatspot_ros.errors import ChatspotError

if TYPE_CHECKING:
    from chatspot_ros.engine.models.runner import Runner

# The mask has rows x columns numbers: longer packs are read in pieces of whole branches.
MAX_PACKED_TOKENS = 2048
# Columns of finished branches are dropped from the cache once they are this share of it.
COMPACT_SHARE = 0.25
# Room made for columns to come, as a share of those that are there.
GROW_SHARE = 0.25


class Pack:
    """The sequence behind a prefix. Call it inside torch.inference_mode."""

    merges = True

    def __init__(
        self, runner: Runner, home: DynamicCache, recorded: StaticSteps | None = None
    ) -> None:
        """`home` is the scene's cache of the prefix, which stays as it is.

        Where `recorded` has a shape for all branches, their steps are done by it.
        """
        self._model, self._home, self._end_ids = runner.model, home, runner.end_ids
        self._device, self._dtype = runner.device, runner.dtype
        self._owners = Owners(runner.dtype, runner.device)
        self._recorded, self._replays = recorded, False
        self._numbers = itertools.count()
        self._branches: list[Branch] = []
        self._columns: Columns | None = None
        # Whether columns belong to nobody any more.
        self._some_left = False

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
        going_on = [branch for branch in self._branches if not branch.done]
        self._some_left |= len(going_on) < len(self._branches)
        self._branches = going_on
        if not self._branches and self._columns is not None:
            self._columns.leave()
            self._columns, self._owners = None, Owners(self._dtype, self._device)
            if self._recorded is not None and self._replays:
                self._recorded.end()
            self._replays = False

    def _read(self, piece: list[Branch]) -> torch.Tensor:
        """Read what each branch has not read; return the logits behind it, (branches, words)."""
        with ModelFailure("answer"):
            recorded, columns = self._recorded, self._columns
            if (
                recorded is not None
                and columns is not None
                and self._can_replay(recorded, columns, piece)
            ):
                return self._replay(recorded, columns.prefix, piece)
            self._fetch()
            return self._pass(piece)

    def _pass(self, piece: list[Branch]) -> torch.Tensor:
        """A forward pass of the model as it is."""
        rows = self._rows(piece)
        columns = self._make_room(sum(len(row.ids) for row in rows), piece)
        for branch in piece:
            if branch.past is not None:
                columns.insert(branch.past, branch.read)
                self._owners.add([branch.number] * branch.read)
                branch.past = None
            branch.read += len(branch.unread)
        self._owners.add([row.number for row in rows for _ in row.ids])
        ends = torch.tensor([len(row.ids) for row in rows]).cumsum(0) - 1
        # A lone sequence needs no mask, and attention is faster without.
        alone = len(rows) == 1 and self._owners.are_all(rows[0].number)
        out = self._model(
            input_ids=torch.tensor([[i for row in rows for i in row.ids]], device=self._device),
            past_key_values=columns.cache,
            use_cache=True,
            # A stem, which comes first, says nothing.
            logits_to_keep=ends[-len(piece) :].to(self._device),
            **({} if alone else self._masked(rows, columns.prefix)),
        )
        logits: torch.Tensor = out.logits[0]
        return logits

    def _rows(self, piece: list[Branch]) -> list[Row]:
        """What is read: the unread tokens of each branch, before them what new ones begin with."""
        for branch in piece:
            if branch.past is not None:
                branch.read = branch.past.known(branch.ids)
                branch.past = branch.past if branch.read else None
        new = [branch for branch in piece if not branch.read]
        stem = _common_beginning([branch.ids for branch in new])
        rows = []
        if stem:
            rows.append(Row(next(self._numbers), -1, stem, 0))
            for branch in new:
                branch.stem, branch.read = rows[0].number, len(stem)
        return rows + [Row(one.number, one.stem, one.unread, one.read) for one in piece]

    def _masked(self, rows: list[Row], prefix: int) -> dict[str, torch.Tensor]:
        """What each new token sees, and where it stands: attention_mask (1, 1, new, columns),
        position_ids (1, new)."""
        places = [prefix + row.begin + k for row in rows for k in range(len(row.ids))]
        return {
            "attention_mask": self._owners.mask(rows, prefix)[None, None],
            "position_ids": torch.tensor([places], device=self._device),
        }

    def _make_room(self, need: int, piece: list[Branch]) -> Columns:
        """Make room for columns to come; drop those of ended branches when they are many."""
        if self._columns is None:
            self._columns = Columns(self._home)
        columns, used = self._columns, len(self._owners)
        need += sum(branch.read for branch in piece if branch.past is not None)
        fits = columns.prefix + used + need <= columns.capacity
        if fits and not self._some_left:
            return columns
        self._some_left = False
        mine = [number for one in self._branches for number in (one.number, one.stem)]
        kept = self._owners.of(mine)
        if not fits or used - len(kept) > COMPACT_SHARE * (columns.prefix + used):
            self._owners.keep(kept)
            there = columns.prefix + len(kept) + need
            # Answers may be far shorter than their limits: these only bound the room.
            most = sum(
                one.limit - 1 - len(one.answer) + (0 if one in piece else len(one.ids))
                for one in self._branches
            )
            columns.resize(kept, need + min(most, int(GROW_SHARE * there)))
        return columns

    def _remember(self, branch: Branch) -> None:
        if branch.remember and branch.error is None and self._columns is not None:
            self._fetch()
            columns = self._owners.of([branch.number, branch.stem])
            ids = tuple([*branch.ids, *branch.answer][: len(columns)])
            branch.memory = self._columns.copy_out(columns, ids)

    def _can_replay(self, recorded: StaticSteps, columns: Columns, piece: list[Branch]) -> bool:
        """Whether recorded steps serve these branches; where they begin, they get the columns."""
        if any(branch.read < len(branch.ids) for branch in piece):
            return False
        if not self._replays:
            more = sum(branch.limit - len(branch.answer) for branch in piece)
            self._replays = recorded.begin(columns.cache, more, len(piece), give_way=self._fetch)
        return self._replays and len(piece) <= recorded.rows

    def _replay(self, recorded: StaticSteps, prefix: int, piece: list[Branch]) -> torch.Tensor:
        """The next token of each branch, in a recorded step."""
        rows = [Row(one.number, one.stem, one.unread, one.read) for one in piece]
        self._owners.add([row.number for row in rows])
        for branch in piece:
            branch.read += 1
        places = torch.tensor([prefix + row.begin for row in rows])
        seen = torch.nn.functional.pad(self._owners.seen(rows), (prefix, 0), value=True)
        return recorded.step([row.ids[0] for row in rows], places, seen)

    def _fetch(self) -> None:
        """Take back the columns that recorded steps have written, and go on without those."""
        if self._recorded is None or not self._replays or self._columns is None:
            return
        new = self._recorded.written()
        count = new[0][0].shape[-2]
        if self._columns.prefix + len(self._owners) > self._columns.capacity:
            self._columns.resize(torch.arange(len(self._owners) - count), count)
        self._columns.append(new)
        self._recorded.end()
        self._replays = False


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


def _common_beginning(texts: list[list[int]]) -> list[int]:
    """What several texts begin with, less than the shortest of them; nothing of a single one."""
    if len(texts) < 2:
        return []
    shortest = min(map(len, texts)) - 1
    first, last = min(texts), max(texts)
    # What the first and the last in order have in common, all have.
    same = (k for k in range(shortest) if first[k] != last[k])
    return first[: next(same, shortest)]
