"""Going on from an exported chatspot-tiny, also at another picture or patch size."""

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

# An exported tower writes to its residual stream at unit scale; trained from nothing it writes
# about this much larger, and learns better so.
TRAINING_SCALE = 8.0
DETAIL = "detail."
HEADS = "things.heads."
PROJECTION = "linear_1.weight"
PATCHES = "embeddings.patch_embedding.weight"
PLACES = "embeddings.position_embedding.weight"


class StartError(ChatspotError):
    """What a run is to go on from does not fit its settings."""


def load_start(folder: Path) -> LlavaForConditionalGeneration:
    """The exported model in float32. Raises OSError where there is none."""
    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def start_tower(tower: CLIPVisionModel, folder: Path) -> None:
    """Load an exported model's tower into one of the same width, its patches and grid resized.

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


def start_detail(net: DetailNet, folder: Path) -> bool:
    """Load an exported model's detail path, if it has one; returns whether it has.

    Raises RuntimeError where the widths differ.
    """
    return _start_part(net, folder, DETAIL)


def start_seeing(heads: DetectorHeads, folder: Path, detector: Path | None) -> bool:
    """Load the detector's heads of an exported model, or else of the detector in that folder.

    Returns whether there are any. Raises RuntimeError where the shapes differ, OSError where there
    is no such detector.
    """
    if _start_part(heads, folder, HEADS):
        return True
    if detector is None:
        return False
    heads.load_state_dict(DetailDetector.from_pretrained(detector).heads.state_dict())
    return True


def _start_part(part: nn.Module, folder: Path, name: str) -> bool:
    """Load what an exported model's tower has under that name, if anything."""
    state = {
        found.removeprefix(name): value
        for found, value in load_start(folder).model.vision_tower.state_dict().items()
        if found.startswith(name)
    }
    if state:
        part.load_state_dict(state)
    return bool(state)


def start_language(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Load an exported model's projection and language model.

    Layers that `model` has beyond those come last and start by passing on what they get; a detail
    path or a detector that the exported one lacked is not listened to at first.

    Raises StartError where the exported one has a detail path or a detector and `model` has none.
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
        raise StartError(
            "the model to start from sees more than the settings give", value=folder,
            remedy="set vision.detail_widths and vision.things to those of its training.json",
        )  # fmt: skip
    unheard = (old_columns == 0).all(0)
    wide[:, :known_width] = torch.where(unheard, fresh[:, :known_width], old_columns)
    model.model.multi_modal_projector.load_state_dict({**projector, PROJECTION: wide})


def resize_patches(kernel: Tensor, size: int) -> Tensor:
    """Patch kernels width x 3 x p x p at `size` pixels, answering a smooth picture the same."""
    old = kernel.shape[-1]
    wide = F.interpolate(kernel, (size, size), mode="bicubic", antialias=False)
    return wide * (old / size) ** 2


def resize_grid(table: Tensor, count: int) -> Tensor:
    """Position table 1 + P x width (CLS first) for a square grid of `count` patches."""
    old, side = math.isqrt(len(table) - 1), math.isqrt(count)
    grid = table[1:].T.reshape(1, -1, old, old)
    wide = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], wide.reshape(-1, count).T])


def scale_residual(tower: CLIPVisionModel, factor: float) -> None:
    """Multiply the tower's output by `factor`, changing nothing else about it.

    Every block reads the residual stream through a layer norm, which does not see its scale, so it
    is enough to scale what is written into the stream.
    """
    writers = [tower.pre_layrnorm]
    for layer in cast("list[Any]", tower.encoder.layers):
        writers += [layer.self_attn.out_proj, layer.mlp.fc2]
    with torch.no_grad():
        for writer in writers:
            for parameter in writer.parameters():
                parameter.mul_(factor)
