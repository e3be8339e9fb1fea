"""The step from a picture to a model's inputs, the same for answering and for training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from chatspot_ros.core.crops import cut_around
from chatspot_ros.core.geometry import Fit, PictureGeometry, RgbImage
from chatspot_ros.core.geometry import fit as lay
from chatspot_ros.core.model_spec import ModelSpec
from chatspot_ros.core.regions import Region

_CONTEXT = 0.3


def image_inputs(
    image_rgb: RgbImage, spec: ModelSpec, image_processor: Any
) -> tuple[Fit, dict[str, Any]]:
    """Lay a picture onto the model's geometry and run its image processor.

    `image_rgb` is uint8 H x W x 3, RGB, 0 to 255. Return the layout and the processor's tensors.
    """
    fit = spec.geometry.fit((image_rgb.shape[1], image_rgb.shape[0]))
    return fit, _processed(image_rgb, fit, spec, image_processor)


def crop_inputs(
    image_rgb: RgbImage, region: Region, spec: ModelSpec, image_processor: Any
) -> dict[str, Any]:
    """Cut out a region's surroundings for a second look; return the processor's tensors.

    `image_rgb` is uint8 H x W x 3, RGB, 0 to 255, and `region` clipped to it. A model that was
    trained without a second look gets the cut as large as a whole picture.
    """
    height, width = image_rgb.shape[:2]
    crop = spec.crop
    x1, y1, x2, y2 = cut_around(region, (width, height), crop.context if crop else _CONTEXT)
    cut = np.ascontiguousarray(image_rgb[y1:y2, x1:x2])
    wh = (x2 - x1, y2 - y1)
    laid = spec.geometry.fit(wh)
    if crop is not None:
        laid = lay(PictureGeometry.STRETCH, wh, (crop.width, crop.height))
    return _processed(cut, laid, spec, image_processor)


def _processed(
    image_rgb: RgbImage, laid: Fit, spec: ModelSpec, image_processor: Any
) -> dict[str, Any]:
    picture = laid.apply(image_rgb, spec.fill_rgb)
    # The processor would guess from the shape, and a picture may be one or three pixels high.
    options: dict[str, Any] = {"input_data_format": "channels_last"}
    if not spec.geometry.processor_resizes:
        options |= _keep_size(image_processor)
    made = image_processor(images=picture, return_tensors="pt", **options)
    return {key: torch.as_tensor(value) for key, value in made.items()}


def _keep_size(image_processor: Any) -> dict[str, Any]:
    """Return the options that keep an image processor from changing the picture's size.

    It only cuts the picture into tiles, for which the picture already has the right size.
    """
    wanted = {"do_resize": False, "do_center_crop": False, "do_pad": False,
              "crop_to_patches": True}  # fmt: skip
    return {key: on for key, on in wanted.items() if hasattr(image_processor, key)}
