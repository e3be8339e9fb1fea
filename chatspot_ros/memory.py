"""How much memory the process and its device hold, and giving back what is no longer used."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

_STATM = Path("/proc/self/statm")
_MB = 1_000_000


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


def release() -> None:
    """Give back to the system and to the device what nothing refers to any more."""
    gc.collect()
    cuda = _cuda_in_use()
    if cuda is not None:
        cuda.empty_cache()


def _cuda_in_use() -> Any:
    """Return torch.cuda if this process computes there already, else None: it starts nothing."""
    torch = sys.modules.get("torch")
    try:
        ready = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    except AttributeError:
        # Another thread is importing it.
        return None
    return torch.cuda if torch is not None and ready else None
