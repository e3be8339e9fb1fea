"""Detector heads on chatspot-tiny's detail path, and their output as features of the patches.

At each eighth pixel the heads score the centre of a thing of each kind (Zhou et al., "Objects as
Points", 2019), and regress the distances to its edges. A detector makes boxes of them
(`chatspot_ros.chatspot_tiny.modeling_detector`); the language model gets them as features of the
patches (docs/adr/0016), because it counts worse from the path's own output (docs/LOG.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SAME_IOU, ONE_PLACE_IOU = 0.5, 0.75
_FAR = (2, 4)  # patches: a large thing's edges are far from its centre
NEVER = -1e4  # the logit of a place without a peak
_MOST = 60  # peaks of a picture, highest scores first
_ROUNDS = 6
_COUNTED = 4  # highest scores of a kind in the features
_SURE = 0.2  # lower scores are not taken for the thing that a patch shows
_SCALE = 3.0  # scores are mostly 0; the other features deviate by 1
_ALOUD = 20.0  # the scale of a patch's own kind; small features are learned late
_LIKELY, _STEEP = 0.25, 4  # most counts are right with this threshold for a thing


class DetectorHeads(nn.Module):
    """Heads from the path's maps to scores of kinds and boxes at each eighth pixel.

    `fine` and `coarse` are the channels of the maps at 1/8 and on the patches, `width` the heads'.
    """

    def __init__(self, fine: int, coarse: int, width: int, kinds: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine, width, 1)
        self.wide = nn.Conv2d(coarse, width, 3, padding=1)
        self.wider = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=step, dilation=step) for step in _FAR
        )
        self.mix = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.kinds = nn.Conv2d(width, kinds, 1)
        self.edges = nn.Conv2d(width, 4, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Map the features at 1/8 and on the patches to B x kinds x h x w logits and B x 4 x h x w
        offsets of the left, top, right and bottom edges, in fractions of the picture."""
        wide = self.wide(F.relu(coarse))
        for wider in self.wider:
            wide = wide + wider(F.relu(wide))
        wide = F.interpolate(wide, fine.shape[-2:], mode="bilinear", align_corners=False)
        maps = self.fine(F.relu(fine)) + wide
        for mix in self.mix:
            maps = maps + mix(F.relu(maps))
        maps = F.relu(maps)
        return self.kinds(maps), self.edges(maps)


