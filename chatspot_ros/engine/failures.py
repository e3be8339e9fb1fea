"""What torch and the model raise, as errors that say what to do."""

from __future__ import annotations

import torch

from chatspot_ros.errors import ModelError


class ModelFailure:
    """Turns what torch and the model raise inside into ModelError; our own errors go through."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, torch.OutOfMemoryError):
            raise ModelError(
                f"the device ran out of memory while it had to {self._doing}",
                value=str(error).splitlines()[0],
                remedy="ask shorter questions, or use a smaller model or picture",
            ) from error
        if isinstance(error, RuntimeError | ValueError | IndexError | TypeError | AttributeError):
            raise ModelError(
                f"the model could not {self._doing}",
                value=f"{type(error).__name__}: {error}",
                remedy="see the log; if it stays, load the model again",
            ) from error
