"""A detector of things on chatspot-tiny's own detail path, as a transformers object detector.

Where the middle of a thing of some kind lies is told at each eighth pixel (Zhou et al., "Objects as
Points", 2019), and how far from there its edges are. The path's weights stay in the folder of the
model that they belong to. Importing this module makes transformers know the class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForObjectDetection, PreTrainedModel
from transformers.utils.generic import ModelOutput

from chatspot_ros.engine.vision import DetailNet, DetailVisionConfig

# In how a LLaVA's file calls the path's weights.
_PATH = "vision_tower.detail."
_WEIGHTS = "model.safetensors"
_FAR = (2, 4)  # patches: a large thing's edges are far from its middle
_NEVER = -1e4  # the logit of what is no peak


class DetailDetectorConfig(DetailVisionConfig):  # type: ignore[no-untyped-call]
    """The detail path's shape, and the heads' of a detector on it.

    `detail_of` is the folder of the model that has the path, from the detector's own folder;
    `most` how many things a picture may have; boxes of one kind that overlap with an IoU above
    `same_iou` are one thing, and boxes of any kind above `one_place_iou`.
    """

    model_type = "chatspot_detail_detector"

    detail_of: str = "../chatspot-tiny"
    head_width: int = 64
    most: int = 100
    same_iou: float = 0.5
    one_place_iou: float = 0.75


@dataclass
class Detections(ModelOutput):
    """`logits` B x most x kinds; `pred_boxes` B x most x 4: middle, width, height, fractions."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None


class DetectorHeads(nn.Module):
    """From the path's maps to scores of kinds and boxes at each eighth pixel."""

    def __init__(self, config: DetailDetectorConfig) -> None:
        super().__init__()
        width = config.head_width
        self.fine = nn.Conv2d(config.detail_widths[2], width, 1)
        self.wide = nn.Conv2d(config.detail_widths[3], width, 3, padding=1)
        self.wider = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=step, dilation=step) for step in _FAR
        )
        self.mix = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.kinds = nn.Conv2d(width, len(config.id2label or {}), 1)
        self.edges = nn.Conv2d(width, 4, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """The maps at 1/8 and on the patches; returns B x kinds x h x w logits, and B x 4 x h x w:
        how far the thing's left, top, right and bottom are from here, fractions of the picture."""
        wide = self.wide(F.relu(coarse))
        for wider in self.wider:
            wide = wide + wider(F.relu(wide))
        wide = F.interpolate(wide, fine.shape[-2:], mode="bilinear", align_corners=False)
        maps = self.fine(F.relu(fine)) + wide
        for mix in self.mix:
            maps = maps + mix(F.relu(maps))
        maps = F.relu(maps)
        return self.kinds(maps), self.edges(maps)


class DetailDetector(PreTrainedModel):  # type: ignore[no-untyped-call]
    """What it finds reads like what RT-DETR does: scores by sigmoid, each box one thing."""

    config: DetailDetectorConfig
    config_class = DetailDetectorConfig
    main_input_name = "pixel_values"
    base_model_prefix = ""

    def __init__(self, config: DetailDetectorConfig) -> None:
        super().__init__(config)
        self.net = DetailNet(config)
        self.heads = DetectorHeads(config)
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder: Any, *arguments: Any, **options: Any
    ) -> Any:
        """Load the heads from the folder and the path from that of the model it belongs to.

        Raises OSError where one of them is not there.
        """
        folder = Path(folder)
        config = options.pop("config", None) or cls.config_class.from_pretrained(folder)
        state = {**load_file(folder / _WEIGHTS), **_path_weights(folder / config.detail_of)}
        for name in ("local_files_only", "use_safetensors", "trust_remote_code"):
            options.pop(name, None)
        return super().from_pretrained(None, config=config, state_dict=state, **options)

    def save_pretrained(self, folder: Any, **options: Any) -> None:  # type: ignore[override]
        """Write the heads and the configuration; the path's weights are not written again."""
        state = {
            name: value for name, value in self.state_dict().items() if name.startswith("heads.")
        }
        super().save_pretrained(folder, state_dict=state, **options)

    def forward(self, pixel_values: Tensor, **unused: Any) -> Detections:
        """B x 3 x H x W pixels, as chatspot-tiny's processor makes them."""
        _, _, fine, coarse = self.net.maps(pixel_values)
        found = [self.things(*one) for one in zip(*self.heads(fine, coarse), strict=True)]
        return Detections(
            logits=torch.stack([scores for scores, _ in found]),
            pred_boxes=torch.stack([boxes for _, boxes in found]),
        )

    def things(self, logits: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """The peaks of one picture: `most` x kinds logits, _NEVER but for the peak's own kind, and
        `most` x 4 boxes cx, cy, w, h."""
        highest = F.max_pool2d(logits[None], 3, stride=1, padding=1)[0]
        peaks = torch.where(logits == highest, logits, torch.full_like(logits, _NEVER))
        most = min(self.config.most, peaks.numel())
        scores, index = peaks.flatten().topk(most)
        height, width = logits.shape[-2:]
        kind, place = index // (height * width), index % (height * width)
        middle = torch.stack([place % width + 0.5, place // width + 0.5], -1) / torch.tensor(
            [width, height], device=logits.device
        )
        offsets = edges.flatten(1).T[place]
        boxes = (torch.cat([middle, middle], -1) + offsets).clamp(0, 1)
        first = alone(boxes, kind, self.config.same_iou, self.config.one_place_iou)
        out = logits.new_full((self.config.most, logits.shape[0]), _NEVER)
        out[torch.arange(most)[first], kind[first]] = scores[first]
        sizes = boxes[:, 2:] - boxes[:, :2]
        found = boxes.new_zeros(self.config.most, 4)
        found[:most] = torch.cat([boxes[:, :2] + sizes / 2, sizes.clamp(0)], -1)
        return out, found


def alone(boxes: Tensor, kinds: Tensor, same_iou: float, one_place_iou: float) -> Tensor:
    """Which of N x 4 boxes x1, y1, x2, y2, the surest first, are no second one of a thing; N bool.

    One is a second one where it overlaps a surer one that stays: one of its kind by more than
    `same_iou`, any by more than `one_place_iou`.
    """
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clamp(0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(0).prod(-1)
    iou = shared / (areas[:, None] + areas[None] - shared).clamp(1e-9)
    same_kind = kinds[:, None] == kinds[None]
    same = (((iou > same_iou) & same_kind) | (iou > one_place_iou)).cpu().numpy()
    stays: list[int] = []
    for k in range(len(boxes)):
        if not same[k, stays].any():
            stays.append(k)
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    kept[stays] = True
    return kept


def _path_weights(folder: Path) -> dict[str, Tensor]:
    """The detail path's weights in a LLaVA's folder, under the detector's names. Raises OSError."""
    found: dict[str, Tensor] = {}
    try:
        with safe_open(folder / _WEIGHTS, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                _, here, own = name.partition(_PATH)
                if here:
                    found[f"net.{own}"] = weights.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise OSError(f"the detector looks through the model in {folder}: {error}") from error
    return found


AutoConfig.register(DetailDetectorConfig.model_type, DetailDetectorConfig)
AutoModelForObjectDetection.register(DetailDetectorConfig, DetailDetector)
