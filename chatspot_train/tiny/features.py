"""Features of the frozen vision tower: computed once for every image and kept in a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPVisionModel

from chatspot_ros.chatspot_tiny.detection_features import DetectorHeads
from chatspot_ros.chatspot_tiny.modeling_vision import (
    DetailNet,
    DetailVisionConfig,
    DetailVisionModel,
)
from chatspot_sim.dataset import RenderedKitchens
from chatspot_train.common.bf16 import cpu_multiplies_bf16
from chatspot_train.data.image_augment import crop, recolour
from chatspot_train.tiny.config import VisionShape
from chatspot_train.tiny.crops import crop_window
from chatspot_train.tiny.images import resize, to_pixels
from chatspot_train.tiny.model import feature_layers
from chatspot_train.tiny.vision_stage import vision_config
from chatspot_train.tiny.warm_start import DETAIL, HEADS, scale_residual

RECOLOUR_SEED = 991
BATCH = 32  # images


def join_detail(
    shape: VisionShape, tower: CLIPVisionModel, detail: DetailNet, heads: DetectorHeads | None
) -> DetailVisionModel:
    """Return the tower, the detail path and the detector's heads, if given, as one model."""
    whole = DetailVisionModel(cast(DetailVisionConfig, vision_config(shape)))
    state = dict(tower.state_dict())
    for prefix, part in ((DETAIL, detail), (HEADS, heads)):
        if part is not None:
            state.update({f"{prefix}{name}": value for name, value in part.state_dict().items()})
    whole.load_state_dict(state)
    return whole


@torch.no_grad()
def scale_to_unit(tower: CLIPVisionModel, features: Tensor) -> Tensor:
    """Scale the outputs of the tower and of its detail path to a standard deviation of 1 each.

    `features` are those of N images, N x P x width. Returns the factors, one for each of width;
    those of a detector's output are 1.
    """
    width = tower.config.hidden_size
    parts = features.split(width, dim=-1)
    factors = [1 / float(part.float().std()) for part in parts[:2]] + [1.0] * len(parts[2:])
    scale_residual(tower, factors[0])
    if isinstance(tower, DetailVisionModel):
        for parameter in tower.detail.out.parameters():
            parameter.mul_(factors[1])
    return torch.tensor(factors).repeat_interleave(width)


@torch.no_grad()
def compute_features(
    tower: CLIPVisionModel, folder: Path, size: int, file: Path, crops: int = 0
) -> Tensor:
    """Return the frozen tower's output for every image, N x P x width bf16; read `file` if it is
    there and of the same tower, images and sizes, else write it.

    With `crops` there are so many versions of each image (chatspot_train.tiny.crops), those of the
    first image first, with small changes of light and grain: the tower knows its training images
    better than any others, and changed ones are more like new ones. 0: the images as they are.
    """
    kitchens = RenderedKitchens(folder)
    made_from = {
        "tower": digest_weights(tower),
        "images": len(kitchens),
        "size": size,
        "crops": crops,
    }
    about = file.with_name(f"{file.name}.json")
    if file.exists() and about.is_file() and json.loads(about.read_text()) == made_from:
        saved: Tensor = torch.load(file, weights_only=True)
        return saved
    about.unlink(missing_ok=True)
    tower.eval()
    parts = []
    count = len(kitchens) * max(1, crops)
    for first in tqdm(range(0, count, BATCH), desc=f"features ({folder.name})"):
        indices = range(first, min(first + BATCH, count))
        if crops:
            images = [_crop_version(kitchens, *divmod(k, crops), size) for k in indices]
        else:
            images = [resize(kitchens.rgb(k), size) for k in indices]
        pixels = torch.stack([to_pixels(image) for image in images])
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_multiplies_bf16()):
            hidden = tower(pixels, output_hidden_states=True).hidden_states
        read = [hidden[layer] for layer in np.atleast_1d(feature_layers(tower.config))]
        parts.append(torch.cat(read, -1)[:, 1:].to(torch.bfloat16))
    found = torch.cat(parts)
    torch.save(found, file)
    about.write_text(json.dumps(made_from))
    return found


def digest_weights(model: nn.Module) -> str:
    """Return a digest of the model's weights."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _crop_version(kitchens: RenderedKitchens, index: int, version: int, size: int) -> Any:
    """Return a version of an image, recoloured."""
    rgb = kitchens.rgb(index)
    rgb, _, _ = crop(rgb, rgb, crop_window(index, version))
    return recolour(resize(rgb, size), np.random.default_rng([RECOLOUR_SEED, index, version]))
