"""Attention that trains fastest on a CPU: written plainly, with scores in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

PLAIN = "plain_bf16"
FUSED = "sdpa"  # torch's: faster in float32 where it is causal without a mask and so does half


def plain_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float, dropout: float = 0.0, **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention of B x heads x N x d queries, keys and values, as transformers calls it; returns
    B x N x heads x d. `dropout` is not supported, for it is never used here.

    transformers' own computes the softmax in float32 and casts it back: a training step of the
    vision tower takes 7 % longer so, and 29 % longer with the fused one (docs/LOG.md).
    Outside autocast it computes in the dtype of `query`.
    """
    reduced = torch.is_autocast_enabled(query.device.type)
    dtype = torch.get_autocast_dtype(query.device.type) if reduced else query.dtype
    with torch.autocast(query.device.type, enabled=False):
        scores = (query * scaling).to(dtype) @ key.to(dtype).transpose(2, 3)
        if attention_mask is not None:
            scores = scores + attention_mask.to(dtype)
        seen = scores.softmax(-1) @ value.to(dtype)
    return seen.transpose(1, 2).contiguous(), None


AttentionInterface.register(PLAIN, plain_attention)
AttentionMaskInterface.register(PLAIN, eager_mask)
