"""The stage in which chatspot-tiny's detail path learns from nothing.

It is asked the same of each patch as the tower, and besides at finer steps: what kind of thing is
seen at each eighth pixel, which glyph stands at each fourth, and where things' middles and edges
are, by the heads of a detector, which are kept. Pasted cards bring more print than the kitchens
show.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from chatspot_ros.chatspot_tiny.detection_features import DetectorHeads
from chatspot_ros.chatspot_tiny.modeling_detector import DetailDetector
from chatspot_ros.chatspot_tiny.modeling_vision import (
    DetailNet,
    DetailVisionConfig,
    make_heads,
)
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Truth
from chatspot_train.common.labels import IGNORE
from chatspot_train.common.stage_config import StageSettings
from chatspot_train.common.trainer import run_stage
from chatspot_train.data.image_augment import Window, recolour
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.detector_training import (
    detector_config,
    detector_loss,
    start_heads,
    targets,
    write_detector,
)
from chatspot_train.tiny.images import normalised
from chatspot_train.tiny.patch_labels import (
    FIELDS,
    GLYPHS,
    dense_labels,
    mark_print,
    prints,
)
from chatspot_train.tiny.synthetic_text_cards import Card, mark_cards, paste_cards
from chatspot_train.tiny.vision_stage import (
    PatchPictures,
    PatchTeacher,
    hit_rates,
    vision_config,
)
from chatspot_train.tiny.warm_start import StartError, start_detail, start_seeing

GLYPH_STEP, KIND_STEP = 4, 8  # pixels
DETECTOR_OF = "../model"  # where the exported model is, from the detector's folder beside it
RELU_GAIN = 1.71  # a rectified unit Gaussian has so much less deviation
KEPT_OF = 4  # of a batch's pictures, the first in so many: two forwards of each cost a third more
BRANCH_GAIN = 0.5  # of what a residual block adds, at first


class Standardised(nn.Module):
    """A convolution's kernels with a mean of zero and a norm that is learned for itself.

    Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization"
    (2019). It does what normalised activations do, and costs the size of the kernels alone; once
    trained they are kernels like any others.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        centred = weight - weight.mean((1, 2, 3), keepdim=True)
        self.gain = nn.Parameter(centred.flatten(1).norm(dim=1))

    def forward(self, weight: Tensor) -> Tensor:
        """out x in x h x w, before and after."""
        centred = weight - weight.mean((1, 2, 3), keepdim=True)
        norm = centred.flatten(1).norm(dim=1).clamp(1e-6)
        return centred * (self.gain / norm)[:, None, None, None]


def convolutions(net: DetailNet) -> list[tuple[str, nn.Conv2d]]:
    """The path's convolutions with their names."""
    return [(name, part) for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]


def start_fresh(net: DetailNet) -> None:
    """Draw kernels under which a picture's signal keeps its size from layer to layer."""
    with torch.no_grad():
        for name, part in convolutions(net):
            gain = 1.0 if name == "downs.0" else RELU_GAIN
            if name.endswith("second"):
                gain *= BRANCH_GAIN
            fan_in = part.weight[0].numel()
            part.weight.normal_(0, gain / fan_in**0.5)
            nn.init.zeros_(part.bias)  # type: ignore[arg-type]


