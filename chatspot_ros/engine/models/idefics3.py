"""Idefics3 and SmolVLM2: tiles with their row and column, and a view of the whole."""

from __future__ import annotations

from torch import Tensor

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import EncodedImage, Family

_MARK = "<fake_token_around_image>"
_WHOLE = "<global-img>"


class Idefics3(Family):
    """Idefics3 and SmolVLM2: the picture's tiles, each behind its place, and a view of the whole.

    Every view has the same number of tokens. A picture that is not cut is only the whole.
    """

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        self._mark = str(getattr(loaded.tokenizer, "fake_image_token", _MARK))
        self._whole = str(getattr(loaded.tokenizer, "global_image_token", _WHOLE))
        loaded.image_processor.return_row_col_info = True

    def encode_image(self, pixels: dict[str, Tensor]) -> EncodedImage:
        """Run the vision tower on the image processor's output for one picture."""
        encoded = super().encode_image(pixels)
        rows, columns = int(pixels["rows"]), int(pixels["cols"])
        view = self.image_token * (encoded.tokens // (rows * columns + 1))
        text = "".join(
            "".join(f"{self._mark}<row_{r}_col_{c}>{view}" for c in range(1, columns + 1)) + "\n"
            for r in range(1, rows + 1)
        )
        text += f"{chr(10) if rows else ''}{self._mark}{self._whole}{view}{self._mark}"
        return EncodedImage(encoded.inputs, text, encoded.tokens)
