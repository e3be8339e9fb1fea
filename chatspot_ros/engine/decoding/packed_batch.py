"""Many questions about one picture at once, as sequences over one shared prefix.

The sequences stand behind each other in one row under a tree mask: every token attends to the
prefix and its own sequence alone, with positions counted from the end of the prefix. So the
prefix's keys and values exist once, whatever the number of questions, and nothing is padded
(docs/adr/0007). The common beginning of questions that come together exists once too, as their
stem. Between any two steps sequences may come and go (docs/adr/0011).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from chatspot_ros.engine.choice_scores import MAX_SCORED_TOKENS
from chatspot_ros.engine.decoding.cuda_graphs import CudaGraphSteps
from chatspot_ros.engine.decoding.kv_cache import PackedCache
from chatspot_ros.engine.decoding.sequence import TokenSequence, take
from chatspot_ros.engine.decoding.tree_mask import Row, TreeMask
from chatspot_ros.engine.model_errors import ModelFailure
from chatspot_ros.errors import ChatspotError

if TYPE_CHECKING:
    from chatspot_ros.engine.models.runner import Runner

# The mask has rows x columns numbers: longer batches are read in pieces of whole sequences.
MAX_PACKED_TOKENS = 2048
# PackedCache of finished sequences are dropped from the cache once they are this share of it.
COMPACT_SHARE = 0.25
# Stands for tokens that are never known again.
_UNKNOWN = -1
# Room for further columns, as a share of the present ones.
GROW_SHARE = 0.25


class PackedBatch:
    """The sequences behind a prefix. Call it inside torch.inference_mode."""

    merges = True

    def __init__(
        self, runner: Runner, home: DynamicCache, recorded: CudaGraphSteps | None = None
    ) -> None:
        """`home` is the scene's cache of the prefix, which stays unchanged.

        Where `recorded` has a shape for all sequences, it decodes their steps.
        """
        self._runner, self._model, self._home = runner, runner.model, home
        self._end_ids, self._image_token_id = runner.end_ids, runner.image_token_id
        self._device, self._dtype = runner.device, runner.dtype
        self._tree_mask = TreeMask(runner.dtype, runner.device)
        self._recorded, self._replays = recorded, False
        self._numbers = itertools.count()
        self._sequences: list[TokenSequence] = []
        self._columns: PackedCache | None = None
        # Whether columns of ended sequences remain.
        self._some_left = False

    @property
    def live(self) -> int:
        """The number of unfinished sequences."""
        return sum(not sequence.done for sequence in self._sequences)

    @property
    def nbytes(self) -> int:
        """The bytes of its keys and values, the prefix included; 0 without any."""
        return 0 if self._columns is None else self._columns.nbytes

    def admit(self, sequence: TokenSequence) -> None:
        """Add a sequence, to be read in the next step."""
        sequence.number = next(self._numbers)
        self._sequences.append(sequence)

    def step(self) -> None:
        """Decode a token of every sequence; new ones read their question first.

        New ones beyond MAX_PACKED_TOKENS wait for the next step. A sequence that ends, fails or is
        stopped leaves the others unchanged; a failure of the model ends all, with its error.
        """
        live = [sequence for sequence in self._sequences if sequence.goes_on()]
        piece = _piece(live)
        if piece:
            try:
                free = [one for one in piece if one.scores is None]
                take(free, self._read(piece), self._end_ids)
            except ChatspotError as error:
                for sequence in live:
                    sequence.fail(error)
            for sequence in piece:
                if sequence.done:
                    self._remember(sequence)
                    sequence.finish()
                elif sequence.begins_anew:
                    # Its columns stay behind, as those of an ended one.
                    sequence.number, sequence.stem = next(self._numbers), -1
                    sequence.begins_anew, self._some_left = False, True
        self.tidy()

    def tidy(self) -> None:
        """Drop the sequences that have ended; when none is left, their columns too."""
        going_on = [sequence for sequence in self._sequences if not sequence.done]
        self._some_left |= len(going_on) < len(self._sequences)
        self._sequences = going_on
        if not self._sequences and self._columns is not None:
            self._columns.leave()
            self._columns, self._tree_mask = None, TreeMask(self._dtype, self._device)
            if self._recorded is not None and self._replays:
                self._recorded.end()
            self._replays = False

    def _read(self, piece: list[TokenSequence]) -> torch.Tensor:
        """Read the unread tokens; return the logits behind each free answer, (sequences, words).

        Sequences that score given answers get theirs.
        """
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

    def _pass(self, piece: list[TokenSequence]) -> torch.Tensor:
        """Run a forward pass that is not recorded."""
        cuts = [one.cut for one in piece if one.cut is not None and one.read < len(one.ids)]
        points = [sequence.opens_box for sequence in piece]
        rows = self._rows(piece)
        columns = self._make_room(sum(len(row.ids) for row in rows), piece)
        for sequence in piece:
            if sequence.past is not None:
                columns.insert(sequence.past, sequence.read)
                self._tree_mask.add([sequence.number] * sequence.read)
                sequence.past = None
            sequence.read += len(sequence.unread)
        self._tree_mask.add([row.number for row in rows for _ in row.ids])
        ends = (torch.tensor([len(row.ids) for row in rows]).cumsum(0) - 1).tolist()
        wanted = _wanted(rows, ends, piece)
        # A lone sequence needs no mask, and attention is faster without.
        alone = len(rows) == 1 and self._tree_mask.are_all(rows[0].number)
        alone = alone and not self._moves(piece)
        out = self._model(
            input_ids=torch.tensor([[i for row in rows for i in row.ids]], device=self._device),
            past_key_values=columns.cache,
            use_cache=True,
            logits_to_keep=torch.tensor([k for ks in wanted for k in ks], device=self._device),
            **({"output_hidden_states": True} if any(points) else {}),
            **self._runner.cut_inputs(cuts),
            **({} if alone else self._masked(rows, columns.prefix)),
        )
        free: list[torch.Tensor] = []
        pieces = out.logits[0].split([len(ks) for ks in wanted])
        for sequence, opens, ks, logits in zip(piece, points, wanted, pieces, strict=True):
            if opens:
                sequence.point(out.hidden_states, ks[-1])
            if sequence.scores is not None:
                # The columns of its answers stay behind.
                self._some_left |= sequence.scores_next
                sequence.hear(logits)
            else:
                free.append(logits)
        return torch.cat(free) if free else out.logits[0][:0]

    def _rows(self, piece: list[TokenSequence]) -> list[Row]:
        """Return the unread tokens of each sequence; what new ones begin with alike comes first."""
        for sequence in piece:
            if sequence.past is not None:
                sequence.read = sequence.past.known(sequence.ids)
                sequence.past = sequence.past if sequence.read else None
        new = [sequence for sequence in piece if not sequence.read]
        # Cuts of different regions are the same tokens.
        stem = _common_beginning([self._before_cut(sequence) for sequence in new])
        rows = []
        if stem:
            rows.append(Row(next(self._numbers), -1, stem, 0))
            for sequence in new:
                sequence.stem, sequence.read = rows[0].number, len(stem)
        for one in piece:
            if one.scores is not None and one.scores_next:
                rows += [
                    Row(next(self._numbers), one.stem, text, one.read, one.number)
                    for text in one.scores.planned
                ]
            else:
                rows.append(Row(one.number, one.stem, one.unread, one.read))
        return rows

    def _before_cut(self, sequence: TokenSequence) -> list[int]:
        if sequence.cut is None:
            return sequence.ids
        return sequence.ids[: sequence.ids.index(self._image_token_id) + 1]

    def _masked(self, rows: list[Row], prefix: int) -> dict[str, torch.Tensor]:
        """Return each new token's attention_mask (1, 1, new, columns) and position_ids (1, new)."""
        places = [prefix + row.begin + k for row in rows for k in range(len(row.ids))]
        positions = torch.tensor([places], device=self._device)
        if (offsets := self._offsets(rows)) is not None:
            positions = positions + offsets
        return {
            "attention_mask": self._tree_mask.mask(rows, prefix)[None, None],
            "position_ids": positions,
        }

    def _offsets(self, rows: list[Row]) -> torch.Tensor | None:
        """Return how far positions lie from a causal model's, (3, 1, new); None: not at all."""
        if not self._moves(self._sequences):
            return None
        by_number = {one.number: one for one in self._sequences if one.cut is not None}
        offsets = []
        for row in rows:
            one = by_number.get(row.number, by_number.get(row.trunk))
            found = None if one is None or one.cut is None else self._runner.cut_offsets(
                one.cut, one.ids.index(self._image_token_id), row.begin, len(row.ids)
            )  # fmt: skip
            offsets += found or [(0, 0, 0)] * len(row.ids)
        return torch.tensor(offsets, device=self._device).T[:, None]

    def _moves(self, piece: list[TokenSequence]) -> bool:
        """Return whether a cut moves the positions of a sequence."""
        return self._runner.cuts_move_positions and any(one.cut is not None for one in piece)

    def _make_room(self, need: int, piece: list[TokenSequence]) -> PackedCache:
        """Make room for further columns; drop those of ended sequences when they are many."""
        if self._columns is None:
            self._columns = PackedCache(self._home)
        columns, used = self._columns, len(self._tree_mask)
        need += sum(sequence.read for sequence in piece if sequence.past is not None)
        fits = columns.prefix + used + need <= columns.capacity
        if fits and not self._some_left:
            return columns
        self._some_left = False
        mine = [number for one in self._sequences for number in (one.number, one.stem)]
        kept = self._tree_mask.of(mine)
        if not fits or used - len(kept) > COMPACT_SHARE * (columns.prefix + used):
            self._tree_mask.keep(kept)
            there = columns.prefix + len(kept) + need
            # Answers may be far shorter than their limits, which only bound the room.
            most = sum(
                one.limit - 1 - len(one.answer) + (0 if one in piece else len(one.ids))
                for one in self._sequences
            )
            columns.resize(kept, need + min(most, int(GROW_SHARE * there)))
        return columns

    def _remember(self, sequence: TokenSequence) -> None:
        if sequence.remember and sequence.error is None and self._columns is not None:
            self._fetch()
            columns = self._tree_mask.of([sequence.number, sequence.stem])
            said = [*sequence.ids, *sequence.answer][: len(columns)]
            # The next conversation may show another cut at the same place.
            ids = tuple(_UNKNOWN if i == self._image_token_id else i for i in said)
            sequence.memory = self._columns.copy_out(columns, ids)

    def _can_replay(
        self, recorded: CudaGraphSteps, columns: PackedCache, piece: list[TokenSequence]
    ) -> bool:
        """Return whether recorded steps can decode these sequences; hand them the columns first."""
        if any(len(one.unread) > 1 or one.opens_box or one.read < len(one.ids) for one in piece):
            return False
        if any(one.scores is not None for one in piece):
            return False
        if self._moves(piece):
            return False
        if not self._replays:
            more = sum(sequence.limit - len(sequence.answer) for sequence in piece)
            self._replays = recorded.begin(columns.cache, more, len(piece), give_way=self._fetch)
        return self._replays and len(piece) <= recorded.rows

    def _replay(
        self, recorded: CudaGraphSteps, prefix: int, piece: list[TokenSequence]
    ) -> torch.Tensor:
        """Return the logits behind each sequence by a recorded step."""
        rows = [Row(one.number, one.stem, one.unread, one.read) for one in piece]
        self._tree_mask.add([row.number for row in rows])
        for sequence in piece:
            sequence.read += 1
        places = torch.tensor([prefix + row.begin for row in rows])
        seen = torch.nn.functional.pad(self._tree_mask.seen(rows), (prefix, 0), value=True)
        return recorded.step([row.ids[0] for row in rows], places, seen)

    def _fetch(self) -> None:
        """Take back the columns that recorded steps have written, and end those steps."""
        if self._recorded is None or not self._replays or self._columns is None:
            return
        new = self._recorded.written()
        count = new[0][0].shape[-2]
        if self._columns.prefix + len(self._tree_mask) > self._columns.capacity:
            self._columns.resize(torch.arange(len(self._tree_mask) - count), count)
        self._columns.append(new)
        self._recorded.end()
        self._replays = False


