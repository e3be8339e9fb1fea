"""Where computing in bfloat16 pays: on a GPU, and on processors that multiply it."""

from __future__ import annotations

import logging
from functools import cache

import torch

_log = logging.getLogger(__name__)


@cache
def cpu_multiplies_bf16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32, or at least not slower.

    One with AVX2 alone takes hundreds of times longer for a product (docs/LOG.md).
    """
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def multiplies_bf16() -> bool:
    """Whether what trains here does: a GPU where there is one, else the processor."""
    return torch.cuda.is_available() or cpu_multiplies_bf16()


def use_bf16(wanted: bool) -> bool:
    """Whether a run that wants bfloat16 shall use it here; says so where it shall not."""
    if not wanted or multiplies_bf16():
        return wanted
    _log.warning("this processor does not multiply bfloat16; training in float32 instead")
    return False
