"""A model under test behind an OpenAI-compatible chat endpoint, with a local one's prompts.

A ModelSpec gives the dialect of the regions and the geometry of the image that is sent. The key
comes from the environment variable OPENAI_API_KEY only.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Literal

import cv2
from openai.types.chat import ChatCompletionMessageParam

from chatspot_ros.core.geometry import Fit, RgbImage
from chatspot_ros.core.model_spec import ModelSpec
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.tasks import States
from chatspot_ros.errors import RegionError, RequestError
from chatspot_train.evaluation.suite import NO_READER, Identity, Item, Prediction
from chatspot_train.openai_client import (
    AskError,
    ChatClient,
    ChatReply,
    EndpointError,
    UnreachableError,
)

JPEG_QUALITY = 92
MOST_FAILURES = 8
PictureFormat = Literal["png", "jpeg"]


class EndpointDownError(RuntimeError):
    """The endpoint is down. Not a ChatspotError: the run stops without empty predictions and can
    resume later."""


class EndpointAnswerer(AbstractContextManager["EndpointAnswerer"]):
    """One model at an endpoint; a context manager.

    `spec` gives the dialect and the geometry; `skills` and `states` go into the prompt, as in the
    node. At most `concurrency` items of an image are asked at a time. A request is repeated
    `retries` times; an item that still fails gets a prediction with an `error`. The confidence is
    0: endpoints report none.
    """

    def __init__(
        self,
        endpoint: str,
        model: str,
        spec: ModelSpec,
        *,
        skills: Iterable[str] = (),
        states: States | None = None,
        picture_format: PictureFormat = "png",
        concurrency: int = 8,
        retries: int = 6,
        timeout_s: float = 120.0,
    ) -> None:
        """Raises EndpointError for an invalid address or key."""
        self.name = model
        self.spec, self._builder = spec, PromptBuilder(spec, skills, states)
        self.identity: Identity = {
            "name": model, "endpoint": endpoint, "spec": spec.model_dump(mode="json"),
            "skills": list(self._builder.context.skills), "picture_format": picture_format,
            "states": {k: list(v) for k, v in self._builder.context.states.items()},
        }  # fmt: skip
        self.picture_format: PictureFormat = picture_format
        self._client = ChatClient(
            endpoint, model, temperature=0.0, max_tokens=spec.max_new_tokens, retries=retries,
            timeout_s=timeout_s,
        )  # fmt: skip
        # Connections belong to an event loop, so all requests share one.
        self._loop = asyncio.Runner()
        self._concurrency = max(1, concurrency)
        self._failed = 0

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._loop.run(self._client.__aexit__())
        self._loop.close()

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        """See Answerer.

        Raises:
            EndpointDownError: the endpoint cannot be reached, refuses the key or the model, or
                failed MOST_FAILURES times in a row.
        """
        fit = self.spec.geometry.fit((image_rgb.shape[1], image_rgb.shape[0]))
        picture = picture_uri(fit.apply(image_rgb, self.spec.fill_rgb), self.picture_format)
        return self._loop.run(self._answer_all(picture, fit, items))

    async def _answer_all(self, picture: str, fit: Fit, items: list[Item]) -> list[Prediction]:
        turn = asyncio.Semaphore(self._concurrency)

        async def answer(item: Item) -> Prediction:
            if item.wants_reader:
                return item.failed(NO_READER)
            async with turn:
                return await self._answer(picture, fit, item)

        found = await asyncio.gather(*map(answer, items), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return [one for one in found if not isinstance(one, BaseException)]

    async def _answer(self, picture: str, fit: Fit, item: Item) -> Prediction:
        began_s = time.perf_counter()
        try:
            task, reply = await self._converse(picture, fit, item)
        except (EndpointError, UnreachableError) as error:
            raise EndpointDownError(f"{error}; run it again to go on") from error
        except (AskError, RegionError, RequestError) as error:
            self._count(error)
            return item.failed(str(error))
        self._failed = 0
        answer = self._builder.read(
            reply.text, (), task, fit, truncated=reply.cut_off, log_probabilities=None
        )
        return item.answered(answer, time.perf_counter() - began_s)

    def _count(self, error: Exception) -> None:
        self._failed += isinstance(error, AskError)
        if self._failed >= MOST_FAILURES:
            raise EndpointDownError(f"{self._failed} failures in a row: {error}") from error

    async def _converse(self, picture: str, fit: Fit, item: Item) -> tuple[str, ChatReply]:
        """Ask turn after turn; return the task and the reply of the last."""
        said: list[ChatCompletionMessageParam] = []
        task = ""
        for turn in item.turns:
            regions = [region.clipped(*fit.image_wh) for region in turn.regions]
            task = self._builder.task(turn.question, turn.task, task)
            text = self._builder.user_text(turn.question, regions, task, fit)
            said.append(_user(text, "" if said else picture))
            reply = await self._client.ask(said)
            said.append({"role": "assistant", "content": reply.text})
        return task, reply


def _user(text: str, picture: str) -> ChatCompletionMessageParam:
    if not picture:
        return {"role": "user", "content": text}
    return {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": picture}},
            {"type": "text", "text": text},
        ],
    }


def picture_uri(image_rgb: RgbImage, picture_format: PictureFormat) -> str:
    """Return an image (uint8 H x W x 3, RGB) as a data URI."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if picture_format == "jpeg" else []
    bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(f".{picture_format}", bgr, quality)
    return f"data:image/{picture_format};base64,{base64.b64encode(data.tobytes()).decode()}"
