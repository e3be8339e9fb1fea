"""Pixtral and Mistral 3: rows of the picture's tokens, with marks behind each."""

from __future__ import annotations

import json

from torch import Tensor

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import EncodedImage, Family


class Pixtral(Family):
    """Pixtral's vision tower, in the class of LLaVA or of Mistral 3.

    The picture keeps its proportions; a mark stands behind each row of its tokens, and another one
    behind the last. A token is one patch, or in Mistral 3 a square of several.
    """

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        config = loaded.model.config
        merge = int(getattr(config, "spatial_merge_size", 1))
        self._side = int(config.vision_config.patch_size) * merge
        path = loaded.folder / "processor_config.json"
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self._row = str(settings.get("image_break_token", "[IMG_BREAK]"))
        self._end = str(settings.get("image_end_token", "[IMG_END]"))
        # The image processor rounds to whole tokens; its own setting is the side of a patch.
        loaded.image_processor.patch_size = {"height": self._side, "width": self._side}

    def encode_image(self, pixels: dict[str, Tensor]) -> EncodedImage:
        """Run the vision tower on the image processor's output for one picture."""
        sizes = pixels["image_sizes"]
        rows, columns = (int(side) // self._side for side in sizes[0])
        # Mistral 3's class loses the token of a picture that has only one: it is shown twice.
        times = 2 if rows * columns == 1 else 1
        output = self.whole.get_image_features(
            pixel_values=pixels["pixel_values"].repeat(times, 1, 1, 1),
            image_sizes=sizes.repeat(times, 1),
            return_dict=True,
        )
        output.pooler_output = output.pooler_output[:1]
        row = self.image_token * columns
        text = self._row.join([row] * rows) + self._end
        return EncodedImage(self._kept(output), text, rows * columns)