def peaks(logits: Tensor, edges: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the peaks of the heads' scores, highest first; at most `most` a picture.

    They are B x N logits, kinds, and places (row by row), and B x N x 4 boxes x1, y1, x2, y2 as
    fractions. A place beside a higher one of its kind is no peak: its logit becomes NEVER.
    """
    batch, _, height, width = logits.shape
    highest = F.max_pool2d(logits, 3, stride=1, padding=1)
    found = torch.where(logits == highest, logits, torch.full_like(logits, NEVER)).flatten(1)
    scores, index = found.topk(min(most, found.shape[1]))
    kinds, places = index // (height * width), index % (height * width)
    size = torch.tensor([width, height], device=logits.device)
    middle = (torch.stack([places % width, places // width], -1) + 0.5) / size
    off = edges.flatten(2).transpose(1, 2)[torch.arange(batch)[:, None], places]
    return scores, kinds, places, (torch.cat([middle, middle], -1) + off.float()).clamp(0, 1)


def seconds(boxes: Tensor, kinds: Tensor, same_iou: float, one_place_iou: float) -> Tensor:
    """Return which pairs of N boxes are duplicates; ... x N x N bool, row by column.

    Boxes of one kind are with an IoU above `same_iou`, any two above `one_place_iou`.
    """
    low = torch.maximum(boxes[..., :, None, :2], boxes[..., None, :, :2])
    high = torch.minimum(boxes[..., :, None, 2:], boxes[..., None, :, 2:])
    shared = (high - low).clamp(0).prod(-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).clamp(0).prod(-1)
    iou = shared / (areas[..., :, None] + areas[..., None, :] - shared).clamp(1e-9)
    same_kind = kinds[..., :, None] == kinds[..., None, :]
    return ((iou > same_iou) & same_kind) | (iou > one_place_iou)


def firsts(same: Tensor) -> Tensor:
    """Return which of N boxes, highest score first, non-maximum suppression keeps; B x N bool.

    `same` are the pairs of `seconds`. A chain of boxes that suppress one another needs a round for
    each; chains above _ROUNDS are rare, and only their last boxes are wrong then. No device sync.
    """
    surer = same & torch.ones_like(same).tril(-1)
    stays = torch.ones_like(same[..., 0])
    for _ in range(_ROUNDS):
        stays = ~(surer & stays[..., None, :]).any(-1)
    return stays


def told_kind(patches: int, kinds: int) -> Tensor:
    """Return the kind that each patch describes, row by row; P integers in [0, kinds)."""
    return torch.arange(patches) % kinds


class DetectionFeatures(nn.Module):
    """The heads' output as `width` features of each of side x side patches.

    In this order, with K kinds: of each kind the _COUNTED highest scores anywhere in the picture;
    the score of a thing whose centre lies in the patch; the highest score map value in the patch;
    the score of a thing whose box covers the patch's centre; that of the smallest such thing, and
    its box x1, y1, x2, y2.

    Last, each patch describes one kind, chosen by its number: which one (K values), its _COUNTED
    highest scores, and the likelihood that each is a thing. So attention counts mugs from the
    patches that describe mugs. The rest is 0.
    """

    def __init__(self, heads: DetectorHeads, side: int, width: int) -> None:
        super().__init__()
        kinds = heads.kinds.out_channels
        if width < (used := (_COUNTED + 5) * kinds + 2 * _COUNTED + 4):
            raise ValueError(
                f"{kinds} kinds of things need {used} features a patch, hidden_size is {width}; "
                "give a larger hidden_size, or thing_kinds: 0"
            )
        self.heads, self.side, self.width = heads, side, width

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Map the path's maps at 1/8 and on the patches to B x side^2 x width."""
        logits, edges = self.heads(fine, coarse)
        chances, kinds, places, boxes = peaks(logits, edges, _MOST)
        stays = firsts(seconds(boxes, kinds, SAME_IOU, ONE_PLACE_IOU))
        scores = chances.float().sigmoid() * stays
        of_kind = F.one_hot(kinds, logits.shape[1]) * scores[..., None]  # B x N x K
        covers = self._covers(boxes)  # B x N x P
        sure = covers & (scores > _SURE)[..., None]
        size = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
        smallest = torch.where(sure, size[..., None], 2.0).argmin(1)  # B x P
        here = torch.arange(len(boxes), device=boxes.device)[:, None]
        known = sure.any(1)[..., None]
        counted = of_kind.topk(min(_COUNTED, of_kind.shape[1]), dim=1).values
        counted = F.pad(counted, (0, 0, 0, _COUNTED - counted.shape[1]))  # B x _COUNTED x K
        told = _SCALE * torch.cat([
            counted.flatten(1)[:, None].expand(-1, self.side**2, -1),
            self._middles(of_kind, places, logits.shape[-1] / self.side),
            F.adaptive_max_pool2d(logits.float().sigmoid(), self.side).flatten(2).transpose(1, 2),
            (of_kind[:, :, None] * covers[..., None]).amax(1),
            of_kind[here, smallest] * known,
            boxes[here, smallest] * known,
        ], -1)  # fmt: skip
        told = torch.cat([told, _ALOUD * self._of_one_kind(counted)], -1)
        return F.pad(told, (0, self.width - told.shape[-1])).to(fine.dtype)

    def _of_one_kind(self, counted: Tensor) -> Tensor:
        """Return each patch's features of its kind; from B x n x K scores to B x P x (K + 2 n)."""
        kinds = counted.shape[-1]
        about = told_kind(self.side**2, kinds).to(counted.device)
        scores = counted[:, :, about].transpose(1, 2)
        surely = scores**_STEEP / (scores**_STEEP + _LIKELY**_STEEP)
        which = F.one_hot(about, kinds).to(scores.dtype).expand(len(scores), -1, -1)
        return torch.cat([which, scores, surely], -1)

    def _covers(self, boxes: Tensor) -> Tensor:
        """Return which boxes cover which patches' centres; B x N x P."""
        steps = (torch.arange(self.side, device=boxes.device) + 0.5) / self.side
        x1, y1, x2, y2 = boxes[..., None].unbind(-2)
        across, down = (x1 <= steps) & (steps < x2), (y1 <= steps) & (steps < y2)
        return (down[..., :, None] & across[..., None, :]).flatten(2)

    def _middles(self, of_kind: Tensor, places: Tensor, step: float) -> Tensor:
        """Return the scores of the peaks in their patches; B x P x K. `step`: places a patch."""
        width = round(step * self.side)
        row, column = (
            ((at + 0.5) / step).long().clamp(0, self.side - 1)
            for at in (places // width, places % width)
        )
        kinds = of_kind.shape[-1]
        patch = (row * self.side + column)[..., None].expand(-1, -1, kinds)
        empty = of_kind.new_zeros(len(of_kind), self.side**2, kinds)
        return empty.scatter_reduce(1, patch, of_kind, "amax")
