"""When to compute in bfloat16: on a GPU, and on a CPU that multiplies it faster than float32."""

from __future__ import annotations

import logging
import time
from functools import cache

import torch

_log = logging.getLogger(__name__)
_SIDE = 1024  # of the matrices of the speed test


@cache
def cpu_multiplies_bf16() -> bool:
    """Return True if this CPU multiplies bfloat16 faster than float32; measured once.

    A CPU without the instructions is not measured: with AVX2 alone a product takes hundreds of
    times longer. Some CPUs with the instructions are 50 % slower than in float32 (docs/LOG.md).
    """
    return has_bf16() and product_s(torch.bfloat16) < product_s(torch.float32)


def has_bf16() -> bool:
    """Return True if this CPU has instructions for bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def product_s(dtype: torch.dtype) -> float:
    """Return the seconds that a matrix product takes: the least of five, after a warm-up."""
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    taken = []
    for _ in range(6):
        began_s = time.perf_counter()
        torch.mm(matrix, matrix)
        taken.append(time.perf_counter() - began_s)
    return min(taken[1:])


def multiplies_bf16() -> bool:
    """Return True if the training device, a GPU or else the CPU, is fast in bfloat16."""
    return torch.cuda.is_available() or cpu_multiplies_bf16()


def use_bf16(wanted: bool) -> bool:
    """Return True if bfloat16 is wanted and fast here; log a warning if it is only wanted."""
    if not wanted or multiplies_bf16():
        return wanted
    _log.warning("this processor multiplies bfloat16 no faster than float32; training in float32")
    return False
