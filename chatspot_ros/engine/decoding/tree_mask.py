"""The tree attention mask: which columns behind a prefix each new token attends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Row:
    """Tokens that one sequence or stem reads in a pass: its number, the number of its stem
    (-1: none), the tokens, and the count of tokens read before. `trunk` is the number of the
    sequence that a given answer stands behind, -1: none."""

    number: int
    stem: int
    ids: list[int]
    begin: int
    trunk: int = -1


class TreeMask:
    """The owner of each column: the number of a sequence or stem."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        """`dtype` and `device` are those of the masks."""
        self._dtype, self._device = dtype, device
        self._numbers = torch.zeros(0, dtype=torch.long)
        # The last mask, of one token for each of these sequences, and their rows in it.
        self._mask = torch.zeros(0, 0)
        self._masked: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, numbers: Sequence[int]) -> None:
        """Append columns with these owners."""
        self._numbers = torch.cat([self._numbers, torch.tensor(numbers, dtype=torch.long)])

    def of(self, numbers: Sequence[int]) -> Tensor:
        """Return the columns of these owners, counted from 0, rising."""
        mine = torch.isin(self._numbers, torch.tensor(numbers, dtype=torch.long))
        return mine.nonzero()[:, 0]

    def keep(self, columns: Tensor) -> None:
        """Drop all other columns."""
        self._numbers, self._masked = self._numbers[columns], {}

    def are_all(self, number: int) -> bool:
        """Return whether all columns have this owner."""
        return bool((self._numbers == number).all())

    def seen(self, rows: Sequence[Row]) -> Tensor:
        """Return which columns the rows' tokens attend to, (tokens, columns): those of their own
        sequence, its trunk and its stem up to themselves. The newest columns are theirs, in order.
        """
        lengths = torch.tensor([len(row.ids) for row in rows])
        numbers = torch.tensor([row.number for row in rows]).repeat_interleave(lengths)
        seen = self._numbers == numbers[:, None]
        for others in ([row.stem for row in rows], [row.trunk for row in rows]):
            if max(others) >= 0:
                repeated = torch.tensor(others).repeat_interleave(lengths)
                seen |= self._numbers == repeated[:, None]
        return seen.tril_(len(self._numbers) - len(numbers))

    def mask(self, rows: Sequence[Row], prefix: int) -> Tensor:
        """Return the additive attention mask, (tokens, prefix + columns): 0 where a token attends,
        else the lowest number. All attend to the prefix."""
        lowest = torch.finfo(self._dtype).min
        last = [self._masked.get(row.number, -1) for row in rows if len(row.ids) == 1]
        grown = self._mask.shape[1] + len(rows) == prefix + len(self)
        if grown and len(last) == len(rows) and min(last) >= 0:
            # One more token of each sequence, which attends to itself besides.
            itself = torch.full((len(rows), len(rows)), lowest, dtype=self._dtype)
            itself = itself.fill_diagonal_(0.0).to(self._device)
            before = self._mask if last == list(range(len(self._mask))) else self._mask[last]
            mask = torch.cat([before, itself], dim=1)
        else:
            seen = self.seen(rows)
            mask = torch.zeros(len(seen), prefix + len(self))
            mask[:, prefix:].masked_fill_(~seen, lowest)
            mask = mask.to(self._device, self._dtype)
        alike = len(mask) == len(rows)
        self._mask = mask if alike else torch.zeros(0, 0)
        self._masked = {row.number: k for k, row in enumerate(rows)} if alike else {}
        return mask
