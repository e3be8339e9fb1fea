"""Measures the memory of the process and its device, and frees unused memory.

Two defaults do not suit a program that holds pictures of 6 MB. Python times its garbage collector
by the number of objects, of which a model has 400,000: a dozen pictures in reference cycles stay
for minutes. And glibc gives each thread its own arena, and returns the pages of freed pictures to
the system, to request them again at the next frame.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Any

_STATM = Path("/proc/self/statm")
_MB = 1_000_000
# glibc's mallopt, malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_GLIBC_VARIABLES = (
    *("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"),
    *("MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"),
)
# Up to this size, a picture of 10 million pixels, memory is reused; the most that mallopt accepts.
_MMAP_THRESHOLD = 32 << 20
_TRIM_THRESHOLD = 128 << 20


def process_bytes() -> int | None:
    """Return the resident set size of the process in bytes; None if unknown."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def device_bytes(device: str) -> tuple[int, int] | None:
    """Return the (used, total) bytes of a CUDA device (`cuda:1`), used by all programs.

    None for another device, or where CUDA is not in use.
    """
    cuda = _cuda_in_use()
    if cuda is None or not device.startswith("cuda"):
        return None
    # Not the current device: each thread has one of its own.
    free, total = cuda.mem_get_info(device)
    return total - free, total


def values(device_name: str) -> dict[str, object]:
    """Return the values for /diagnostics, as far as they are known; the device is the model's."""
    process, device = process_bytes(), device_bytes(device_name)
    found: dict[str, object] = {}
    if process is not None:
        found["memory of the process, MB"] = f"{process / _MB:.0f}"
    if device is not None:
        found["memory of the device used, MB"] = f"{device[0] / _MB:.0f}"
        found["memory of the device, MB"] = f"{device[1] / _MB:.0f}"
    return found


def arrange() -> None:
    """Make glibc use one arena and keep freed memory for the next picture.

    Call it before threads are started. Does nothing without glibc, or if the environment configures
    the allocation of memory.
    """
    if any(name in os.environ for name in _GLIBC_VARIABLES):
        return
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def settle() -> None:
    """Exclude all present objects (libraries, a model) from garbage collection until `release`."""
    gc.collect()
    gc.freeze()
    # The next collections are timed by the few objects that this one finds.
    gc.collect()


def tidy() -> None:
    """Free reference cycles made after `settle`; takes some milliseconds."""
    gc.collect()


def release() -> None:
    """Return all unused memory to the system and to the device."""
    gc.unfreeze()
    settle()
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)
    cuda = _cuda_in_use()
    if cuda is not None:
        cuda.empty_cache()


def _libc(name: str) -> Any:
    """Return a function of the C library; None if there is none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None


def _cuda_in_use() -> Any:
    """Return torch.cuda if this process uses it already, else None; never initialises it."""
    torch = sys.modules.get("torch")
    try:
        # is_initialized first: is_available takes milliseconds at each call.
        ready = torch is not None and torch.cuda.is_initialized() and torch.cuda.is_available()
    except AttributeError:
        # Another thread is importing it.
        return None
    return torch.cuda if torch is not None and ready else None
