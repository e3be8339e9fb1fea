"""Where computing in bfloat16 pays: on a GPU, and on processors that multiply it."""

from __future__ import annotations

import logging
import time
from functools import cache

import torch

_log = logging.getLogger(__name__)
_SIDE = 1024  # of the matrices that are multiplied to see


@cache
def cpu_multiplies_bf16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32, which is tried once.

    One with AVX2 alone takes hundreds of times longer for a product and is not asked; of those with
    the instructions, some need half as long again (docs/LOG.md).
    """
    return has_bf16() and product_s(torch.bfloat16) < product_s(torch.float32)


def has_bf16() -> bool:
    """Whether this processor has instructions for bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def product_s(dtype: torch.dtype) -> float:
    """How many seconds a product takes: the least of several, after one to warm up."""
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    taken = []
    for _ in range(6):
        began_s = time.perf_counter()
        torch.mm(matrix, matrix)
        taken.append(time.perf_counter() - began_s)
    return min(taken[1:])


def multiplies_bf16() -> bool:
    """Whether what trains here does: a GPU where there is one, else the processor."""
    return torch.cuda.is_available() or cpu_multiplies_bf16()


def use_bf16(wanted: bool) -> bool:
    """Whether a run that wants bfloat16 shall use it here; says so where it shall not."""
    if not wanted or multiplies_bf16():
        return wanted
    _log.warning("this processor multiplies bfloat16 no faster than float32; training in float32")
    return False
