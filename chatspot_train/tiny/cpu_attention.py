"""The attention that trains fastest on a CPU: plain matrix products, scores in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

PLAIN = "plain_bf16"
FUSED = "sdpa"  # torch's: faster for causal attention in float32 without a mask (half the work)


def plain_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float, dropout: float = 0.0, **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Return the attention of B x heads x N x d queries, keys and values as B x N x heads x d.

    The signature is transformers'; `dropout` is ignored. transformers' own computes the softmax in
    float32 and casts it back: with it a training step of the vision tower takes 7 % longer, with
    the fused one 29 % longer (docs/LOG.md). Outside autocast the dtype is that of `query`.
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
