"""Molmo 2: two views of the picture, with marks between their rows."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import EncodedImage, Family


class Molmo2(Family):
    """Molmo 2: two views of the picture, marks between their rows, that attend to each other."""

    takes_cuts = False
    _MARKS = ("<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<im_end>")

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        tokenizer = loaded.tokenizer
        self.placeholder = str(getattr(tokenizer, "image_token", "<|image|>"))
        self.opening = str(tokenizer.bos_token or tokenizer.eos_token)
        self._marks = torch.tensor(tokenizer.convert_tokens_to_ids(list(self._MARKS)))
        self._columns, self._low_columns, self._low_start = self._layout(loaded)

    @staticmethod
    def _layout(loaded: Loaded) -> tuple[bool, bool, bool]:
        """Return which marks the processor's settings ask for, or its defaults."""
        path = loaded.folder / "processor_config.json"
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        columns = bool(settings.get("image_use_col_tokens", True))
        low = settings.get("use_single_crop_col_tokens")
        start = bool(settings.get("use_single_crop_start_token", True))
        return columns, columns if low is None else bool(low), start

    def encode_image(self, pixels: dict[str, Tensor]) -> EncodedImage:
        """Run the vision tower on the image processor's output for one picture."""
        encoded = super().encode_image(pixels)
        low_rows, low_columns, rows, columns = pixels["image_grids"][0].tolist()
        low_mark = "<low_res_im_start>" if self._low_start else "<im_start>"
        low = self._view(low_mark, low_rows, low_columns, self._low_columns)
        text = low + self._view("<im_start>", rows, columns, self._columns)
        return EncodedImage(encoded.inputs, text, encoded.tokens)

    def _view(self, mark: str, rows: int, columns: int, ends: bool) -> str:
        row = self.image_token * columns + ("<im_col>" if ends else "")
        return f"{mark}{row * rows}<im_end>"

    def prefix_end(self, ids: list[int]) -> int:
        """Return the length of a conversation's shared prefix: up to the end of the picture."""
        marks = set(self._marks.tolist())
        return 1 + max(place for place, i in enumerate(ids) if i in marks)

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        types = torch.isin(input_ids, self._marks.to(self.device)).int()
        return self._read(input_ids, cache, mm_token_type_ids=types, **inputs)
