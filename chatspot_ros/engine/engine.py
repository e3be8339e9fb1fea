"""The engine: a picture is prepared once, then questions are asked of it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from chatspot_ros import answers, prompts
from chatspot_ros.engine import decoding, loading
from chatspot_ros.engine.api import OnText, Question, Reply, ShouldStop
from chatspot_ros.engine.chat import Chat, TextStream
from chatspot_ros.errors import ChatspotError, ModelError, ModelLoadError, RequestError
from chatspot_ros.geometry import Fit, RgbImage, check_image
from chatspot_ros.model_spec import ModelSpec, find_spec
from chatspot_ros.regions import REGION_MARK

_LONG = 10**9


@dataclass(frozen=True)
class Scene:
    """A picture made ready for questions; belongs to the engine that made it.

    `inputs` is what the model gets of the picture. Where the model allows it, `cache` holds the
    attention's keys and values of `prefix_ids`, the conversation up to the end of the picture.
    """

    fit: Fit
    image_tokens: int
    inputs: dict[str, Any]
    seconds: float
    prefix_ids: tuple[int, ...] = ()
    cache: DynamicCache | None = None

    @property
    def image_wh(self) -> tuple[int, int]:
        """(width, height) of the camera's image, in pixels."""
        return self.fit.image_wh


