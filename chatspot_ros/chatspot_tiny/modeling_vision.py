"""chatspot-tiny's vision tower: CLIP's, and beside it a convolutional path for fine detail.

A tower with patches of 20 pixels, trained from nothing, learns where things stand but hardly reads
print (docs/LOG.md). Convolutions at a quarter of the picture's size read it; their output goes to
the language model beside the tower's own (docs/adr/0014), and so do the features of a detector's
heads on them (docs/adr/0016). Importing this module registers the class with transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, CLIPVisionConfig, CLIPVisionModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from chatspot_ros.chatspot_tiny.detection_features import DetectionFeatures, DetectorHeads


class DetailVisionConfig(CLIPVisionConfig):  # type: ignore[no-untyped-call]
    """CLIP's vision configuration, and the detail path's channels.

    `detail_widths` are the channels at 1/2, 1/4 and 1/8 of the picture's size and on the patches;
    `detail_blocks` the residual blocks at each of them. Detector heads of `head_width` channels
    find `thing_kinds` kinds of things; 0: there are none.
    """

    model_type = "chatspot_detail_vision"

    detail_widths: list[int] | tuple[int, ...] = (24, 48, 96, 192)
    detail_blocks: list[int] | tuple[int, ...] = (0, 1, 1, 2)
    thing_kinds: int = 0
    head_width: int = 64


def make_heads(config: DetailVisionConfig, kinds: int) -> DetectorHeads:
    """Return detector heads on the detail path of that configuration."""
    _, _, fine, coarse = config.detail_widths
    return DetectorHeads(fine, coarse, config.head_width, kinds)


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map B x C x H x W to the same shape."""
        added: Tensor = self.second(F.relu(self.first(F.relu(maps))))
        return maps + added


class DetailNet(nn.Module):
    """A small convolutional network from a picture to a vector for each patch."""

    def __init__(self, config: DetailVisionConfig) -> None:
        super().__init__()
        widths = list(config.detail_widths)
        self.side = int(config.image_size) // int(config.patch_size)  # type: ignore[arg-type]
        steps = zip([config.num_channels, *widths[:-1]], widths, strict=True)
        self.downs = nn.ModuleList(
            nn.Conv2d(before, width, 5 if k == 0 else 3, stride=2, padding=2 if k == 0 else 1)
            for k, (before, width) in enumerate(steps)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Residual(width) for _ in range(count)))
            for width, count in zip(widths, config.detail_blocks, strict=True)
        )
        self.out = nn.Linear(widths[-1], config.hidden_size)

    def maps(self, pixel_values: Tensor) -> list[Tensor]:
        """Map B x 3 x H x W pixels to the maps at 1/2, 1/4, 1/8 and on the patches."""
        found: list[Tensor] = []
        maps = pixel_values.contiguous(memory_format=torch.channels_last)
        for k, (down, blocks) in enumerate(zip(self.downs, self.blocks, strict=True)):
            if k == len(self.downs) - 1 and maps.shape[-1] != 2 * self.side:
                size = (2 * self.side, 2 * self.side)
                maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
            maps = blocks(down(F.relu(maps) if k else maps))
            found.append(maps)
        return found

    def tokens(self, maps: Tensor) -> Tensor:
        """Return the last map as B x P x hidden_size, row by row."""
        found: Tensor = self.out(F.relu(maps).flatten(2).transpose(1, 2))
        return found

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Map B x 3 x H x W pixels to B x P x hidden_size."""
        return self.tokens(self.maps(pixel_values)[-1])


class DetailVisionModel(CLIPVisionModel):  # type: ignore[no-untyped-call]
    """CLIP's vision tower with the detail path beside it.

    The hidden states are CLIP's, then the detail path's output, with its mean in the place of the
    class token; so LLaVA's `vision_feature_layer` [-2, -1] takes both. With detector heads, their
    features come last, and [-3, -2, -1] takes all three.
    """

    config: DetailVisionConfig
    config_class = DetailVisionConfig

    def __init__(self, config: DetailVisionConfig) -> None:
        super().__init__(config)
        self.detail = DetailNet(config)
        self.things: DetectionFeatures | None = None
        if config.thing_kinds:
            heads = make_heads(config, config.thing_kinds)
            self.things = DetectionFeatures(heads, self.detail.side, int(config.hidden_size))
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, pixel_values: Tensor, **options: Any) -> BaseModelOutputWithPooling:
        """Run the tower on B x 3 x H x W pixels; return CLIP's output and all hidden states."""
        options["output_hidden_states"] = True
        options["return_dict"] = True
        seen: BaseModelOutputWithPooling = super().forward(pixel_values, **options)
        _, _, middle, coarse = self.detail.maps(pixel_values.to(self.detail.out.weight.dtype))
        found = [self.detail.tokens(coarse)]
        if self.things is not None:
            found.append(self.things(middle, coarse))
        whole = [torch.cat([one.mean(1, keepdim=True), one], 1) for one in found]
        seen.hidden_states = (*(seen.hidden_states or ()), *whole)
        return seen


AutoConfig.register(DetailVisionConfig.model_type, DetailVisionConfig)
AutoModel.register(DetailVisionConfig, DetailVisionModel)