def _piece(live: list[TokenSequence]) -> list[TokenSequence]:
    """Return all sequences that have begun, and as many new ones as fit; at least one."""
    piece = [sequence for sequence in live if sequence.read and not sequence.scores_next]
    tokens, room = len(piece), MAX_SCORED_TOKENS
    for sequence in live:
        if sequence.scores is not None and sequence.scores_next and room > 0:
            room -= sum(map(len, sequence.scores.plan(room)))
            piece.append(sequence)
    for sequence in live:
        if not sequence.read:
            if piece and tokens + len(sequence.ids) > MAX_PACKED_TOKENS:
                break
            piece.append(sequence)
            tokens += len(sequence.ids)
    return piece


def _wanted(rows: list[Row], ends: list[int], piece: list[TokenSequence]) -> list[list[int]]:
    """Return the tokens whose logits each sequence wants: its last; all of given answers'."""
    found: list[list[int]] = []
    behind = list(zip(rows, ends, strict=True))
    # A stem, which comes first, wants none.
    count = sum(len(one.scores.planned) if one.scores and one.scores_next else 1 for one in piece)
    mine = iter(behind[len(behind) - count :])
    for one in piece:
        if one.scores is not None and one.scores_next:
            own = [next(mine) for _ in one.scores.planned]
            found.append([k for row, end in own for k in range(end + 1 - len(row.ids), end + 1)])
        else:
            found.append([next(mine)[1]])
    return found


def _common_beginning(texts: list[list[int]]) -> list[int]:
    """Return the common beginning of several texts, less than the shortest; [] for one text."""
    if len(texts) < 2:
        return []
    shortest = min(map(len, texts)) - 1
    first, last = min(texts), max(texts)
    # The common beginning of the first and the last in order is that of all.
    same = (k for k in range(shortest) if first[k] != last[k])
    return first[: next(same, shortest)]