class Engine:
    """A loaded model. Use it from one thread at a time."""

    def __init__(
        self, loaded: loading.Loaded, spec: ModelSpec, name: str, skills: Iterable[str] = ()
    ) -> None:
        """`skills` are the names of the actions that a plan may use; empty: free text."""
        self.name = name
        self.spec = spec
        self.skills = tuple(skills)
        self.dialect = spec.dialect.make()
        self._model = model = loaded.model
        self._image_processor = loaded.image_processor
        self.device, self.dtype = loaded.device, loaded.dtype
        image_token_id = getattr(model.config, "image_token_id", None)
        if image_token_id is None:
            raise ModelLoadError(
                "the model has no image token",
                value=type(model).__name__,
                remedy="use a model of a class like LLaVA or Qwen2.5-VL",
            )
        self._chat = Chat(
            loaded.tokenizer,
            loaded.chat_template,
            int(image_token_id),
            self.dialect.control_strings,
        )
        self._end_ids = _end_ids(model, loaded.tokenizer)
        parameters = inspect.signature(model.forward).parameters
        self._takes_token_types = "mm_token_type_ids" in parameters
        # Such models count positions anew for each picture and keep the count on themselves, so a
        # cache of one picture must not be continued after another was seen.
        self._caches_prefix = not hasattr(model.model, "rope_deltas")
        text_config = model.config.get_text_config()
        self._max_tokens = int(getattr(text_config, "max_position_embeddings", None) or _LONG)

    @classmethod
    def load(
        cls,
        model: str,
        *,
        spec: ModelSpec | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        local_only: bool = True,
        skills: Iterable[str] = (),
    ) -> Engine:
        """Load a checkpoint and try it once.

        `model` is a folder or a hub id (`owner/name`, fetched only when not `local_only`); `spec`
        None: found by `model_spec.find_spec`; `device` auto, cpu, cuda, cuda:1, ...; `dtype` auto,
        float32, bfloat16 or float16; `threads` of the CPU, 0: as torch has it.

        Raises:
            ModelLoadError: what is wrong with it, and what to do.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        folder = loading.find_folder(model, local_only)
        model_type = str(loading.read_config(folder)["model_type"])
        # A cached hub id lies in a folder named by its commit.
        is_folder = Path(model).expanduser().is_dir()
        name = folder.resolve().name if is_folder else model
        spec = spec or find_spec(name, model_type, folder)
        engine = cls(loading.load(folder, device, dtype), spec, name, skills)
        engine._try()
        return engine

    def prepare(self, image_rgb: RgbImage) -> Scene:
        """Compute what all questions about a picture share.

        `image_rgb` is uint8 H x W x 3, RGB, 0 to 255, of any size; all of it is seen, by the
        geometry of the model's settings.

        Raises:
            ImageError: another type or shape.
            ModelError: the model failed.
        """
        began_s = time.perf_counter()
        check_image(image_rgb)
        fit = self.spec.geometry.fit((image_rgb.shape[1], image_rgb.shape[0]))
        picture = fit.apply(image_rgb, self.spec.fill_rgb)
        with torch.inference_mode(), _ModelFailure("see the picture"):
            inputs, image_tokens = self._see(picture)
            prefix_ids: tuple[int, ...] = ()
            cache = None
            if self._caches_prefix:
                ids = self._chat.encode("x", (), image_tokens)
                end = len(ids) - ids[::-1].index(self._chat.image_token_id)
                prefix_ids = tuple(ids[:end])
                cache = DynamicCache(config=self._model.config.get_text_config())
                self._prefill(ids[:end], inputs, cache)
        return Scene(
            fit=fit,
            image_tokens=image_tokens,
            inputs=inputs,
            seconds=time.perf_counter() - began_s,
            prefix_ids=prefix_ids,
            cache=cache,
        )

    def answer(
        self,
        scene: Scene,
        question: Question,
        on_text: OnText | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Reply:
        """Answer a question about a scene, greedily.

        `on_text` gets the words as they come; its pieces concatenate to the reply's `raw_text`.
        `should_stop` is asked before each token: True or an exception ends the answer.

        Raises:
            RequestError: an unusable question, or a conversation too long for the model.
            RegionError: an unusable region.
            CancelledError: `should_stop` returned True; what it raises goes through.
            ModelError: the model failed.
        """
        began_s = time.perf_counter()
        task = question.task or prompts.route(question.text)
        prompt = self.prompt_of(scene, question, task)
        ids = self._chat.encode(prompt, question.turns, scene.image_tokens)
        limit = question.max_new_tokens or self.spec.max_new_tokens
        room = self._max_tokens - len(ids)
        if room < 1:
            raise RequestError(
                f"the conversation does not fit into the model's {self._max_tokens} tokens",
                value=f"{len(ids)} tokens",
                remedy="shorten the question or start a new session",
            )
        stream = TextStream(self._chat)

        def on_ids(ids: list[int]) -> None:
            added = stream.add(ids)
            if added and on_text is not None:
                on_text(added)

        decoding.check_stop(should_stop)
        with torch.inference_mode():
            with _ModelFailure("read the question"):
                logits, cache = self._read(scene, ids)
            with _ModelFailure("answer"):
                decoded = decoding.decode(
                    self._model,
                    logits,
                    cache,
                    end_ids=self._end_ids,
                    max_new_tokens=min(limit, room),
                    on_ids=None if on_text is None else on_ids,
                    should_stop=should_stop,
                )
        added, text = stream.finish(decoded.ids)
        if added and on_text is not None:
            on_text(added)
        return Reply(
            answer=answers.read(
                text,
                task=task,
                regions=question.regions,
                fit=scene.fit,
                dialect=self.dialect,
                skills=self.skills,
                confidence=decoded.confidence,
                truncated=decoded.truncated,
            ),
            prompt=prompt,
            raw_text=text,
            tokens=len(decoded.ids),
            seconds=time.perf_counter() - began_s,
            task=task,
        )

    def prompt_of(self, scene: Scene, question: Question, task: str) -> str:
        """Return the user's turn as the model will read it. Raises RequestError, RegionError."""
        width, height = scene.image_wh
        regions = [region.clipped(width, height) for region in question.regions]

        def build(text: str) -> str:
            return prompts.build(
                text,
                regions,
                task,
                scene.fit,
                self.dialect,
                self.spec.prompt_style,
                self.skills,
                control_strings=self._chat.control_strings,
                max_chars=_LONG,
            )

        prompt = build(question.text)
        self._chat.check_words(prompt, build(f"x {REGION_MARK} " * len(regions) + "x"))
        return prompt

    def _see(self, picture: RgbImage) -> tuple[dict[str, Any], int]:
        """Return the vision features of the model's picture, as model inputs, and their count."""
        off = {"do_resize": False, "do_center_crop": False, "do_pad": False}
        known = {key: value for key, value in off.items() if hasattr(self._image_processor, key)}
        pixels = self._image_processor(images=picture, return_tensors="pt", **known)
        inputs = {
            key: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for key, value in pixels.items()
            if isinstance(value, torch.Tensor)
        }
        seen = self._model.get_image_features(**inputs, return_dict=True)
        tokens = sum(len(features) for features in seen.pooler_output)
        del inputs["pixel_values"]
        return {**inputs, "mm_encoder_outputs": {"image": seen}}, tokens

    def _prefill(self, ids: list[int], inputs: dict[str, Any], cache: DynamicCache) -> torch.Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        extra: dict[str, Any] = {}
        if self._takes_token_types:
            extra["mm_token_type_ids"] = (input_ids == self._chat.image_token_id).int()
        if not self._caches_prefix:
            self._model.model.rope_deltas = None
        output = self._model(
            input_ids=input_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **inputs,
            **extra,
        )
        last: torch.Tensor = output.logits[0, -1]
        return last

    def _read(self, scene: Scene, ids: list[int]) -> tuple[torch.Tensor, DynamicCache]:
        """Read a conversation; return the logits of the next token (vocabulary,) and its cache.

        The scene's cache is used when the conversation begins with exactly its tokens.
        """
        known = len(scene.prefix_ids)
        if scene.cache is None or tuple(ids[:known]) != scene.prefix_ids:
            cache = DynamicCache(config=self._model.config.get_text_config())
            return self._prefill(ids, scene.inputs, cache), cache
        cache = decoding.share_cache(scene.cache, known)
        output = self._model(
            input_ids=torch.tensor([ids[known:]], device=self.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[0, -1], cache

    def _try(self) -> None:
        """Ask one question of a grey picture, so that a wrong setting shows at start-up."""
        try:
            scene = self.prepare(np.full((48, 64, 3), 127, np.uint8))
            self.answer(scene, Question("What is this?", max_new_tokens=1))
        except ChatspotError as error:
            raise ModelLoadError(
                f"the model does not run: {error.problem}",
                value=error.value,
                remedy="check that chatspot.yaml (picture size, dialect) fits the checkpoint",
            ) from error


class _ModelFailure:
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


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends an answer. Raises ModelLoadError when there is none."""
    named = [model.generation_config.eos_token_id, tokenizer.eos_token_id]
    flat = [i for one in named for i in (one if isinstance(one, list) else [one])]
    ids = frozenset(int(i) for i in flat if i is not None)
    if not ids:
        raise ModelLoadError(
            "the checkpoint names no end token", value=model.name_or_path,
            remedy="set eos_token_id in generation_config.json",
        )  # fmt: skip
    return ids
