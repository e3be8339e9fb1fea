"""A head that points: the token that opens a box asks the picture's patches where the thing is.

After LLaVA-Grounding (arXiv 2312.02949, section 3): the hidden states of the language model at that
token are the query, the vision tower's patches of the whole picture the keys. Each patch is
unfolded into K x K sub-cells; each sub-cell says whether the thing is there and how far its edges
are, as FCOS does (arXiv 1904.01355). The head is a file of its own beside any checkpoint that
replaces image tokens by projected patches; chatspot.yaml names it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from chatspot_ros.errors import ModelLoadError

HEAD_FILE = "grounding_head.safetensors"
_CONFIG = "config"
# Waves of the code of a sub-cell's place, for each axis.
_WAVES = 4
# A new head finds a thing in few sub-cells.
_RARE = -4.0
# A distance to an edge of about this share of the picture where a new head says 0.
_NEAR = 0.15
_SEEN, _EDGES = 1, 4
# Numbers of a patch that its sub-cells are made of, over the head's width.
_NARROW = 4


@dataclass(frozen=True)
class HeadConfig:
    """The shape of a head.

    `patch_size` is the length of a patch's vector, `state_size` that of a hidden state, `layers`
    are the hidden states that are read (0: the embeddings), `width` the channels inside, `unfold`
    the sub-cells of a patch on each side.
    """

    patch_size: int
    state_size: int
    layers: tuple[int, ...]
    width: int = 64
    unfold: int = 4

    def __post_init__(self) -> None:
        """Raises ValueError for a number out of range."""
        sizes = (self.patch_size, self.state_size, self.width, self.unfold, len(self.layers))
        if min(sizes) < 1 or min(self.layers) < 0:
            raise ValueError(f"a grounding head has no such shape: {self}")


class _Block(nn.Module):
    """A residual block that looks at 7 x 7 sub-cells, as ConvNeXt's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(2 * width, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map B x C x H x W to the same shape."""
        found: Tensor = self.narrow(F.gelu(self.widen(self.norm(self.around(maps)))))
        return maps + found


class GroundingHead(nn.Module):
    """Maps of a picture once, then a box for each query."""

    calibration: Tensor

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width, cells = config.width, config.unfold**2
        self.patch_norm = nn.LayerNorm(config.patch_size, elementwise_affine=False)
        # In two steps: from a patch of thousands of numbers at once it is most of the head.
        self.keys = nn.Sequential(
            nn.Linear(config.patch_size, _NARROW * width, bias=False),
            nn.Linear(_NARROW * width, width * cells),
        )
        self.places = nn.Conv2d(4 * _WAVES, width, 1)
        self.blocks = nn.Sequential(_Block(width), _Block(width))
        self.state_norm = nn.LayerNorm(config.state_size, elementwise_affine=False)
        self.mix = nn.Parameter(torch.zeros(len(config.layers)))
        self.query = nn.Sequential(
            nn.Linear(config.state_size, 2 * width), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(2 * width, 4 * width),
        )  # fmt: skip
        self.norms = nn.ModuleList(nn.GroupNorm(1, width, affine=False) for _ in range(2))
        self.looks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.found = nn.Conv2d(width, _SEEN + _EDGES, 1)
        # From a logit to that of the probability that its box is right; fitted after training.
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        nn.init.zeros_(self.found.weight)

    def maps(self, grids: Tensor) -> Tensor:
        """Return the maps of pictures: B x rows x columns x patch_size (see `patches.on_grid`) to
        B x width x rows K x columns K."""
        fold = self.config.unfold
        cells = self.keys(self.patch_norm(grids.float())).permute(0, 3, 1, 2)
        cells = F.pixel_shuffle(cells, fold)
        places = self.places(_places(cells.shape[-2], cells.shape[-1], cells.device))
        maps: Tensor = self.blocks(cells + places)
        return maps

    def forward(self, maps: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each query the logits that its thing is in a sub-cell, Q x cells, and the box
        (x1, y1, x2, y2 in the unit of the picture) that each sub-cell gives, Q x cells x 4.

        `maps` (Q x width x H x W) are those of the queries' pictures, `states` (Q x layers x
        state_size) the hidden states at the tokens that open their boxes. Sub-cells go row by row.
        """
        mixed = (self.state_norm(states.float()) * self.mix.softmax(0)[:, None]).sum(1)
        asked = self.query(mixed).reshape(len(mixed), 2, 2, -1)
        for k, (norm, look) in enumerate(zip(self.norms, self.looks, strict=True)):
            scale, shift = asked[:, k, 0, :, None, None], asked[:, k, 1, :, None, None]
            maps = look(F.gelu(norm(maps) * (1 + scale) + shift)) + (maps if k else 0)
        found = self.found(F.gelu(maps))
        height, width = found.shape[-2:]
        far = (F.softplus(found[:, _SEEN:]) * (_NEAR / math.log(2))).flatten(2).transpose(1, 2)
        middles = cell_middles(height, width, found.device)
        boxes = torch.cat([middles - far[..., :2], middles + far[..., 2:]], -1).clamp(0, 1)
        return found[:, 0].flatten(1) + _RARE, boxes

    def scored(self, maps: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each query the probability that a sub-cell's box is right, Q x cells, and its
        box, as `forward`."""
        logits, boxes = self(maps, states)
        slope, shift = self.calibration
        return (logits * slope + shift).sigmoid(), boxes

    def save(self, file: Path) -> None:
        """Write the head in float16, with its shape."""
        weights = {key: one.detach().half().contiguous() for key, one in self.state_dict().items()}
        save_file(weights, file, {_CONFIG: json.dumps(asdict(self.config))})


def load_head(file: Path, device: torch.device | str = "cpu") -> GroundingHead:
    """Load a head in float32. Raises ModelLoadError for a file that is none."""
    try:
        with safe_open(file, "pt") as opened:
            raw: dict[str, Any] = json.loads((opened.metadata() or {})[_CONFIG])
            weights = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        head = GroundingHead(HeadConfig(**{**raw, "layers": tuple(raw["layers"])}))
        head.load_state_dict({key: one.float() for key, one in weights.items()})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelLoadError(
            f"the grounding head cannot be loaded: {str(error).strip().splitlines()[0]}",
            value=file,
            remedy="train it with recipe: ground, or take `pointing` out of chatspot.yaml",
        ) from error
    return head.to(device).eval()


def cell_middles(height: int, width: int, device: torch.device) -> Tensor:
    """Return the middles (x, y) of sub-cells row by row, cells x 2, in the picture's unit."""
    ys, xs = torch.meshgrid(
        (torch.arange(height, device=device) + 0.5) / height,
        (torch.arange(width, device=device) + 0.5) / width, indexing="ij",
    )  # fmt: skip
    return torch.stack([xs, ys], -1).flatten(0, 1)


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Return sines and cosines of the places of sub-cells, 1 x 4 _WAVES x height x width."""
    at = cell_middles(height, width, device)
    angles = at[:, :, None] * math.pi * 2.0 ** torch.arange(_WAVES, device=device)
    codes = torch.cat([angles.sin(), angles.cos()], -1).flatten(1).T
    return codes.reshape(1, -1, height, width)
