"""Gemma 3 and Gemma 4: marks around the picture, whose tokens attend to each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import Family


class Gemma3(Family):
    """Gemma 3: the template writes the opening mark for the picture; blank lines stand around it.

    The picture's tokens attend to each other, and to nothing behind them, so its keys and values
    serve every question. Some layers keep only the last tokens (a sliding window), so questions
    are answered one after the other.
    """

    takes_cuts = False
    # The model's argument that is 1 for the picture's tokens.
    types = "token_type_ids"

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        config = loaded.model.config
        opening, closing = self._marks(loaded, config.boi_token_index, config.eoi_token_index)
        self.placeholder = opening
        self.before, self.after = f"\n\n{opening}", f"{closing}\n\n"

    @staticmethod
    def _marks(loaded: Loaded, *ids: int) -> list[str]:
        return [str(loaded.tokenizer.convert_ids_to_tokens(one)) for one in ids]

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        types = {self.types: (input_ids == self.image_token_id).int()}
        return self._read(input_ids, cache, **types, **inputs)


class Gemma4(Gemma3):
    """Gemma 4: the template writes the picture's token; a picture has as many as its size needs."""

    types = "mm_token_type_ids"

    def __init__(self, loaded: Loaded) -> None:
        Family.__init__(self, loaded)
        config = loaded.model.config
        self.before, self.after = self._marks(loaded, config.boi_token_id, config.eoi_token_id)
