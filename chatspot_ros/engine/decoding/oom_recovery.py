"""Out of memory: free what is only kept for later, and try once more.

Batches of questions recover by themselves: oom_batch.py.
"""

from __future__ import annotations

import functools
import gc
import inspect
import logging
import traceback
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch

from chatspot_ros.engine.api import OnText
from chatspot_ros.engine.model_errors import OutOfMemoryError

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class MemoryHolder(Protocol):
    """An object that holds memory which it can free."""

    on_out_of_memory: Callable[[], None] | None


_H = TypeVar("_H", bound=MemoryHolder)


def release_memory(holder: MemoryHolder) -> None:
    """Call the holder's `on_out_of_memory`, and return PyTorch's unused memory to the device."""
    if holder.on_out_of_memory is not None:
        holder.on_out_of_memory()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retry_out_of_memory(
    method: Callable[Concatenate[_H, _P], _T],
) -> Callable[Concatenate[_H, _P], _T]:
    """Wrap a method: when memory is full, free some and call the method once more.

    Its callback `on_text`, if any, gets no text twice.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def wrapped(holder: _H, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        given = signature.bind(holder, *args, **kwargs)
        listener = NewTextOnly(given.arguments.get("on_text"))
        if given.arguments.get("on_text") is not None:
            given.arguments["on_text"] = listener
        try:
            return method(*given.args, **given.kwargs)
        except OutOfMemoryError as error:
            log_out_of_memory(error, "trying once more")
            clear_tracebacks(error)
        # The failed pass's tensors are freed only after the handler.
        release_memory(holder)
        listener.begin()
        return method(*given.args, **given.kwargs)

    return wrapped


def clear_tracebacks(error: BaseException | None) -> None:
    """Free the tensors that the frames of an error and of its causes hold."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class NewTextOnly:
    """A text callback that passes on only new text when an answer starts again."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self._heard = self._said = 0

    def begin(self) -> None:
        """Start the answer again from its beginning."""
        self._heard = 0

    def __call__(self, added: str) -> None:
        self._heard += len(added)
        new = self._heard - self._said
        if new > 0 and self._on_text is not None:
            self._said = self._heard
            self._on_text(added[-new:])


def log_out_of_memory(error: OutOfMemoryError, what: str) -> None:
    """Log that the memory was full, and what happens next."""
    _log.warning("%s (%s); %s", error.problem, error.value, what)
