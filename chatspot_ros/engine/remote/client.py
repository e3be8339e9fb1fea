"""Requests to an OpenAI-compatible server: always streamed, with deadlines and retries of ours."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from chatspot_ros.engine.remote.breaker import Breaker
from chatspot_ros.engine.remote.config import RemoteConfig, read_key
from chatspot_ros.engine.remote.errors import (
    BadReplyError,
    Clean,
    CutOffError,
    ForeignReplyError,
    RefusedError,
    RemoteError,
    TooSlowError,
    from_client,
    from_status,
)

_PLACEHOLDER = "no-key"
_OUR_ID = re.compile(r"chatspot-[0-9a-f]{32}")
_ID_HEADER = "x-request-id"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
# No tokenizer writes longer tokens, on average.
_CHARS_PER_TOKEN = 64
# A server that sends nothing for so long counts as failing.
_SILENT_S = 2.0
# Parts of a request that not every server takes.
LOGPROBS, SCHEMA = "logprobs", "response_format"
_log = logging.getLogger(__name__)

OnPiece = Callable[[str], None]


@dataclass(frozen=True)
class ChatRequest:
    """The messages of a request, the longest answer in tokens, and the schema of its JSON."""

    messages: list[dict[str, Any]]
    max_tokens: int
    json_schema: Mapping[str, Any] | None = None


@dataclass
class Streamed:
    """An answer as it was streamed.

    `pieces` are the tokens with their natural log-probabilities, empty: the server gives none.
    """

    text: str = ""
    pieces: list[tuple[str, float]] = field(default_factory=list)
    chunks: int = 0
    finish_reason: str = ""


class RemoteClient:
    """Asks one model of one server. All methods but `close` run in one event loop."""

    def __init__(
        self, config: RemoteConfig, breaker: Breaker | None = None, key: str | None = None
    ) -> None:
        """`key` None: that of the environment. Raises ModelLoadError."""
        self.config = config
        found = read_key(config) if key is None else key
        self.clean = Clean(found)
        self.breaker = breaker or Breaker(config.breaker_failures, config.breaker_seconds)
        self._where = f"{config.model} at {config.url}"
        # A redirect would take the picture to another place. TLS is verified.
        http = DefaultAsyncHttpxClient(
            follow_redirects=False,
            timeout=httpx2.Timeout(config.timeout, connect=config.connect_timeout),
        )
        self._client = AsyncOpenAI(
            api_key=found or _PLACEHOLDER, base_url=config.url, max_retries=0, http_client=http
        )
        self._turns = asyncio.Semaphore(config.max_parallel)
        # What this server has refused.
        self.lacks: set[str] = set()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def ask(self, request: ChatRequest, on_piece: OnPiece, deadline_s: float) -> Streamed:
        """Return the answer to a request; `on_piece` gets its text as it comes.

        `deadline_s` is on the clock of time.monotonic. A request is repeated only if nothing
        reached the server, or if it asked for that. Cancelling closes the connection.

        Raises:
            RemoteError: no answer; what kind says its class.
        """
        try:
            async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                await self._turns.acquire()
        except TimeoutError:
            # The other requests kept it from being sent: no fault of the server.
            raise self._too_slow(counts=False) from None
        try:
            for attempt in itertools.count():
                try:
                    return await self._attempt(request, on_piece, deadline_s)
                except RemoteError as error:
                    pause_s = self._pause(error, attempt, deadline_s)
                    if pause_s is None:
                        raise
                    _log.info("asking again in %.2f s: %s", pause_s, error)
                await asyncio.sleep(pause_s)
            raise RuntimeError("counting ended")
        finally:
            self._turns.release()

    def _pause(self, error: RemoteError, attempt: int, deadline_s: float) -> float | None:
        """Return the seconds until the request may be repeated; None: it may not."""
        if attempt >= self.config.retries:
            return None
        pause_s = error.retry_after_s
        # The breaker has its own time.
        if pause_s is None and error.unsent and error.counts:
            pause_s = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
        if pause_s is None or time.monotonic() + pause_s >= deadline_s:
            return None
        return pause_s

    async def _attempt(
        self, request: ChatRequest, on_piece: OnPiece, deadline_s: float
    ) -> Streamed:
        """Ask once, and again without what the server lacks; tell the breaker."""
        probe = self.breaker.enter()
        try:
            while True:
                try:
                    streamed = await self._stream(request, on_piece, deadline_s)
                    self.breaker.succeeded()
                    return streamed
                except RefusedError as error:
                    lacking = self._lacking(error, request)
                    if not lacking:
                        raise
                    self.lacks.add(lacking)
                    _log.warning("%s takes no %s: asking without", self._where, lacking)
        except RemoteError as error:
            self.breaker.failed(error, probe)
            raise
        except BaseException:
            self.breaker.left(probe)
            raise

    def _lacking(self, error: RefusedError, request: ChatRequest) -> str:
        """Return the optional part that a refusal names; empty: none that was sent."""
        sent = {LOGPROBS} | ({SCHEMA} if request.json_schema is not None else set())
        said = error.detail.lower()
        names = {LOGPROBS: ("logprob",), SCHEMA: ("response_format", "json_schema", "schema")}
        for part in sorted(sent - self.lacks):
            if any(name in said for name in names[part]):
                return part
        return ""

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": request.messages,
            "max_tokens": request.max_tokens,
            "temperature": 0.0,
        }
        if LOGPROBS not in self.lacks:
            body["logprobs"] = True
        if request.json_schema is not None and SCHEMA not in self.lacks:
            wanted = {"name": "answer", "schema": request.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return body

    async def _stream(self, request: ChatRequest, on_piece: OnPiece, deadline_s: float) -> Streamed:
        """Ask once. Raises RemoteError."""
        our_id, found, began_s = f"chatspot-{uuid.uuid4().hex}", Streamed(), time.monotonic()
        try:
            async with asyncio.timeout(min(self.config.timeout, max(0.0, deadline_s - began_s))):
                stream = await self._client.chat.completions.create(
                    **self._body(request), stream=True, extra_headers={_ID_HEADER: our_id}
                )
                try:
                    self._check_id(str(stream.response.headers.get(_ID_HEADER, "")), our_id)
                    await self._collect(stream, our_id, request.max_tokens, on_piece, found)
                finally:
                    # Closes the connection unless all of it was read.
                    await stream.close()
            return found
        except RemoteError:
            raise
        except TimeoutError:
            # A caller in a hurry does not make the server a failing one.
            patient = time.monotonic() - began_s >= min(self.config.timeout, _SILENT_S)
            raise self._too_slow(counts=patient and not found.text) from None
        except openai.APIStatusError as error:
            # Not chained: a traceback would show the request.
            raise from_status(error, self._where, self.clean) from None
        except (openai.OpenAIError, httpx2.HTTPError, ValueError, TypeError, AttributeError,
                KeyError, IndexError) as error:  # fmt: skip
            raise from_client(error, self._where, self.clean) from None

    async def _collect(
        self,
        stream: AsyncIterator[Any],
        our_id: str,
        max_tokens: int,
        on_piece: OnPiece,
        found: Streamed,
    ) -> None:
        """Read the chunks of a stream to its end. Raises RemoteError, and what a bad chunk does."""
        stream_id = ""
        async for chunk in stream:
            said = chunk.id or ""
            self._check_id(said, our_id)
            if said and stream_id and said != stream_id:
                raise self._foreign(said)
            stream_id = stream_id or said
            if not chunk.choices:
                continue
            choice = chunk.choices[0]
            text = choice.delta.content or getattr(choice.delta, "refusal", None) or ""
            if not isinstance(text, str):
                raise TypeError(f"the text is {type(text).__name__}")
            found.pieces += _pieces(choice.logprobs)
            found.finish_reason = choice.finish_reason or found.finish_reason
            if text:
                text = self.clean.without_key(text)
                found.text += text
                found.chunks += 1
                on_piece(text)
            if len(found.text) > _CHARS_PER_TOKEN * max_tokens:
                raise BadReplyError(
                    f"the answer is far longer than the {max_tokens} tokens asked for",
                    value=f"{len(found.text)} characters", remedy="mend the server",
                )  # fmt: skip
        if not found.finish_reason:
            raise CutOffError(
                f"the stream ended in the middle, after {len(found.text)} characters",
                value=self._where, remedy="see the server's log; ask again",
            )  # fmt: skip

    def _check_id(self, said: str, our_id: str) -> None:
        """Raise ForeignReplyError if a text holds the id of another request of this package."""
        if any(one != our_id for one in _OUR_ID.findall(said)):
            raise self._foreign(said)

    def _foreign(self, said: str) -> ForeignReplyError:
        return ForeignReplyError(
            "the reply belongs to another request", value=self.clean(said),
            remedy="ask again; if it stays, mend the server or the proxy before it",
        )  # fmt: skip

    def _too_slow(self, counts: bool) -> TooSlowError:
        return TooSlowError(
            "the server's answer was not complete in time", value=self._where,
            remedy="allow more time (timeout), or ask a faster or less busy server", counts=counts,
        )  # fmt: skip


def _pieces(logprobs: Any) -> list[tuple[str, float]]:
    """Return the tokens of a chunk with their log-probabilities; none where they are no such."""
    found = []
    for one in (logprobs.content if logprobs is not None else None) or []:
        with contextlib.suppress(TypeError, ValueError):
            value = float(one.logprob)
            if math.isfinite(value):
                found.append((str(one.token), min(value, 0.0)))
    return found
