"""The ways in which a server fails, as typed errors that say whether to ask again."""

from __future__ import annotations

import math
from typing import ClassVar

import httpx2
import openai

from chatspot_ros.errors import BusyError, ModelError, shorten

_DETAIL_CHARS = 300
_CHECK = "check url and model of the server's settings, and the key in the environment"
_SEE_LOG = "see the server's log; ask again"
_NOT_REACHED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class RemoteError(ModelError):
    """A server did not answer a question.

    `counts`: the server counts as failing (see Breaker). `unsent`: nothing reached it, so that to
    ask again is safe. `retry_after_s`: when it wants to be asked again, in seconds; None: it did
    not say.
    """

    shows_trace = False
    counts: bool = True
    unsent: ClassVar[bool] = False
    retry_after_s: float | None = None


class UnreachableError(RemoteError):
    """No connection to the server."""

    unsent = True


class ServerFailedError(RemoteError):
    """The server failed: a status of 500 or above, or an error within its stream."""


class CutOffError(RemoteError):
    """The stream ended before the answer did."""


class BadReplyError(RemoteError):
    """What came is no answer to a chat request."""


class ForeignReplyError(RemoteError):
    """The reply belongs to another request."""


class TooSlowError(RemoteError):
    """The answer was not complete in the time that the settings or the deadline leave."""

    def __init__(self, problem: str, *, value: object, remedy: str, counts: bool = True) -> None:
        super().__init__(problem, value=value, remedy=remedy)
        self.counts = counts


class RefusedError(RemoteError):
    """The server refuses the request: key, path, model or contents. To ask again is useless."""

    counts = False

    def __init__(self, problem: str, *, value: object, remedy: str, detail: str = "") -> None:
        super().__init__(problem, value=value, remedy=remedy)
        # The server's own words.
        self.detail = detail


class OpenCircuitError(RemoteError):
    """The server is not asked for a while, after several failures."""

    counts = False
    unsent = True


class OverloadedError(RemoteError, BusyError):
    """The server has too much to do."""

    status = BusyError.status
    counts = False


def from_status(error: openai.APIStatusError, where: str, clean: Clean) -> RemoteError:
    """Return the error of a reply with a status of 300 or above."""
    code, detail = error.status_code, clean(error.message)
    if code in (429, 503):
        after_s = retry_after(error)
        when = "later" if after_s is None else f"in {after_s:g} s"
        overloaded = OverloadedError(
            f"the server has too much to do (status {code}: {detail})",
            value=where, remedy=f"ask again {when}, or lower max_parallel",
        )  # fmt: skip
        overloaded.retry_after_s = after_s
        return overloaded
    if code >= 500:
        return ServerFailedError(
            f"the server failed with status {code}: {detail}", value=where, remedy=_SEE_LOG
        )
    return RefusedError(
        f"the server refuses with status {code}: {detail}",
        value=where, remedy=_CHECK, detail=detail,
    )  # fmt: skip


def from_client(error: Exception, where: str, clean: Clean) -> RemoteError:
    """Return the error of a request that failed below or within its reply."""
    cause = error.__cause__ or error
    detail = clean(str(cause) or type(cause).__name__)
    if isinstance(cause, _NOT_REACHED):
        return UnreachableError(
            f"the server cannot be reached: {detail}", value=where,
            remedy="start it, or check url and the network",
        )  # fmt: skip
    if isinstance(cause, httpx2.TimeoutException):
        return TooSlowError("the server sent nothing in time", value=where, remedy=_SEE_LOG)
    if isinstance(cause, httpx2.TransportError):
        return CutOffError(f"the connection broke: {detail}", value=where, remedy=_SEE_LOG)
    if isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError):
        return ServerFailedError(
            f"the server failed while it answered: {clean(error.message)}",
            value=where, remedy=_SEE_LOG,
        )  # fmt: skip
    return BadReplyError(
        f"the reply is no chat completion: {detail}", value=where,
        remedy="check that url is the base address of an OpenAI-compatible API, as "
        "http://server:8000/v1",
    )  # fmt: skip


def retry_after(error: openai.APIStatusError) -> float | None:
    """Return the seconds of the header Retry-After; None: none, or a date."""
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


class Clean:
    """Texts of a server, on one line, cut, and without the key."""

    # A shorter key is a placeholder and may be a word of a reply.
    _SHORTEST_SECRET = 8

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, text: object) -> str:
        """Return the text on one line, without the key."""
        return shorten(" ".join(self.without_key(str(text)).split()), _DETAIL_CHARS)

    def without_key(self, text: str) -> str:
        """Return the text without the key."""
        secret = len(self._key) >= self._SHORTEST_SECRET
        return text.replace(self._key, "***") if secret else text
