"""PaliGemma: picture and prompt attend to each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chatspot_ros.engine.models.base import Family


class PaliGemma(Family):
    """PaliGemma: the picture and the whole prompt attend to each other; only the answer is causal.

    So the picture's keys and values depend on the question, and only its features are shared.
    """

    shares_prefix = False
    takes_cuts = False

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        prompt = torch.zeros_like(input_ids)
        return self._read(input_ids, cache, token_type_ids=prompt, **inputs)
