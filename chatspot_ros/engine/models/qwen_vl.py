"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Qwen3.5: positions on three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import EncodedImage, Family, Offsets, PositionAdapter


class Qwen(Family):
    """Qwen2-VL, 2.5-VL, 3-VL and 3.5: positions have three axes, and a picture takes up fewer of
    them than it has tokens.

    Text has equal positions on all axes, so a question needs one number of its picture, the
    shift, which is kept on the cache. The model's own `rope_deltas`, that of the picture encoded
    last, is never used.
    """

    cuts_move_positions = True

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        self.model = PositionAdapter(self.whole, self)
        self._merge = int(loaded.model.config.vision_config.spatial_merge_size)

    def cut_text(self, encoded: EncodedImage) -> str:
        """Return what stands for a cut in a question, with the marks that the template writes
        around a picture."""
        return f"<|vision_start|>{encoded.text}<|vision_end|>"

    def cut_offsets(self, cut: EncodedImage, start: int, begin: int, count: int) -> Offsets:
        """See Family: a picture's rows and columns count from its beginning, and the text behind it
        from its longer side."""
        _, rows, columns = (int(side) for side in cut.inputs["grid"][0])
        rows, columns = rows // self._merge, columns // self._merge
        offsets: Offsets = []
        for place in range(begin - start, begin - start + count):
            if place < 0:
                offsets.append((0, 0, 0))
            elif place < rows * columns:
                row, column = divmod(place, columns)
                offsets.append((-place, row - place, column - place))
            else:
                offsets.append((max(rows, columns) - rows * columns,) * 3)
        return offsets

    @staticmethod
    def with_cuts(inputs: dict[str, Any], cuts: Sequence[EncodedImage]) -> dict[str, Any]:
        """See Family."""
        grids = [one["grid"] for one in (inputs, *(cut.inputs for cut in cuts)) if one]
        return {**Family.with_cuts(inputs, cuts), "grid": torch.cat(grids)}

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
        causal model (1, tokens), or with the offsets of cuts (3, 1, tokens)."""
        shifted: Tensor = plain + cache.position_shift
        return shifted if plain.dim() == 3 else shifted.expand(3, *plain.shape)
