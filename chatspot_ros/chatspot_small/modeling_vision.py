"""EfficientNet-Lite as the vision tower of a LLaVA-class model.

The network of "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (Tan and
Le, 2019) in its Lite form: no squeeze-and-excitation, ReLU6, stem and head of fixed width. A vector
tells of 64 x 64 pixels: its four cells of 32 pixels and sixteen finer ones of 16 pixels lie side by
side in it (as InternVL's and SmolVLM's pixel shuffle lays them), because the language model's time
goes with the number of vectors, and a handle is often 20 pixels long. Importing this module
registers the class with transformers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

CELL = 64
# The pixels of a coarse and of a finer cell of the network itself.
_COARSE, _FINE = 32, 16
# Waves of the code of a vector's place, for each axis.
_WAVES = 8


class EfficientNetLiteConfig(PretrainedConfig):
    """The shape of the network; the defaults are EfficientNet-Lite2's.

    Each stage has `depths` blocks of `widths` channels, kernels of `kernels` pixels, and a first
    block of stride `strides`; inside a block the channels are `expansions` times as many. Pixels
    are RGB, scaled to -1..1 by (value - 127) / 128; height and width are multiples of 64.
    """

    model_type = "chatspot_efficientnet_lite"

    image_size: int = 384
    num_channels: int = 3
    stem_width: int = 32
    widths: list[int] | tuple[int, ...] = (16, 24, 48, 88, 120, 208, 352)
    depths: list[int] | tuple[int, ...] = (1, 3, 3, 4, 4, 5, 1)
    kernels: list[int] | tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    strides: list[int] | tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    expansions: list[int] | tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)
    batch_norm_eps: float = 1e-3

    # As a vision transformer's: the pixels that one vector tells of.
    patch_size: int = CELL

    @property
    def fine_stage(self) -> int:
        """The last stage with cells of 16 pixels."""
        stride = 2
        for stage, step in enumerate(self.strides):
            stride *= step
            if stride == _COARSE:
                return stage - 1
        raise ValueError(f"the strides {self.strides} never reach cells of {_COARSE} pixels")

    @property
    def hidden_size(self) -> int:
        """The length of a vector: its coarse cells, its finer cells and its place."""
        coarse, fine = (CELL // _COARSE) ** 2, (CELL // _FINE) ** 2
        return int(self.widths[-1] * coarse + self.widths[self.fine_stage] * fine + 4 * _WAVES)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: more at the right and lower edge if uneven."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map B x C x H x W to B x C' x ceil(H / stride) x ceil(W / stride)."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        pads: list[int] = []
        for side in (maps.shape[-1], maps.shape[-2]):
            surplus = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [surplus // 2, surplus - surplus // 2]
        return super().forward(F.pad(maps, pads) if any(pads) else maps)


def _convolution(
    before: int, width: int, kernel: int, stride: int, groups: int, eps: float, active: bool
) -> nn.Sequential:
    layers: list[nn.Module] = [
        SameConv(before, width, kernel, stride=stride, groups=groups, bias=False),
        nn.BatchNorm2d(width, eps=eps),
    ]
    return nn.Sequential(*layers, *([nn.ReLU6()] if active else []))


class InvertedResidual(nn.Module):
    """A block: channels are expanded, filtered one by one, and brought together again."""

    def __init__(
        self, before: int, width: int, kernel: int, stride: int, expansion: int, eps: float
    ) -> None:
        super().__init__()
        inner = before * expansion
        self.expand = (
            _convolution(before, inner, 1, 1, 1, eps, True) if expansion > 1 else nn.Identity()
        )
        self.filter = _convolution(inner, inner, kernel, stride, inner, eps, True)
        self.project = _convolution(inner, width, 1, 1, 1, eps, False)
        self.adds = stride == 1 and before == width

    def forward(self, maps: Tensor) -> Tensor:
        """Map B x C x H x W to B x C' x H' x W'."""
        found: Tensor = self.project(self.filter(self.expand(maps)))
        return found + maps if self.adds else found


class EfficientNetLiteModel(PreTrainedModel):
    """Pixels to a vector for each 64 x 64 pixels, row by row."""

    config_class = EfficientNetLiteConfig
    base_model_prefix = "vision_model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)  # type: ignore[assignment]

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        eps = config.batch_norm_eps
        self.stem = _convolution(config.num_channels, config.stem_width, 3, 2, 1, eps, True)
        before, stages = config.stem_width, []
        for width, depth, kernel, stride, expansion in zip(
            config.widths, config.depths, config.kernels, config.strides, config.expansions,
            strict=True,
        ):  # fmt: skip
            blocks = [
                InvertedResidual(before if k == 0 else width, width, kernel,
                                 stride if k == 0 else 1, expansion, eps)
                for k in range(depth)
            ]  # fmt: skip
            stages.append(nn.Sequential(*blocks))
            before = width
        self.stages = nn.ModuleList(stages)
        self.post_init()

    def train(self, mode: bool = True) -> EfficientNetLiteModel:
        """Set the mode of training; batch normalisation keeps the statistics of ImageNet.

        A few cuts of one picture have no statistics of their own worth learning.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Map B x 3 x H x W pixels to B x (H / 64 * W / 64) x hidden_size.

        Raises ValueError: a side is no multiple of 64.
        """
        if any(side % CELL for side in pixel_values.shape[-2:]):
            raise ValueError(f"sides {tuple(pixel_values.shape[-2:])} are no multiples of {CELL}")
        maps = self.stem(pixel_values.contiguous(memory_format=torch.channels_last))
        fine = maps
        for number, stage in enumerate(self.stages):
            maps = stage(maps)
            if number == self.config.fine_stage:
                fine = maps
        parts = [
            F.pixel_unshuffle(_normalised(maps), CELL // _COARSE),
            F.pixel_unshuffle(_normalised(fine), CELL // _FINE),
        ]
        cells = torch.cat([*parts, _places(parts[0])], 1).flatten(2).transpose(1, 2)
        return BaseModelOutputWithPooling(last_hidden_state=cells, hidden_states=(cells,))


def _normalised(maps: Tensor) -> Tensor:
    """Return maps whose channels have mean 0 and variance 1 in each cell."""
    return F.layer_norm(maps.movedim(1, -1), maps.shape[1:2]).movedim(-1, 1)


def _places(maps: Tensor) -> Tensor:
    """Return sines and cosines of the places of the cells, B x 4 * _WAVES x H x W.

    The waves are 2, 1, 1/2, ... sides of the picture long, whatever its size.
    """
    batch, _, height, width = maps.shape
    codes = []
    for axis, side in ((0, height), (1, width)):
        at = (torch.arange(side, device=maps.device) + 0.5) / side
        angles = at * math.pi * 2.0 ** torch.arange(_WAVES, device=maps.device)[:, None]
        code = torch.cat([angles.sin(), angles.cos()])
        code = code[:, :, None] if axis == 0 else code[:, None, :]
        codes.append(code.expand(-1, height, width))
    return torch.cat(codes).to(maps.dtype).expand(batch, -1, -1, -1)


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel)
