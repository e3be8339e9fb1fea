"""Loading of an exported chatspot-tiny to continue from, also at another image or patch size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModel, LlavaForConditionalGeneration

from chatspot_ros.chatspot_tiny.detection_features import DetectorHeads
from chatspot_ros.chatspot_tiny.modeling_detector import DetailDetector
from chatspot_ros.chatspot_tiny.modeling_vision import DetailNet
from chatspot_ros.errors import ChatspotError

# An exported tower's residual stream has unit scale. A tower trained from random weights has about
# this scale, and trains better with it.
TRAINING_SCALE = 8.0
DETAIL = "detail."
HEADS = "things.heads."
PROJECTION = "linear_1.weight"
PATCHES = "embeddings.patch_embedding.weight"
PLACES = "embeddings.position_embedding.weight"


class WarmStartError(ChatspotError):
    """The model to start from does not fit the settings."""


def load_start(folder: Path) -> LlavaForConditionalGeneration:
    """Load the exported model in float32. Raises OSError where there is none."""
    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def load_tower(tower: CLIPVisionModel, folder: Path) -> None:
    """Load an exported model's tower into one of the same width; resize its patches and grid.

    Raises RuntimeError where width or layers differ.
    """
    state = {
        name: value
        for name, value in load_start(folder).model.vision_tower.state_dict().items()
        if not name.startswith((DETAIL, HEADS))
    }
    wanted = tower.state_dict()
    state[PATCHES] = resize_patches(state[PATCHES], wanted[PATCHES].shape[-1])
    state[PLACES] = resize_grid(state[PLACES], len(wanted[PLACES]) - 1)
    if "embeddings.position_ids" in wanted:
        state["embeddings.position_ids"] = wanted["embeddings.position_ids"]
    tower.load_state_dict(state)
    scale_residual(tower, TRAINING_SCALE)


def load_detail(net: DetailNet, folder: Path) -> bool:
    """Load an exported model's detail path; return whether it has one.

    Raises RuntimeError where the widths differ.
    """
    return _load_part(net, folder, DETAIL)


def load_detector_heads(heads: DetectorHeads, folder: Path, detector: Path | None) -> bool:
    """Load the detector's heads of an exported model, or else of the detector in `detector`.

    Returns whether there are any. Raises RuntimeError where the shapes differ, OSError where the
    detector is missing.
    """
    if _load_part(heads, folder, HEADS):
        return True
    if detector is None:
        return False
    heads.load_state_dict(DetailDetector.from_pretrained(detector).heads.state_dict())
    return True


def _load_part(part: nn.Module, folder: Path, name: str) -> bool:
    """Load the weights with this prefix of an exported model's tower; return whether any exist."""
    state = {
        found.removeprefix(name): value
        for found, value in load_start(folder).model.vision_tower.state_dict().items()
        if found.startswith(name)
    }
    if state:
        part.load_state_dict(state)
    return bool(state)


def load_language(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Load an exported model's projection and language model.

    Additional layers of `model` come last and start as the identity. The projection starts with
    zero weights for a detail path or detector that the exported model lacks. Raises WarmStartError
    where the exported model has a detail path or detector and `model` has none.
    """
    start = load_start(folder)
    old = start.model.language_model.state_dict()
    language = model.model.language_model
    missing, unexpected = language.load_state_dict(old, strict=False)
    known = len(cast(Any, start.model.language_model).layers)
    added = cast("list[Any]", language.layers)[known:]
    if unexpected or any(int(name.split(".")[1]) < known for name in missing):
        raise RuntimeError(f"{folder} does not fit this language model: {missing} {unexpected}")
    with torch.no_grad():
        for layer in added:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    projector = dict(start.model.multi_modal_projector.state_dict())
    old_columns = projector[PROJECTION]
    fresh = model.model.multi_modal_projector.linear_1.weight.detach()
    wide = torch.zeros_like(fresh)
    known_width = old_columns.shape[1]
    if known_width > wide.shape[1]:
        raise WarmStartError(
            "the model to start from has more visual features than the settings give", value=folder,
            remedy="set vision.detail_widths and vision.things to those of its training.json",
        )  # fmt: skip
    unused = (old_columns == 0).all(0)
    wide[:, :known_width] = torch.where(unused, fresh[:, :known_width], old_columns)
    model.model.multi_modal_projector.load_state_dict({**projector, PROJECTION: wide})


def resize_patches(kernel: Tensor, size: int) -> Tensor:
    """Resize patch kernels width x 3 x p x p so that a smooth image gives the same output."""
    old = kernel.shape[-1]
    wide = F.interpolate(kernel, (size, size), mode="bicubic", antialias=False)
    return wide * (old / size) ** 2


def resize_grid(table: Tensor, count: int) -> Tensor:
    """Resize a position table (1 + P) x width, CLS first, to a square grid of `count` patches."""
    old, side = math.isqrt(len(table) - 1), math.isqrt(count)
    grid = table[1:].T.reshape(1, -1, old, old)
    wide = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], wide.reshape(-1, count).T])


def scale_residual(tower: CLIPVisionModel, factor: float) -> None:
    """Multiply the tower's output by `factor` and change nothing else.

    Every block reads the residual stream through a layer norm, which removes the scale, so only the
    layers that write into the stream are scaled.
    """
    writers = [tower.pre_layrnorm]
    for layer in cast("list[Any]", tower.encoder.layers):
        writers += [layer.self_attn.out_proj, layer.mlp.fc2]
    with torch.no_grad():
        for writer in writers:
            for parameter in writer.parameters():
                parameter.mul_(factor)
