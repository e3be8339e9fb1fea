"""An engine whose model runs on a server; see docs/remote.md."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from chatspot_ros.core.geometry import RgbImage, check_image
from chatspot_ros.core.model_spec import ModelSpec, find_family_of, read_spec
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.tasks import States
from chatspot_ros.engine.api import (
    OnReplyOf,
    OnText,
    OnTextOf,
    Question,
    Reply,
    ShouldStop,
    check_stop,
)
from chatspot_ros.engine.looking_up import LookUp
from chatspot_ros.engine.remote.batch import RemoteBatch
from chatspot_ros.engine.remote.client import RemoteClient, Streamed
from chatspot_ros.engine.remote.config import RemoteConfig
from chatspot_ros.engine.remote.errors import RefusedError
from chatspot_ros.engine.remote.fallback import LocalFallback
from chatspot_ros.engine.remote.loop import LoopThread
from chatspot_ros.engine.remote.prompt import SERVED_CONTROL, Asked, RemotePrompt, RemoteScene
from chatspot_ros.engine.scheduling.byte_cache import content_key
from chatspot_ros.knowledge.index import Embed

# Pictures that the server is believed to know by their ids.
_MOST_KNOWN = 256
_log = logging.getLogger(__name__)


class RemoteEngine:
    """A `BatchingEngine` over an OpenAI-compatible server; used by one thread at a time.

    The questions about a picture are concurrent requests, at most `max_parallel`.
    """

    def __init__(
        self,
        config: RemoteConfig,
        *,
        skills: Iterable[str] = (),
        states: States | None = None,
        picture_pixels: int = 0,
        embed: Embed | None = None,
        fallback: LocalFallback | None = None,
    ) -> None:
        """`skills` and `states` as for Engine; `picture_pixels` is the largest picture, 0: the
        family's; the settings' own comes first. The server is not asked yet.

        Raises:
            ModelLoadError: an unknown family, or a key that is missing or would be readable.
        """
        self.config, self.fallback = config, fallback
        self.name, self.device = config.model, config.url
        self.spec = spec_of(config).with_budget(config.picture_pixels or picture_pixels)
        builder = PromptBuilder(self.spec, skills, states, SERVED_CONTROL)
        self.prompt = RemotePrompt(builder, config)
        self._look_up = LookUp(builder.context.skills, builder.reads_notes, embed)
        self._print: Any = None
        self._known: dict[str, None] = {}
        self.client = RemoteClient(config)
        self.loop = LoopThread()
        # Also where nobody calls `close`.
        self._closer = weakref.finalize(self, _close, self.loop, self.client)

    @property
    def on_out_of_memory(self) -> Callable[[], None] | None:
        """Called when the fallback's device is full; a server's memory is its own."""
        return None if self.fallback is None else self.fallback.engine.on_out_of_memory

    @on_out_of_memory.setter
    def on_out_of_memory(self, free: Callable[[], None] | None) -> None:
        if self.fallback is not None:
            self.fallback.engine.on_out_of_memory = free

    def close(self) -> None:
        """Close the connections and end the thread of the requests."""
        self._closer()

    def values(self) -> dict[str, object]:
        """Return the values for /diagnostics: the breaker's state, and why it is open."""
        breaker = self.client.breaker
        found: dict[str, object] = {"server": self.config.url, "circuit breaker": breaker.state}
        if breaker.why:
            found["server's last failure"] = breaker.why
        if self.fallback is not None:
            found["fallback"] = self.fallback.name
        return found

    def prepare(self, image_rgb: RgbImage) -> RemoteScene:
        """Return a picture (uint8 H x W x 3, RGB) as it will be sent. Raises ImageError."""
        return self.prompt.see(image_rgb)

    def answer(
        self,
        scene: RemoteScene,
        question: Question,
        on_text: OnText | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Reply:
        """See `RegionEngine.answer`; where the server fails, the errors of remote.errors."""
        hears = None if on_text is None else lambda _, added: on_text(added)
        return self.answer_many(scene, [question], hears, should_stop)[0]

    def answer_many(
        self,
        scene: RemoteScene,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
    ) -> list[Reply]:
        """See `BatchingEngine.answer_many`."""
        batch = self.open(scene)
        asked = batch.admit(questions, on_text, should_stop, on_reply)
        try:
            while not asked.done:
                batch.step()
        finally:
            asked.leave()
        return asked.result()

    def open(self, scene: RemoteScene) -> RemoteBatch:
        """See `BatchingEngine.open`."""
        return RemoteBatch(self, scene)

    def scene_key(self, image_rgb: RgbImage) -> Hashable:
        """Return a hash of the picture's pixels, the model and its geometry. Raises ImageError."""
        check_image(image_rgb)
        spec = self.spec
        return content_key(image_rgb, self.name, repr(spec.geometry), repr(spec.fill_rgb))

    def scene_bytes(self, scene: RemoteScene) -> int:
        """Return the bytes of the picture that is sent."""
        return len(scene.picture.jpeg)

    def fill(
        self, scene: RemoteScene, questions: Sequence[Question], should_stop: ShouldStop | None
    ) -> list[Question]:
        """Return the questions with the print of their regions and what notes say of them."""
        filled = list(questions)
        if self.spec.reads_print or any(one.reader == "on" for one in questions):
            filled = self._print_reading().fill(scene.image_rgb, filled, should_stop)
        return self._look_up.fill(filled, lambda: check_stop(should_stop))

    def complete(self, question: Question, reply: Reply) -> Reply:
        """Return a reply with the notes' share in it."""
        return self._look_up.complete(question, reply)

    async def ask(
        self, scene: RemoteScene, asked: Asked, on_piece: Callable[[str], None], deadline_s: float
    ) -> Streamed:
        """Send a question; in the requests' loop. Raises RemoteError.

        With `picture_ids` a picture that the server knows is named by its id; where it does not
        know it any more, the picture is sent again.
        """
        if not self.config.picture_ids:
            request = self.prompt.request(scene, asked, frozenset())
            return await self.client.ask(request, on_piece, deadline_s)
        shown = [one.id for one in (scene.picture, asked.cut) if one is not None]
        known = frozenset(one for one in shown if one in self._known)
        try:
            request = self.prompt.request(scene, asked, known | {""})
            found = await self.client.ask(request, on_piece, deadline_s)
        except RefusedError as error:
            if not known:
                raise
            _log.info("the server does not know the picture any more: %s", error)
            for one in known:
                self._known.pop(one, None)
            request = self.prompt.request(scene, asked, frozenset({""}))
            found = await self.client.ask(request, on_piece, deadline_s)
        self._known |= dict.fromkeys(shown)
        while len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return found

    def _print_reading(self) -> Any:
        if self._print is None:
            # It imports torch, and few servers' models want it.
            from chatspot_ros.engine.print_reading import PrintReading

            self._print = PrintReading(self.spec.reads_print)
        return self._print


def spec_of(config: RemoteConfig) -> ModelSpec:
    """Return the settings of the served model: dialect, geometry, prompts. Raises ModelLoadError.

    A grounding head is part of a local checkpoint: a server's model says coordinates by itself.
    """
    path = Path(config.dialect).expanduser()
    if config.dialect and path.is_file():
        return _without_head(read_spec(path))
    return _without_head(find_family_of(config.dialect or config.model))


def _without_head(spec: ModelSpec) -> ModelSpec:
    """Return settings without a grounding head."""
    return spec.model_copy(update={"pointing": None})


def _close(loop: LoopThread, client: RemoteClient) -> None:
    loop.close(client.close())
