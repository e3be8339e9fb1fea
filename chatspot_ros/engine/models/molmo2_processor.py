"""Molmo 2's image processor where torchvision is not installed.

transformers has no other one for this family. Its cutting and numbering of patches is used as it
is; torch does the resizing and normalising, for which it would need torchvision. Importing this
module registers the class (`loading/model_classes.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor, Molmo2Config
from transformers.models.molmo2.image_processing_molmo2 import (
    Molmo2ImageProcessor as WithTorchvision,
)
from transformers.utils.import_utils import is_torchvision_available


class Molmo2ImageProcessor(WithTorchvision):
    """Its namesake on torch alone: bilinear, as it always asks for; RGB pictures only.

    By its name AutoImageProcessor finds it, and checkpoints that were saved with either are the
    same.
    """

    def resize(self, image: Tensor, size: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Resize (pictures, 3, height, width), as torchvision does without antialiasing."""
        wh = (size.height, size.width)
        return F.interpolate(image, wh, mode="bilinear", align_corners=False, antialias=False)

    def normalize(self, image: Any, mean: Any, std: Any, *args: Any, **kwargs: Any) -> Any:
        """Subtract the mean of each colour and divide by its deviation."""
        mean, std = (torch.as_tensor(one, dtype=image.dtype).view(-1, 1, 1) for one in (mean, std))
        return (image - mean) / std

    def convert_to_rgb(self, image: Any, *args: Any, **kwargs: Any) -> Any:
        """Nothing to do: the engine's pictures are RGB."""
        return image


if not is_torchvision_available():
    both: dict[str, type] = {"torchvision": Molmo2ImageProcessor, "pil": Molmo2ImageProcessor}
    AutoImageProcessor.register(Molmo2Config, image_processor_classes=both, exist_ok=True)
