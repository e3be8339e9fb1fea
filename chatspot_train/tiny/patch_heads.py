"""Heads that predict the labels of every patch, and their losses; discarded after training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatspot_sim.kitchen import THING_KINDS
from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.patch_labels import CELLS, FIELDS, GLYPHS, PARTS, patch_centres

FIELD_WEIGHTS = [0.6 if name in ("word", "tens", "ones") else 0.3 for name in FIELDS]


class PatchHeads(nn.Module):
    """Linear heads that predict the fields of PatchLabels from a vector of each patch."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kinds = nn.Linear(width, len(THING_KINDS) + 1)
        self.fields = nn.Linear(width, sum(FIELDS.values()))
        self.box = nn.Linear(width, 4)
        self.parts = nn.Linear(width, len(PARTS))
        self.place = nn.Linear(width, 2)
        self.row_and_column = nn.Linear(width, 2 * side)
        self.cells = nn.Linear(width, CELLS * CELLS * (len(THING_KINDS) + 1))
        self.glyphs = nn.Linear(width, len(GLYPHS))
        self.middle = nn.Linear(width, 1)

    def patch_loss(
        self, hidden: Tensor, *, kinds: Tensor, fields: Tensor, box: Tensor, parts: Tensor,
        weight: Tensor, cells: Tensor, glyphs: Tensor, middle: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Return the loss of B x P x width vectors on the fields of PatchLabels, batched.

        Returns {"loss": ..., "logits": the counts of right and of all predictions of each field}.
        """
        hidden = self.norm(hidden)
        kind_logits = self.kinds(hidden).float()
        field_logits = self.fields(hidden).float()
        weight = weight / weight.mean()
        loss = -((kinds * kind_logits.log_softmax(-1)).sum(-1) * weight).mean()
        shown = (kinds[..., 0] < 0.5) & (kinds.sum(-1) > 0)
        hits = [kind_logits.argmax(-1).eq(kinds.argmax(-1))[shown]]
        for k, logits in enumerate(field_logits.split(list(FIELDS.values()), dim=-1)):
            target = fields[..., k]
            known = target != IGNORE
            hits.append(logits.argmax(-1).eq(target)[known])
            if bool(known.any()):
                costs = F.cross_entropy(logits[known], target[known], reduction="none")
                loss = loss + FIELD_WEIGHTS[k] * (costs * weight[known]).sum() / weight[known].sum()
        loss = loss + self._box_loss(hidden, box, middle, weight)
        seen = ~parts.isnan().any(-1)
        loss = loss + F.binary_cross_entropy_with_logits(
            self.parts(hidden[seen]).float(), parts[seen], reduction="sum"
        ) / max(1, parts[seen].numel())
        loss = loss + self._cell_loss(hidden, cells, weight)
        read, read_hits = self._glyph_loss(hidden, glyphs, weight)
        loss, hits = loss + read, [*hits, read_hits]
        sums = torch.stack([h.float().sum() for h in hits])
        counts = sums.new_tensor([float(h.numel()) for h in hits])
        return {"loss": loss, "logits": torch.stack([sums, counts])[None]}

    def _box_loss(self, hidden: Tensor, box: Tensor, middle: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of the box of the patch's thing, and of being the thing's middle patch.

        It counts the distance of the edges and the overlap, which weighs small things as much as
        large ones: with the mean distance alone small boxes were a patch off.
        """
        here = ~box.isnan().any(-1)
        if not bool(here.any()):
            return hidden.sum() * 0
        shown = hidden[here]
        guess, right, share = self.box(shown).float(), box[here], weight[here]
        share = share / share.sum()
        edges = ((guess - right).abs().mean(-1) * share).sum()
        overlap = (generalised_iou(guess, right) * share).sum()
        middles = F.binary_cross_entropy_with_logits(
            self.middle(shown).float()[..., 0], middle[here], reduction="none"
        )
        return 4.0 * edges + 0.5 * (1 - overlap) + 0.5 * (middles * share).sum()

    def _cell_loss(self, hidden: Tensor, cells: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of the kind in each cell: a point may miss what fills most of a patch."""
        scores = self.cells(hidden).float().unflatten(-1, (CELLS * CELLS, -1))
        costs = F.cross_entropy(
            scores.flatten(0, 2), cells.flatten(), ignore_index=IGNORE, reduction="none"
        )
        known = (cells[..., 0] != IGNORE).float() * weight
        return 0.5 * (costs.reshape(cells.shape).mean(-1) * known).sum() / known.sum().clamp(1)

    def _glyph_loss(self, hidden: Tensor, glyphs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of the letters and digits that touch a patch, and its hits.

        A hit is a right prediction on a patch with a single glyph.
        """
        here = glyphs.nan_to_num().sum(-1) > 0
        if not bool(here.any()):
            return hidden.sum() * 0, hidden.new_zeros(0)
        right, share = glyphs[here], weight[here]
        scores = self.glyphs(hidden[here]).float()
        count = right.sum(-1)
        costs = -(right * scores.log_softmax(-1)).sum(-1) / count
        hits = scores.argmax(-1).eq(right.argmax(-1))[count == 1]
        return 0.7 * (costs * share).sum() / share.sum(), hits

    def position_loss(self, hidden: Tensor) -> Tensor:
        """Return the loss of each patch's position, which a language model needs for regions."""
        count = hidden.shape[1]
        side = math.isqrt(count)
        centres = torch.from_numpy(patch_centres(side)).float().to(hidden.device)
        off = (self.place(hidden).float() - centres).abs().mean()
        number = (centres * side).long().T.expand(len(hidden), -1, -1)
        guesses = self.row_and_column(hidden).float().reshape(len(hidden), count, 2, side)
        return 5.0 * off + 0.2 * F.cross_entropy(guesses.permute(0, 3, 2, 1), number)


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """Return the generalised IoU of N x 4 boxes (x1, y1, x2, y2), in [-1, 1].

    A box whose x2 < x1 or y2 < y1 counts as empty.
    Rezatofighi et al., "Generalized Intersection over Union" (2019).
    """
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp(0).prod(-1)
    areas = sum((boxes[:, 2:] - boxes[:, :2]).clamp(0).prod(-1) for boxes in (one, other))
    union = (areas - shared).clamp(1e-9)
    outer_low = torch.minimum(one[:, :2], other[:, :2])
    outer_high = torch.maximum(one[:, 2:], other[:, 2:])
    hull = (outer_high - outer_low).clamp(1e-6).prod(-1)
    return shared / union - (hull - union).clamp(0) / hull


def hit_rates(prediction: Any) -> dict[str, float]:
    """Return the share of patches that are right, of the kind and of every field."""
    names = ["kind", *FIELDS, "glyph"]
    sums, counts = np.asarray(prediction.predictions).reshape(-1, 2, len(names)).sum(0)
    return {name: float(s / c) for name, s, c in zip(names, sums, counts, strict=True) if c}
