"""What each token of a pack sees, against the same worked out token by token."""

from __future__ import annotations

import torch

from chatspot_ros.engine.decoding.tree_mask import Row, TreeMask

PREFIX = 3
LOWEST = torch.finfo(torch.float32).min


class Columns:
    """All columns one by one, and what their owners may see."""

    def __init__(self) -> None:
        self.tree_mask = TreeMask(torch.float32, torch.device("cpu"))
        self.all: list[int] = []

    def read(self, *rows: Row) -> None:
        """A pass over these rows: its mask is as worked out."""
        new = [(row, len(self.all) + k) for k, row in enumerate(r for r in rows for _ in r.ids)]
        self.all += [row.number for row, _ in new]
        self.tree_mask.add([row.number for row, _ in new])
        expected = [
            [0.0] * PREFIX
            + [
                0.0 if owner in (row.number, row.stem) and column <= place else LOWEST
                for column, owner in enumerate(self.all)
            ]
            for row, place in new
        ]
        assert self.tree_mask.mask(rows, PREFIX).tolist() == expected

    def drop(self, *numbers: int) -> None:
        """The columns of some sequences go."""
        self.tree_mask.keep(self.tree_mask.of([one for one in set(self.all) if one not in numbers]))
        self.all = [one for one in self.all if one not in numbers]


def step(*numbers: int, stem: int = 9) -> list[Row]:
    """A further token of each."""
    return [Row(number, stem, [5], 7) for number in numbers]


def test_sequences_behind_a_stem_come_and_go() -> None:
    columns = Columns()
    columns.read(Row(9, -1, [1, 2, 3], 0), *(Row(k, 9, [4] * (k + 1), 3) for k in range(4)))
    for _ in range(3):
        columns.read(*step(0, 1, 2, 3))
    columns.read(*step(0, 2, 3))
    columns.read(*step(0, 2, 3))
    # Somebody comes, with a single token and with several.
    columns.read(*step(0, 2, 3), Row(5, -1, [6], 0))
    columns.read(*step(0, 2, 3), *step(5, stem=-1))
    columns.read(*step(0, 2, 3), Row(6, -1, [6, 7], 0))
    columns.drop(1, 5)
    columns.read(*step(0, 2, 3), *step(6, stem=-1))
    columns.read(*step(3, 0, 2), *step(6, stem=-1))


def test_steps_without_a_mask_are_noticed() -> None:
    columns = Columns()
    columns.read(*step(0, 1))
    columns.read(*step(0, 1))
    # A token was read without a mask: a lone one, or by a recorded step.
    columns.all.append(1)
    columns.tree_mask.add([1])
    columns.read(*step(0, 1))


def test_whose_columns_there_are() -> None:
    tree_mask = TreeMask(torch.bfloat16, torch.device("cpu"))
    assert tree_mask.are_all(4)
    tree_mask.add([4, 4, 6, 4])
    assert len(tree_mask) == 4
    assert not tree_mask.are_all(4)
    assert tree_mask.of([4, -1]).tolist() == [0, 1, 3]
    tree_mask.keep(tree_mask.of([4]))
    assert tree_mask.are_all(4)
    assert tree_mask.mask(step(4), PREFIX).dtype == torch.bfloat16
