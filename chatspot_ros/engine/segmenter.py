"""Outlines of what an answer points at, by a promptable segmenter (SAM, arXiv 2304.02643).

It is asked with the box of each region in `grounded` and gives a mask; the mask's outline becomes
the region. SAM itself is tried; SAM 2 and EdgeTAM, of the same class in transformers, need
torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForMaskGeneration, AutoProcessor

from chatspot_ros.core.boxes import iou
from chatspot_ros.core.geometry import RgbImage, check_image
from chatspot_ros.core.regions import MAX_CORNERS, BoxXyxy, Region, RegionKind
from chatspot_ros.engine.loading.checkpoint import find_folder
from chatspot_ros.engine.model_errors import ModelFailure
from chatspot_ros.errors import ModelLoadError, shorten
from chatspot_ros.util.resources import find_model

# A mask that agrees less with its box is of another thing, and the box stays.
LEAST_OVERLAP = 0.5
# How far an outline may lie off its mask, as a share of its length; more where it has too many
# corners.
_OFF = 0.005


class Segmenter:
    """A segmenter in memory. Used by one thread at a time."""

    def __init__(self, model: Any, processor: Any) -> None:
        """`model` and `processor` are those of one checkpoint for mask generation."""
        self._model, self._processor = model, processor
        # The last picture and what the model saw in it: most questions are about the same one.
        self._seen: tuple[RgbImage, Any] | None = None

    @classmethod
    def load(cls, model: str, *, device: str = "cpu", local_only: bool = True) -> Segmenter:
        """Load a folder or hub id in safetensors, without code of its own.

        Raises:
            ModelLoadError: there is no such segmenter, or it does not run.
        """
        folder = find_folder(find_model(model), local_only)
        try:
            loaded = AutoModelForMaskGeneration.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
            find: Any = AutoProcessor
            processor = find.from_pretrained(folder, trust_remote_code=False)
            made = cls(loaded.to(device).eval(), processor)
            made.masks(np.zeros((48, 64, 3), np.uint8), [(8.0, 8.0, 40.0, 40.0)])
            made._seen = None
        except Exception as error:  # a folder of another kind fails in many ways
            raise ModelLoadError(
                f"the segmenter cannot be used: {shorten(error)}", value=model,
                remedy="set the parameter segmenter to a SAM in safetensors, or to nothing",
            ) from error  # fmt: skip
        return made

    def masks(self, image_rgb: RgbImage, boxes: Sequence[BoxXyxy]) -> NDArray[np.bool_]:
        """Return the mask of the thing in each box: N x H x W.

        `image_rgb` is uint8 H x W x 3, RGB; `boxes` are corners in its pixels. Raises ImageError.
        """
        return self.logits(image_rgb, boxes) > 0

    @torch.inference_mode()
    def logits(self, image_rgb: RgbImage, boxes: Sequence[BoxXyxy]) -> NDArray[np.float32]:
        """Return the masks as numbers, float32 N x H x W: above 0 where the thing is."""
        check_image(image_rgb)
        corners = [[[float(value) for value in box] for box in boxes]]
        read = self._processor(images=image_rgb, input_boxes=corners, return_tensors="pt")
        read = read.to(self._model.device)
        if self._seen is None or self._seen[0] is not image_rgb:
            self._seen = image_rgb, self._model.get_image_embeddings(read["pixel_values"])
        found = self._model(
            image_embeddings=self._seen[1], input_boxes=read["input_boxes"], multimask_output=False
        )
        sizes = [read["original_sizes"].tolist()]
        if "reshaped_input_sizes" in read:
            sizes.append(read["reshaped_input_sizes"].tolist())
        (whole,) = self._processor.post_process_masks(
            found.pred_masks.cpu(), *sizes, binarize=False
        )
        scores: NDArray[np.float32] = whole[:, 0].numpy()
        return scores

    def outline(self, image_rgb: RgbImage, regions: Sequence[Region]) -> list[Region]:
        """Return regions with each box replaced by the outline of the thing in it, a polygon.

        A box stays where its mask does not fit it, and whatever is no box stays. Raises ModelError.
        """
        boxes = [k for k, one in enumerate(regions) if one.kind is RegionKind.BOX]
        outlined = list(regions)
        if not boxes:
            return outlined
        with ModelFailure("outline what the answer names"):
            masks = self.masks(image_rgb, [regions[k].box_xyxy_px for k in boxes])
        for k, mask in zip(boxes, masks, strict=True):
            corners = outline_of(mask, regions[k].box_xyxy_px)
            if corners:
                outlined[k] = replace(regions[k], points_px=corners)
        return outlined


def outline_of(mask: NDArray[np.bool_], box: BoxXyxy) -> tuple[tuple[float, float], ...]:
    """Return the corners of the largest part of a mask, H x W, in pixels; () if there is none.

    There is none either where the part's own box and `box` overlap (IoU) by less than a half.
    """
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    if not contours:
        return ()
    largest = max(contours, key=cv2.contourArea)
    left, top, width, height = cv2.boundingRect(largest)
    if iou((left, top, left + width, top + height), box) < LEAST_OVERLAP:
        return ()
    length, off = cv2.arcLength(largest, True), _OFF
    corners = cv2.approxPolyDP(largest, off * length, True)
    while len(corners) > MAX_CORNERS:
        off *= 2
        corners = cv2.approxPolyDP(largest, off * length, True)
    if len(corners) < 3:  # a line
        return ()
    # The contour goes through the middles of the outer pixels.
    return tuple((float(x) + 0.5, float(y) + 0.5) for x, y in corners[:, 0])
