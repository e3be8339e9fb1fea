"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: positions on three axes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import EncodedImage, Family, PositionAdapter

# transformers' models that keep `rope_deltas`; docs/models.md names those that are tested.
MODEL_TYPES = (
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "qwen4_exp"),
    *("glm4v", "glm4v_moe", "glm46v", "glm_ocr", "paddleocr_vl", "hunyuan_vl", "ernie4_5_vl_moe"),
    *("cohere_compass", "cosmos3_edge", "cosmos3_omni", "exaone4_5", "minicpmv4_7"),
)


class Qwen(Family):
    """Qwen2-VL, 2.5-VL and 3-VL: positions have three axes, and a picture takes up fewer of them
    than it has tokens.

    Text has equal positions on all axes, so a question needs one number of its picture, the
    shift, which is kept on the cache. The model's own `rope_deltas`, that of the picture encoded
    last, is never used.
    """

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        self.model = PositionAdapter(self.whole, self)

    def encode_image(self, pixels: dict[str, Tensor]) -> EncodedImage:
        """Run the vision tower on the image processor's output for one picture."""
        encoded = super().encode_image(pixels)
        return EncodedImage(
            {**encoded.inputs, "grid": pixels["image_grid_thw"]}, encoded.text, encoded.tokens
        )

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        positions, shift = self.whole.model.get_rope_index(
            input_ids, (input_ids == self.image_token_id).int(), image_grid_thw=inputs["grid"]
        )
        cache.position_shift = int(shift)
        features = inputs["mm_encoder_outputs"]
        return self._read(input_ids, cache, position_ids=positions, mm_encoder_outputs=features)

    def positions(self, plain: Tensor, cache: Any) -> Tensor:
        """Return the positions (3, 1, tokens) of text behind the cache's picture, from those of a
        causal model (1, tokens)."""
        shifted: Tensor = plain + cache.position_shift
        return shifted.expand(3, *plain.shape)
