"""How much memory the process and its device hold, and giving back what is no longer used.

Two of Python's and glibc's habits do not suit a program that holds pictures of 6 MB. Python looks
for objects that refer to one another in a circle by how many objects there are, a model's 400,000
among them: a dozen pictures in such circles stay for minutes. And glibc gives each thread an arena
of its own, and pages of freed pictures back to the system, to be asked for again at the next frame.
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
# A picture of 10 million pixels still comes from what was freed; the most that mallopt takes.
_MMAP_THRESHOLD = 32 << 20
_TRIM_THRESHOLD = 128 << 20


def process_bytes() -> int | None:
    """Return the memory that the process holds (resident set), in bytes; None where unknown."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def device_bytes() -> tuple[int, int] | None:
    """Return the (used, total) bytes of the process's current CUDA device.

    Used by whatever program. None without one.
    """
    cuda = _cuda_in_use()
    if cuda is None:
        return None
    free, total = cuda.mem_get_info()
    return total - free, total


def values() -> dict[str, object]:
    """Return the figures for /diagnostics, as far as they are known."""
    process, device = process_bytes(), device_bytes()
    found: dict[str, object] = {}
    if process is not None:
        found["memory of the process, MB"] = f"{process / _MB:.0f}"
    if device is not None:
        found["memory of the device used, MB"] = f"{device[0] / _MB:.0f}"
        found["memory of the device, MB"] = f"{device[1] / _MB:.0f}"
    return found


def arrange() -> None:
    """Let glibc take all memory from one arena, and keep what is freed for the next picture.

    Call it before there are threads. Nothing happens without glibc, or where the environment says
    how memory is to be allocated.
    """
    if any(name in os.environ for name in _GLIBC_VARIABLES):
        return
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def settle() -> None:
    """Look for circles only among what comes from now on, as often as that needs it.

    What is there now (the libraries, a model) stays, and is not looked at again before `release`.
    """
    gc.collect()
    gc.freeze()
    # By what this one finds, which is little, the next ones are timed.
    gc.collect()


def tidy() -> None:
    """Free the circles of objects that came after `settle`; takes some milliseconds."""
    gc.collect()


def release() -> None:
    """Give back to the system and to the device what nothing refers to any more."""
    gc.unfreeze()
    settle()
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)
    cuda = _cuda_in_use()
    if cuda is not None:
        cuda.empty_cache()


def _libc(name: str) -> Any:
    """Return a function of the C library; None where it has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None


def _cuda_in_use() -> Any:
    """Return torch.cuda if this process computes there already, else None: it starts nothing."""
    torch = sys.modules.get("torch")
    try:
        # Whether there is a device takes milliseconds to find out, each time.
        ready = torch is not None and torch.cuda.is_initialized() and torch.cuda.is_available()
    except AttributeError:
        # Another thread is importing it.
        return None
    return torch.cuda if torch is not None and ready else None
