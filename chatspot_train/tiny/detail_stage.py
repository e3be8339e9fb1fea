"""The stage that trains chatspot-tiny's detail path from random weights.

The path learns the tower's patch labels, and labels at finer steps: the kind of thing at every
eighth pixel, the glyph at every fourth, and the centres and edges of things, by the heads of a
detector, which are kept. Pasted cards show more text than the kitchens do.
"""

from __future__ import annotations

from copy import deepcopy
from typing import cast

import torch
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
from chatspot_train.common.labels import IGNORE
from chatspot_train.common.stage_config import StageSettings
from chatspot_train.common.trainer import run_stage
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.detail_dataset import DetailDataset
from chatspot_train.tiny.detector_training import (
    detector_config,
    detector_loss,
    init_heads,
    write_detector,
)
from chatspot_train.tiny.images import normalise
from chatspot_train.tiny.patch_heads import PatchHeads, hit_rates
from chatspot_train.tiny.patch_labels import GLYPHS
from chatspot_train.tiny.vision_stage import vision_config
from chatspot_train.tiny.warm_start import WarmStartError, load_detail, load_detector_heads

DETECTOR_OF = "../model"  # the exported model, relative to the detector's folder
RELU_GAIN = 1.71  # 1 / the standard deviation of a rectified unit Gaussian
KEEP_EVERY = 4  # `keep` sees 1 / KEEP_EVERY of a batch: a second forward pass costs a third more
BRANCH_GAIN = 0.5  # initial scale of the branch of a residual block


class StandardisedKernels(nn.Module):
    """A parametrization of convolution kernels: mean zero, and a norm that is a parameter.

    Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization"
    (2019). It helps training as normalised activations do, at the cost of the kernels' size alone;
    after training they become plain kernels.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        centred = weight - weight.mean((1, 2, 3), keepdim=True)
        self.gain = nn.Parameter(centred.flatten(1).norm(dim=1))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the kernels that the convolution uses; both are out x in x h x w."""
        centred = weight - weight.mean((1, 2, 3), keepdim=True)
        norm = centred.flatten(1).norm(dim=1).clamp(1e-6)
        return centred * (self.gain / norm)[:, None, None, None]


def convolutions(net: DetailNet) -> list[tuple[str, nn.Conv2d]]:
    """Return the path's convolutions with their names."""
    return [(name, part) for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]


def init_weights(net: DetailNet) -> None:
    """Draw kernels that keep the variance of the activations from layer to layer."""
    with torch.no_grad():
        for name, part in convolutions(net):
            gain = 1.0 if name == "downs.0" else RELU_GAIN
            if name.endswith("second"):
                gain *= BRANCH_GAIN
            fan_in = part.weight[0].numel()
            part.weight.normal_(0, gain / fan_in**0.5)
            nn.init.zeros_(part.bias)  # type: ignore[arg-type]


