"""The loss of a grounding head, and how sure it may be: FCOS's terms, for one thing a query."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from chatspot_ros.engine.models.grounding_head import cell_middles

# The middle part of a box, of its sides, in which sub-cells shall find the thing.
MIDDLE = 0.5
FOCUS = 2.0
_L1 = 2.0
_TINY = 1e-7


def ground_loss(
    logits: Tensor, boxes: Tensor, right: Sequence[Tensor], size: tuple[int, int]
) -> Tensor:
    """Return the mean loss of queries: focal on their sub-cells, GIoU and L1 on the boxes.

    `logits` (Q x cells) and `boxes` (Q x cells x 4) are the head's on `size` (height, width)
    sub-cells; `right` are each query's true boxes, none where nothing is there. Sub-cells of a box
    outside of its middle are not counted.
    """
    middles = cell_middles(*size, logits.device)
    total = logits.new_zeros(())
    for logit, said, true in zip(logits, boxes, right, strict=True):
        owner, inside = assign(middles, true.to(logits.device), size)
        found = owner >= 0
        empty = ~found & ~inside
        # Nearly all sub-cells are empty and easily seen to be: their sum stays small.
        total = total + (F.softplus(logit[empty]) * logit[empty].sigmoid() ** FOCUS).sum()
        if found.any():
            hit = F.softplus(-logit[found]) * (-logit[found]).sigmoid() ** FOCUS
            target = true.to(logits.device)[owner[found]]
            apart = (said[found] - target).abs().mean(-1)
            total = total + (hit + 1 - giou(said[found], target) + _L1 * apart).mean()
    return total / len(logits)


def assign(middles: Tensor, true: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return for each sub-cell the number of the box in whose middle it is (the smallest; -1:
    none), and whether it is in any box. The sub-cell nearest to a box's middle is always its."""
    if not len(true):
        none = torch.full((len(middles),), -1, device=middles.device)
        return none, none >= 0
    low, high = true[None, :, :2], true[None, :, 2:]
    at = middles[:, None]
    inside = ((at >= low) & (at <= high)).all(-1)
    centre, half = (low + high) / 2, (high - low) / 2
    central = ((at - centre).abs() <= half * MIDDLE).all(-1)
    step = torch.tensor([1 / size[1], 1 / size[0]], device=middles.device)
    nearest = (((at - centre) / step) ** 2).sum(-1).argmin(0)
    central[nearest, torch.arange(len(true), device=middles.device)] = True
    areas = (true[:, 2:] - true[:, :2]).prod(-1)
    smallest = torch.where(central, areas[None], torch.inf).min(1)
    owner = torch.where(smallest.values.isinf(), -1, smallest.indices)
    return owner, inside.any(1)


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the intersection over union of pairs of boxes (... x 4), and their union."""
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(
        0
    )
    both = shared.prod(-1)
    areas = [(one[..., 2:] - one[..., :2]).clamp(0).prod(-1) for one in (a, b)]
    union = areas[0] + areas[1] - both
    return both / (union + _TINY), union


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalised intersection over union of pairs of boxes (arXiv 1902.09630)."""
    found, union = overlaps(a, b)
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    hull = around.clamp(0).prod(-1)
    return found - (hull - union) / (hull + _TINY)
