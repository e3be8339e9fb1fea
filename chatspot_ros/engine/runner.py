"""The forward passes: a picture into a scene, a conversation into the next token's logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPooling

from chatspot_ros.engine import decoding
from chatspot_ros.engine.loading import Loaded
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.geometry import Fit, RgbImage

_LONG = 10**9
Encode = Callable[[int], list[int]]


@dataclass(frozen=True)
class Scene:
    """A picture made ready for questions; belongs to the engine that made it.

    `inputs` is what the model gets of the picture. Where the model allows it, `cache` holds the
    attention's keys and values of `prefix_ids`, the conversation up to the end of the picture.
    """

    fit: Fit
    image_tokens: int
    inputs: dict[str, Any]
    prefix_ids: tuple[int, ...] = ()
    cache: DynamicCache | None = None
    # How long it took to make.
    seconds: float = 0.0

    @property
    def image_wh(self) -> tuple[int, int]:
        """(width, height) of the camera's image, in pixels."""
        return self.fit.image_wh


class Runner:
    """A model on its device. Call it inside torch.inference_mode, from one thread at a time."""

    def __init__(self, loaded: Loaded) -> None:
        """Raises ModelLoadError for a model that lacks an image token or an end token."""
        self.model = model = loaded.model
        self.image_processor = loaded.image_processor
        self.device, self.dtype = loaded.device, loaded.dtype
        image_token_id = getattr(model.config, "image_token_id", None)
        if image_token_id is None:
            raise ModelLoadError(
                "the model has no image token",
                value=type(model).__name__,
                remedy="use a model of a class like LLaVA or Qwen2.5-VL",
            )
        self.image_token_id = int(image_token_id)
        self.end_ids = _end_ids(model, loaded.tokenizer)
        self._takes_token_types = "mm_token_type_ids" in inspect.signature(model.forward).parameters
        # Such models count positions anew for each picture and keep the count on themselves, so a
        # cache of one picture must not be continued after another was seen.
        self.caches_prefix = not hasattr(getattr(model, "model", model), "rope_deltas")
        self._text_config = model.config.get_text_config()
        # How many tokens a conversation may have.
        self.max_tokens = int(getattr(self._text_config, "max_position_embeddings", 0) or _LONG)

    def prepare(self, picture: RgbImage, fit: Fit, encode: Encode) -> Scene:
        """Return the scene of a model's picture (uint8, RGB, laid out by `fit`).

        `encode(image_tokens)` returns the ids of any conversation about it.
        """
        inputs, image_tokens = self.see(picture)
        prefix_ids: tuple[int, ...] = ()
        cache = None
        if self.caches_prefix:
            ids = encode(image_tokens)
            end = len(ids) - ids[::-1].index(self.image_token_id)
            prefix_ids = tuple(ids[:end])
            cache = self._new_cache()
            self.prefill(ids[:end], inputs, cache)
        return Scene(fit, image_tokens, inputs, prefix_ids, cache)

    def see(self, picture: RgbImage) -> tuple[dict[str, Any], int]:
        """Return the vision features of the model's picture, as model inputs, and their count."""
        off = {"do_resize": False, "do_center_crop": False, "do_pad": False}
        known = {key: value for key, value in off.items() if hasattr(self.image_processor, key)}
        pixels = self.image_processor(images=picture, return_tensors="pt", **known)
        inputs = {
            key: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for key, value in pixels.items()
            if isinstance(value, torch.Tensor)
        }
        features = self.model.get_image_features(**inputs, return_dict=True).pooler_output
        tokens = sum(len(one) for one in features)
        # Neither the pixels nor the tower's inner states are needed again.
        del inputs["pixel_values"]
        seen = BaseModelOutputWithPooling(pooler_output=features)
        return {**inputs, "mm_encoder_outputs": {"image": seen}}, tokens

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: DynamicCache) -> torch.Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        extra: dict[str, Any] = {}
        if self._takes_token_types:
            extra["mm_token_type_ids"] = (input_ids == self.image_token_id).int()
        if not self.caches_prefix:
            self.model.model.rope_deltas = None
        output = self.model(
            input_ids=input_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **inputs,
            **extra,
        )
        last: torch.Tensor = output.logits[0, -1]
        return last

    def read(self, scene: Scene, ids: list[int]) -> tuple[torch.Tensor, DynamicCache]:
        """Read a conversation; return the logits of the next token (vocabulary,) and its cache.

        The scene's cache is used when the conversation begins with exactly its tokens.
        """
        known = len(scene.prefix_ids)
        if scene.cache is None or tuple(ids[:known]) != scene.prefix_ids:
            cache = self._new_cache()
            return self.prefill(ids, scene.inputs, cache), cache
        cache = decoding.share_cache(scene.cache, known)
        output = self.model(
            input_ids=torch.tensor([ids[known:]], device=self.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[0, -1], cache

    def _new_cache(self) -> DynamicCache:
        return DynamicCache(config=self._text_config)


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
