"""A full device is answered by giving back what is only kept for later, and by another try.

Questions that are answered together have a way of their own: shrinking.py.
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
    """What holds memory that it can do without."""

    on_out_of_memory: Callable[[], None] | None


_H = TypeVar("_H", bound=MemoryHolder)


def release_memory(holder: MemoryHolder) -> None:
    """Call the holder's `on_out_of_memory`, and give what PyTorch keeps unused to the device."""
    if holder.on_out_of_memory is not None:
        holder.on_out_of_memory()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retry_out_of_memory(
    method: Callable[Concatenate[_H, _P], _T],
) -> Callable[Concatenate[_H, _P], _T]:
    """Wrap a method: out of memory, its object's memory is given back and it is called again.

    The listener `on_text`, if it has one, hears nothing twice.
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
        # Only behind the handler are the failed pass's tensors gone.
        release_memory(holder)
        listener.begin()
        return method(*given.args, **given.kwargs)

    return wrapped


def clear_tracebacks(error: BaseException | None) -> None:
    """Let go of the tensors that the frames of an error and of its causes hold."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class NewTextOnly:
    """Hands an answer's words on, when it is given again only what is new."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self._heard = self._said = 0

    def begin(self) -> None:
        """The answer is given from its beginning."""
        self._heard = 0

    def __call__(self, added: str) -> None:
        self._heard += len(added)
        new = self._heard - self._said
        if new > 0 and self._on_text is not None:
            self._said = self._heard
            self._on_text(added[-new:])


def log_out_of_memory(error: OutOfMemoryError, what: str) -> None:
    """Log that the memory was full, and what is done about it."""
    _log.warning("%s (%s); %s", error.problem, error.value, what)
