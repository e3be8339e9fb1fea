"""chatspot-tiny's detail path as a transformers object detector.

Its heads are those of `chatspot_ros.chatspot_tiny.detection_features`. The path's weights stay in
the model's folder, and so do the heads' where the model has them. Importing this module registers
the class with transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForObjectDetection, PreTrainedModel
from transformers.utils.generic import ModelOutput

from chatspot_ros.chatspot_tiny.detection_features import (
    NEVER,
    ONE_PLACE_IOU,
    SAME_IOU,
    peaks,
    seconds,
)
from chatspot_ros.chatspot_tiny.modeling_vision import (
    DetailNet,
    DetailVisionConfig,
    make_heads,
)

# Prefixes of the weights' names in a LLaVA's file and here.
_FROM = {"vision_tower.detail.": "net.", "vision_tower.things.heads.": "heads."}
_WEIGHTS = "model.safetensors"


class DetailDetectorConfig(DetailVisionConfig):  # type: ignore[no-untyped-call]
    """The detail path's shape, and the heads' of a detector on it.

    `detail_of` is the model's folder, relative to the detector's own; `most` the largest number of
    detections; boxes of one kind with an IoU above `same_iou` are one thing, and boxes of any kind
    above `one_place_iou`. `thing_kinds` is the number of kinds of the model's heads; 0: it has
    none, and the heads are in the detector's folder.
    """

    model_type = "chatspot_detail_detector"

    detail_of: str = "../chatspot-tiny"
    most: int = 100
    same_iou: float = SAME_IOU
    one_place_iou: float = ONE_PLACE_IOU

    @property
    def has_own_weights(self) -> bool:
        """Whether there are weights beside the detector's config.json."""
        return not self.thing_kinds


@dataclass
class Detections(ModelOutput):
    """`logits` B x most x kinds; `pred_boxes` B x most x 4: centre, width, height, fractions."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None


class DetailDetector(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A detector whose output has RT-DETR's form: scores by sigmoid, each box one thing."""

    config: DetailDetectorConfig
    config_class = DetailDetectorConfig
    main_input_name = "pixel_values"
    base_model_prefix = ""

    def __init__(self, config: DetailDetectorConfig) -> None:
        super().__init__(config)
        self.net = DetailNet(config)
        self.heads = make_heads(config, len(config.id2label or {}))
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder: Any, *arguments: Any, **options: Any
    ) -> Any:
        """Load the folder's weights, and the rest from the model's folder.

        Raises OSError where one of them is missing.
        """
        folder = Path(folder)
        config = options.pop("config", None) or cls.config_class.from_pretrained(folder)
        state = _weights_of_model(folder / config.detail_of)
        if not config.thing_kinds:
            state.update(load_file(folder / _WEIGHTS))
        if not any(name.startswith("heads.") for name in state):
            raise OSError(f"the model in {config.detail_of}, from {folder}, has no detector heads")
        for name in ("local_files_only", "use_safetensors", "trust_remote_code"):
            options.pop(name, None)
        return super().from_pretrained(None, config=config, state_dict=state, **options)

    def save_pretrained(self, folder: Any, **options: Any) -> None:  # type: ignore[override]
        """Write the configuration, and the heads unless the model has them."""
        kept = () if self.config.thing_kinds else ("heads.",)
        state = {name: value for name, value in self.state_dict().items() if name.startswith(kept)}
        super().save_pretrained(folder, state_dict=state, **options)

    def forward(self, pixel_values: Tensor, **unused: Any) -> Detections:
        """Detect things in B x 3 x H x W pixels of chatspot-tiny's processor."""
        _, _, fine, coarse = self.net.maps(pixel_values)
        found = [self.things(*one) for one in zip(*self.heads(fine, coarse), strict=True)]
        return Detections(
            logits=torch.stack([scores for scores, _ in found]),
            pred_boxes=torch.stack([boxes for _, boxes in found]),
        )

    def things(self, logits: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return one picture's peaks: `most` x kinds logits, NEVER except for the peak's own kind,
        and `most` x 4 boxes cx, cy, w, h."""
        (scores,), (kind,), _, (boxes,) = peaks(logits[None], edges[None], self.config.most)
        most = len(scores)
        first = alone(boxes, kind, self.config.same_iou, self.config.one_place_iou)
        out = logits.new_full((self.config.most, logits.shape[0]), NEVER)
        out[torch.arange(most)[first], kind[first]] = scores[first]
        sizes = boxes[:, 2:] - boxes[:, :2]
        found = boxes.new_zeros(self.config.most, 4)
        found[:most] = torch.cat([boxes[:, :2] + sizes / 2, sizes.clamp(0)], -1)
        return out, found


def alone(boxes: Tensor, kinds: Tensor, same_iou: float, one_place_iou: float) -> Tensor:
    """Return which of N x 4 boxes x1, y1, x2, y2, highest score first, NMS keeps; N bool.

    A kept box suppresses later ones: of its kind above `same_iou`, any above `one_place_iou`.
    """
    same = seconds(boxes, kinds, same_iou, one_place_iou).cpu().numpy()
    stays: list[int] = []
    for k in range(len(boxes)):
        if not same[k, stays].any():
            stays.append(k)
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    kept[stays] = True
    return kept


def _weights_of_model(folder: Path) -> dict[str, Tensor]:
    """Return the model's weights that the detector shares, renamed. Raises OSError."""
    found: dict[str, Tensor] = {}
    try:
        with safe_open(folder / _WEIGHTS, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                for there, here in _FROM.items():
                    _, known, own = name.partition(there)
                    if known:
                        found[here + own] = weights.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise OSError(f"the detector looks through the model in {folder}: {error}") from error
    return found


AutoConfig.register(DetailDetectorConfig.model_type, DetailDetectorConfig)
AutoModelForObjectDetection.register(DetailDetectorConfig, DetailDetector)