class DetailPretraining(PatchHeads):
    """The detail path with the heads that train it; all but the detector's are discarded."""

    def __init__(self, config: DetailVisionConfig) -> None:
        side = int(config.image_size) // int(config.patch_size)  # type: ignore[arg-type]
        super().__init__(config.hidden_size, side)
        self.config = config
        self.net = DetailNet(config)
        init_weights(self.net)
        self.pixel_kinds = nn.Conv2d(config.detail_widths[2], len(THING_KINDS) + 1, 1)
        self.pixel_glyphs = nn.Conv2d(config.detail_widths[1], len(GLYPHS) + 1, 1)
        self.detector = make_heads(config, len(THING_KINDS))
        init_heads(self.detector)
        self.initial_net: DetailNet | None = None
        self.keep = 0.0

    def keep_outputs(self, keep: float) -> None:
        """Add a loss that keeps the present outputs, so that a language model need not relearn.

        The target of an image in any light is the present path's output for it in its own light:
        `keep` times the squared difference over the target's variance, on 1 / KEEP_EVERY of a
        batch.
        """
        self.keep = keep
        self.initial_net = deepcopy(self.net).requires_grad_(False)

    def standardise(self) -> None:
        """Train standardised kernels from now on."""
        for _, part in convolutions(self.net):
            parametrize.register_parametrization(
                part, "weight", StandardisedKernels(part.weight.detach())
            )

    def fuse_kernels(self) -> None:
        """Turn the standardised kernels into plain ones."""
        for _, part in convolutions(self.net):
            parametrize.remove_parametrizations(part, "weight")

    def forward(
        self, pixel_values: Tensor, kind_map: Tensor, glyph_map: Tensor, heatmaps: Tensor,
        edges: Tensor, edge_weight: Tensor, unaugmented: Tensor | None = None, **labels: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Return the loss and hits of a batch of DetailDataset; see `patch_loss`."""
        _, fine, middle, coarse = self.net.maps(normalise(pixel_values))
        scores, predicted_edges = self.detector(middle, coarse)
        tokens = self.net.tokens(coarse)
        found = self.patch_loss(tokens, **labels)
        if self.initial_net is not None and unaugmented is not None:
            some = max(1, len(tokens) // KEEP_EVERY)
            target = self.initial_net(normalise(unaugmented[:some])).float()
            error = (tokens[:some].float() - target).square().mean() / target.var()
            found["loss"] = found["loss"] + self.keep * error
        found["loss"] = (
            found["loss"]
            + _pixel_loss(self.pixel_kinds(F.relu(middle)), kind_map)
            + _pixel_loss(self.pixel_glyphs(F.relu(fine)), glyph_map)
            + detector_loss(scores, predicted_edges, heatmaps, edges, edge_weight)
        )
        return found


def _pixel_loss(scores: Tensor, right: Tensor) -> Tensor:
    """Return the mean cross entropy of B x C x H x W scores where B x H x W labels are known."""
    known = right != IGNORE
    if not bool(known.any()):
        return scores.sum() * 0
    return F.cross_entropy(scores.permute(0, 2, 3, 1)[known].float(), right[known])


def train_detail(settings: TinySettings) -> tuple[DetailNet, DetectorHeads | None]:
    """Run or resume the stage; return the trained path, and the detector's heads if `things`.

    Writes the detector to `detector` beside the run's exported model. Raises WarmStartError where
    there is no stage, and the model to start from lacks the path or a wanted detector.
    """
    stage, shape = settings.detail_stage, settings.vision
    torch.manual_seed(stage.seed if stage is not None else 0)
    model = DetailPretraining(cast(DetailVisionConfig, vision_config(shape)))
    start = settings.start
    has_path = has_detector = False
    if start is not None and (has_path := load_detail(model.net, start)):
        has_detector = load_detector_heads(model.detector, start, settings.detector)
    if stage is None:
        if not has_path:
            raise WarmStartError(
                "the model to start from has no detail path", value=start,
                remedy="give a detail_stage, or leave vision.detail_widths out",
            )  # fmt: skip
        if shape.things and not has_detector:
            raise WarmStartError(
                "the model to start from has no detector on its detail path", value=start,
                remedy="give a detail_stage or a detector, or leave vision.things out",
            )  # fmt: skip
    else:
        if has_path and settings.keep:
            model.keep_outputs(settings.keep)
        _run(model, settings, stage)
    if shape.things or stage is not None:
        _write(model, settings)
    return model.net, model.detector if shape.things else None


def _run(model: DetailPretraining, settings: TinySettings, stage: StageSettings) -> None:
    """Train the path and its detector."""
    shape = settings.vision
    model.standardise()
    data = DetailDataset(
        settings.data.folder / "train", shape, stage.steps * stage.batch, stage.seed, augment=True,
        cards=settings.cards, unaugmented=model.initial_net is not None,
    )  # fmt: skip
    val = settings.data.folder / "val"
    held_out = DetailDataset(val, shape, len(RenderedKitchens(val)), stage.seed, augment=False)
    run_stage(model, data, held_out, stage, settings.out / "detail", metrics=hit_rates,
              made_from=settings.inputs("detail_stage"))  # fmt: skip
    model.fuse_kernels()


def _write(model: DetailPretraining, settings: TinySettings) -> None:
    """Write the detector to its folder."""
    detector = DetailDetector(detector_config(model.config, DETECTOR_OF))
    detector.net.load_state_dict(model.net.state_dict())
    detector.heads.load_state_dict(model.detector.state_dict())
    write_detector(detector, settings.out / "detector")