class DetailTeacher(PatchTeacher):
    """The detail path with heads that are thrown away after the stage."""

    def __init__(self, config: DetailVisionConfig) -> None:
        side = int(config.image_size) // int(config.patch_size)  # type: ignore[arg-type]
        super().__init__(config.hidden_size, side)
        self.config = config
        self.net = DetailNet(config)
        start_fresh(self.net)
        self.pixel_kinds = nn.Conv2d(config.detail_widths[2], len(THING_KINDS) + 1, 1)
        self.pixel_glyphs = nn.Conv2d(config.detail_widths[1], len(GLYPHS) + 1, 1)
        self.detector = make_heads(config, len(THING_KINDS))
        start_heads(self.detector)
        self.before: DetailNet | None = None
        self.keep = 0.0

    def keep_saying(self, keep: float) -> None:
        """From now on, ask for what the path says now too, so that who listens need not learn anew.

        Whatever the light a picture is shown in, it is asked for what the path, as it is now, says
        of it in its own: the loss is `keep` times the squared difference, in units of that's
        variance, on the first KEPT_OFth of a batch's pictures.
        """
        self.keep = keep
        self.before = deepcopy(self.net).requires_grad_(False)

    def standardise(self) -> None:
        """Learn standardised kernels from now on."""
        for _, part in convolutions(self.net):
            parametrize.register_parametrization(part, "weight", Standardised(part.weight.detach()))

    def settle(self) -> None:
        """Turn the kernels into plain ones."""
        for _, part in convolutions(self.net):
            parametrize.remove_parametrizations(part, "weight")

    def forward(
        self, pixel_values: Tensor, kinds_seen: Tensor, glyphs_seen: Tensor, bells: Tensor,
        edges: Tensor, edge_weight: Tensor, in_own_light: Tensor | None = None, **labels: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """What DetailPictures gives, batched; see `ask`."""
        _, fine, middle, coarse = self.net.maps(normalised(pixel_values))
        scores, ends = self.detector(middle, coarse)
        tokens = self.net.tokens(coarse)
        found = self.ask(tokens, **labels)
        if self.before is not None and in_own_light is not None:
            some = max(1, len(tokens) // KEPT_OF)
            said = self.before(normalised(in_own_light[:some])).float()
            off = (tokens[:some].float() - said).square().mean() / said.var()
            found["loss"] = found["loss"] + self.keep * off
        found["loss"] = (
            found["loss"]
            + _pixel_loss(self.pixel_kinds(F.relu(middle)), kinds_seen)
            + _pixel_loss(self.pixel_glyphs(F.relu(fine)), glyphs_seen)
            + detector_loss(scores, ends, bells, edges, edge_weight)
        )
        return found


def _pixel_loss(scores: Tensor, right: Tensor) -> Tensor:
    known = right != IGNORE
    if not bool(known.any()):
        return scores.sum() * 0
    return F.cross_entropy(scores.permute(0, 2, 3, 1)[known].float(), right[known])


class DetailPictures(PatchPictures):
    """Pictures with patch labels, and labels at finer steps; `cards` of them with pasted cards.

    `pixel_values` are uint8 H x W x 3. An item has besides `kinds_seen`, the kind of thing at every
    KIND_STEP-th pixel (int64, room 0, IGNORE under a card), `glyphs_seen`, 1 + the glyph at
    every GLYPH_STEP-th one (0 beside the glyphs of a print, IGNORE elsewhere), and `bells`, `edges`
    and `edge_weight`, a detector's targets at every KIND_STEP-th one; `in_own_light`, if asked for,
    the picture as it was before its colours were changed.
    """

    def __init__(
        self, *arguments: Any, cards: float = 0.0, in_own_light: bool = False, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.cards, self.in_own_light = cards, in_own_light

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        rgb, labels, truth, window = self._picture(rng, index)
        kinds = self._kinds_seen(labels, truth)
        found = dense_labels(truth, labels, self.side, window)
        cards: list[Card] = []
        if rng.random() < self.cards:
            rgb, cards = paste_cards(rgb, rng)
            mark_cards(found, cards, self.side)
            for card in cards:
                outline = np.round(card.corners * len(kinds)).astype(np.int32)
                cv2.fillConvexPoly(kinds, outline, IGNORE)
        item = self._item(recolour(rgb, rng) if self.augment else rgb, found)
        if self.in_own_light:
            item["in_own_light"] = self._pixels(rgb)
        item["kinds_seen"] = torch.from_numpy(kinds.astype(np.int64))
        found_at = targets(truth, self.size // KIND_STEP, window)
        item.update(zip(("bells", "edges", "edge_weight"), found_at, strict=True))
        shown = cards or kitchen_prints(truth, window)
        item["glyphs_seen"] = torch.from_numpy(glyphs_seen(shown, self.size // GLYPH_STEP))
        return item

    def _pixels(self, rgb: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rgb))

    def _kinds_seen(self, labels: NDArray[np.uint8], truth: Truth) -> NDArray[np.int32]:
        kind_of = np.array([0] + [THING_KINDS.index(t.name) + 1 for t in truth.things], np.int32)
        half = KIND_STEP // 2
        return np.ascontiguousarray(kind_of[labels[half::KIND_STEP, half::KIND_STEP]])


def kitchen_prints(truth: Truth, window: Window) -> list[Card]:
    """The prints of a kitchen where the window of the picture shows them."""
    x1, y1, x2, y2 = window
    size = np.array([truth.width, truth.height] * 2)
    shift, scale = size * [x1, y1, x1, y1], size * [x2 - x1, y2 - y1, x2 - x1, y2 - y1]
    return [Card(text, corners) for text, corners in prints(truth, shift, scale)]


def glyphs_seen(cards: list[Card], side: int) -> NDArray[np.int64]:
    """Which glyph stands where: side x side, 1 + its number, 0 for none, IGNORE far from print."""
    rows, columns = np.divmod(np.arange(side * side), side)
    centres = (np.stack([columns, rows], 1) + 0.5) / side
    seen = np.full(side * side, IGNORE, np.int64)
    for card in cards:
        half = 0.5 / side
        low, high = card.corners.min(0), card.corners.max(0)
        near = np.flatnonzero(np.all((centres > low - half) & (centres < high + half), 1))
        fields = np.full((len(near), len(FIELDS)), IGNORE, np.int64)
        marks = np.full((len(near), len(GLYPHS)), np.nan, np.float32)
        mark_print(fields, marks, card.text, card.corners, centres[near], side)
        marks = np.nan_to_num(marks)
        number = np.where(marks.sum(1) > 0, 1 + marks.argmax(1), 0)
        seen[near] = np.where(marks.sum(1) > 1, IGNORE, number)
    return seen.reshape(side, side)


def train_detail(settings: TinySettings) -> tuple[DetailNet, DetectorHeads | None]:
    """Run the stage, or go on with it; returns the trained path, and the heads of the detector on
    it where the language model is to be told what that sees.

    The detector is written to `detector` beside the run's exported model.
    Raises StartError where there is neither a stage nor a path or a detector to start from.
    """
    stage, shape = settings.detail_stage, settings.vision
    torch.manual_seed(stage.seed if stage is not None else 0)
    model = DetailTeacher(cast(DetailVisionConfig, vision_config(shape)))
    start = settings.start
    known = seeing = False
    if start is not None and (known := start_detail(model.net, start)):
        seeing = start_seeing(model.detector, start, settings.detector)
    if stage is None:
        if not known:
            raise StartError(
                "the model to start from has no detail path", value=start,
                remedy="give a detail_stage, or leave vision.detail_widths out",
            )  # fmt: skip
        if shape.things and not seeing:
            raise StartError(
                "the model to start from has no detector on its detail path", value=start,
                remedy="give a detail_stage or a detector, or leave vision.things out",
            )  # fmt: skip
    else:
        if known and settings.keep:
            model.keep_saying(settings.keep)
        _run(model, settings, stage)
    if shape.things or stage is not None:
        _write(model, settings)
    return model.net, model.detector if shape.things else None


def _run(model: DetailTeacher, settings: TinySettings, stage: StageSettings) -> None:
    """Train the path and the detector on it."""
    shape = settings.vision
    model.standardise()
    data = DetailPictures(
        settings.data.folder / "train", shape, stage.steps * stage.batch, stage.seed, augment=True,
        cards=settings.cards, in_own_light=model.before is not None,
    )  # fmt: skip
    val = settings.data.folder / "val"
    held_out = DetailPictures(val, shape, len(RenderedKitchens(val)), stage.seed, augment=False)
    run_stage(model, data, held_out, stage, settings.out / "detail", metrics=hit_rates)
    model.settle()


def _write(model: DetailTeacher, settings: TinySettings) -> None:
    """Write the detector."""
    detector = DetailDetector(detector_config(model.config, DETECTOR_OF))
    detector.net.load_state_dict(model.net.state_dict())
    detector.heads.load_state_dict(model.detector.state_dict())
    write_detector(detector, settings.out / "detector")
