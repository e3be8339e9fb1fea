"""Errors of torch and of models as typed errors with a remedy."""

from __future__ import annotations

import re

import torch

from chatspot_ros.engine.loading import host_resources
from chatspot_ros.errors import ModelError
from chatspot_ros.util.process_memory import process_bytes

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
# In the words of the allocators of CUDA and the CPU.
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMG]iB)")
_ON_GPU = re.compile(r"GPU (\d+)")
_NO_ROOM_ON_CPU = "can't allocate memory"


class OutOfMemoryError(ModelError):
    """A device ran out of memory; the value names the needed, free and allocated bytes."""


class ModelFailure:
    """Turns errors of torch and the model into ModelError; this package's own go through."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"the device ran out of memory while it had to {self._doing}",
                value=numbers(str(error)),
                remedy="ask fewer or shorter questions at a time, or use a smaller model or "
                "picture, or quantised weights",
            ) from error
        if isinstance(error, RuntimeError | ValueError | IndexError | TypeError | AttributeError):
            raise ModelError(
                f"the model could not {self._doing}",
                value=f"{type(error).__name__}: {error}",
                remedy="see the log; if it stays, load the model again",
            ) from error


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether torch's allocator ran out of memory, on CUDA or the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _NO_ROOM_ON_CPU in str(error)
    )


def numbers(message: str) -> str:
    """Return the needed (by the allocator's message), free and allocated bytes as text."""
    asked = _ASKED.search(message)
    needed = float(asked[1]) * _UNITS[asked[2]] if asked else None
    if torch.cuda.is_available() and _NO_ROOM_ON_CPU not in message:
        gpu = _ON_GPU.search(message)
        device = torch.device("cuda", int(gpu[1]) if gpu else torch.cuda.current_device())
        allocated = torch.cuda.memory_allocated(device)
    else:
        device, allocated = torch.device("cpu"), process_bytes() or 0
    free = host_resources.free_memory(device)
    sizes = {"needed": needed, "free": free, "allocated": allocated}
    said = [f"{name} {size / 1e9:.3f} GB" for name, size in sizes.items() if size is not None]
    return f"{', '.join(said)} on {device}"
