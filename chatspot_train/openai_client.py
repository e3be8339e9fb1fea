"""Requests to an OpenAI-compatible chat endpoint, and their errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from chatspot_ros.errors import ChatspotError, shorten
from chatspot_ros.util.endpoint import KEY_VARIABLE, check_address, read_key

_PLACEHOLDER = "no-key"
# A shorter key is a local server's placeholder and may be a word of a reply.
_SHORTEST_SECRET = 8
# Wrong key, right, model or path: every request would fail.
_HOPELESS = {401, 403, 404}
_DETAIL_CHARS = 400


class EndpointError(ChatspotError):
    """The endpoint cannot be used; the run stops."""


class AskError(Exception):
    """One request failed after all retries; others may succeed."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class UnreachableError(AskError):
    """The endpoint cannot be reached."""


@dataclass(frozen=True)
class ChatReply:
    """The model's text and its token counts (0 if the server reports none).

    `cut_off`: the text reached `max_tokens`.
    """

    text: str
    tokens_in: int
    tokens_out: int
    cut_off: bool = False


class ChatClient:
    """A client for one model; an async context manager.

    The key comes from the environment variable OPENAI_API_KEY; a local server needs none. No reply
    and no error contains it. Failed requests are repeated `retries` times, with growing pauses or
    those that the server asks for.
    """

    def __init__(
        self,
        endpoint: str,
        model: str,
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        retries: int = 6,
        timeout_s: float = 120.0,
    ) -> None:
        """Raises EndpointError for an invalid http(s) address or key, or a key over plain http."""
        check_address(endpoint, EndpointError, "its base URL, as http://localhost:8000/v1")
        self.endpoint, self.model = endpoint, model
        self._temperature = openai.omit if temperature is None else temperature
        self._max_tokens = openai.omit if max_tokens is None else max_tokens
        self._key = read_key(endpoint, KEY_VARIABLE, EndpointError)
        self._client = AsyncOpenAI(
            api_key=self._key or _PLACEHOLDER, base_url=endpoint, max_retries=retries,
            timeout=timeout_s,
        )  # fmt: skip

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, messages: Iterable[ChatCompletionMessageParam]) -> ChatReply:
        """Send a conversation. Raises AskError for this request, EndpointError for all."""
        try:
            completion = await self._client.chat.completions.create(
                model=self.model, messages=list(messages), temperature=self._temperature,
                max_tokens=self._max_tokens,
            )  # fmt: skip
        except openai.APIStatusError as error:
            # Not chained: a traceback would show the request.
            raise self._refused(error) from None
        except openai.APITimeoutError:
            raise AskError("the endpoint did not answer in time", self.endpoint) from None
        except openai.APIConnectionError as error:
            detail = self._clean(str(error.__cause__ or error))
            raise UnreachableError("the endpoint cannot be reached", detail) from None
        except (openai.OpenAIError, ValueError) as error:
            raise AskError("the reply is not a chat completion", self._clean(error)) from None
        if not isinstance(completion, ChatCompletion) or not completion.choices:
            raise AskError("the reply is not a chat completion", self._clean(completion))
        return self._read(completion)

    def _read(self, completion: ChatCompletion) -> ChatReply:
        choice, usage = completion.choices[0], completion.usage
        tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        text = choice.message.content or choice.message.refusal or ""
        return ChatReply(self._without_key(text), *tokens, choice.finish_reason == "length")

    def _refused(self, error: openai.APIStatusError) -> Exception:
        detail = self._clean(error.message)
        if error.status_code in _HOPELESS:
            return EndpointError(
                f"the endpoint refuses with status {error.status_code}: {detail}",
                value=f"{self.endpoint}, model {self.model}",
                remedy=f"check --endpoint, --model and the environment variable {KEY_VARIABLE}",
            )
        return AskError(f"the endpoint answers with status {error.status_code}", detail)

    def _clean(self, text: object) -> str:
        return shorten(self._without_key(" ".join(str(text).split())), _DETAIL_CHARS)

    def _without_key(self, text: str) -> str:
        secret = len(self._key) >= _SHORTEST_SECRET
        return text.replace(self._key, "***") if secret else text
