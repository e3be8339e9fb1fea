"""The step from a picture to a model's inputs, the same for answering and for training."""

from __future__ import annotations

from typing import Any

import torch

from chatspot_ros.core.geometry import Fit, RgbImage
from chatspot_ros.core.model_spec import ModelSpec


def image_inputs(
    image_rgb: RgbImage, spec: ModelSpec, image_processor: Any
) -> tuple[Fit, dict[str, Any]]:
    """Lay a picture onto the model's geometry and run its image processor.

    `image_rgb` is uint8 H x W x 3, RGB, 0 to 255. Return the layout and the processor's tensors.
    """
    fit = spec.geometry.fit((image_rgb.shape[1], image_rgb.shape[0]))
    picture = fit.apply(image_rgb, spec.fill_rgb)
    # The processor would guess from the shape, and a picture may be one or three pixels high.
    options: dict[str, Any] = {"input_data_format": "channels_last"}
    if not spec.geometry.processor_resizes:
        options |= _keep_size(image_processor)
    made = image_processor(images=picture, return_tensors="pt", **options)
    return fit, {key: torch.as_tensor(value) for key, value in made.items()}


def _keep_size(image_processor: Any) -> dict[str, Any]:
    """Return the options that keep an image processor from changing the picture's size.

    It only cuts the picture into tiles, for which the picture already has the right size.
    """
    wanted = {"do_resize": False, "do_center_crop": False, "do_pad": False,
              "crop_to_patches": True}  # fmt: skip
    return {key: on for key, on in wanted.items() if hasattr(image_processor, key)}
