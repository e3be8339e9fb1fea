"""The forward passes: from a picture to a scene, from a conversation to the next logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from chatspot_ros.core.geometry import Fit, RgbImage
from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import EncodedImage, Offsets
from chatspot_ros.engine.models.cache import share_cache
from chatspot_ros.engine.models.grounding_head import GroundingHead
from chatspot_ros.engine.models.patches import on_grid, seen_patches
from chatspot_ros.engine.models.registry import find_family
from chatspot_ros.errors import ModelLoadError

_LONG = 10**9
# From the text in the place of the picture to the ids of a conversation about it.
Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class Scene:
    """A picture made ready for questions; belongs to the engine that made it.

    `inputs` are the model's inputs of the picture, `picture` stands for it in a prompt. Where the
    family shares the prefix, `cache` holds the keys and values of `prefix_ids`, the conversation
    up to the end of the picture. `image_rgb` is the image itself, for second looks; `maps` are the
    grounding head's of the picture, where the checkpoint has a head.
    """

    fit: Fit
    image_tokens: int
    picture: str
    inputs: dict[str, Any]
    prefix_ids: tuple[int, ...] = ()
    cache: Any = None
    # The time of preparing.
    seconds: float = 0.0
    image_rgb: RgbImage | None = None
    maps: torch.Tensor | None = None

    @property
    def image_wh(self) -> tuple[int, int]:
        """(width, height) of the camera's image, in pixels."""
        return self.fit.image_wh


class Runner:
    """A model on its device. Call it inside torch.inference_mode, from one thread at a time.

    `model` takes further tokens behind a scene's cache: `input_ids` (1, tokens),
    `past_key_values`, and where its family shares the picture's prefix, a float `attention_mask`
    (1, 1, tokens, all tokens) with `position_ids` (1, tokens) counted as in a causal model.
    """

    def __init__(self, loaded: Loaded, head: GroundingHead | None = None) -> None:
        """`head` points in the pictures.

        Raises ModelLoadError for a model that lacks an image token or an end token.
        """
        self._head = head
        self._family = find_family(loaded)
        self.model = self._family.model
        self.image_processor = loaded.image_processor
        self.device, self.dtype = loaded.device, loaded.dtype
        self.image_token_id = self._family.image_token_id
        # The template's token for a picture, and the opening text that the template leaves out.
        self.placeholder, self.opening = self._family.placeholder, self._family.opening
        self.end_ids = _end_ids(loaded.model, loaded.tokenizer)
        self.caches_prefix = self._family.shares_prefix
        self.takes_cuts = self._family.takes_cuts
        self.cuts_move_positions = self._family.cuts_move_positions
        text_config = loaded.model.config.get_text_config()
        # The longest conversation, in tokens.
        self.max_tokens = int(getattr(text_config, "max_position_embeddings", 0) or _LONG)

    def prepare(self, pixels: dict[str, Any], fit: Fit, encode: Encode) -> Scene:
        """Return the scene of a picture: `image_inputs` returned its `pixels` and `fit`.

        `encode(picture)` returns the ids of any conversation about it.
        """
        encoded, maps = self._see(pixels)
        prefix_ids: tuple[int, ...] = ()
        cache = None
        if self.caches_prefix:
            ids = encode(encoded.text)
            prefix_ids = tuple(ids[: self._family.prefix_end(ids)])
            cache = self._family.new_cache()
            self._family.prefill(list(prefix_ids), encoded.inputs, cache)
        return Scene(
            fit, encoded.tokens, encoded.text, encoded.inputs, prefix_ids, cache, maps=maps
        )

    def _see(self, pixels: dict[str, Any]) -> tuple[EncodedImage, torch.Tensor | None]:
        """Return a picture for the language model, and the grounding head's maps of it."""
        if self._head is None:
            return self.encode_image(pixels), None
        with seen_patches(self._family.whole) as seen:
            encoded = self.encode_image(pixels)
        height, width = pixels["pixel_values"].shape[-2:]
        return encoded, self._head.maps(on_grid(seen[0][0], (width, height))[None])

    def encode_image(self, pixels: dict[str, Any]) -> EncodedImage:
        """Run the vision tower on the image processor's output for one picture."""
        inputs = {
            key: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for key, value in pixels.items()
            if isinstance(value, torch.Tensor)
        }
        return self._family.encode_image(inputs)

    def encode_cut(self, pixels: dict[str, Any]) -> EncodedImage:
        """Run the vision tower on a cut of the picture; its text has the family's marks."""
        encoded = self.encode_image(pixels)
        return replace(encoded, text=self._family.cut_text(encoded))

    def cut_inputs(self, cuts: Sequence[EncodedImage]) -> dict[str, Any]:
        """Return the model's inputs for tokens behind a picture with these cuts among them."""
        if not cuts:
            return {}
        return {"mm_encoder_outputs": self._family.with_cuts({}, cuts)["mm_encoder_outputs"]}

    def cut_offsets(self, cut: EncodedImage, start: int, begin: int, count: int) -> Offsets | None:
        """See Family."""
        return self._family.cut_offsets(cut, start, begin, count)

    def read(
        self, scene: Scene, ids: list[int], cuts: Sequence[EncodedImage] = ()
    ) -> tuple[torch.Tensor, Any]:
        """Read a conversation; return the logits of the next token (vocabulary,) and its cache.

        Use the scene's cache where the conversation begins with exactly its tokens. `cuts` are the
        pictures behind the scene's own.
        """
        known = len(scene.prefix_ids)
        moved = bool(cuts) and self.cuts_move_positions
        if scene.cache is None or moved or tuple(ids[:known]) != scene.prefix_ids:
            cache = self._family.new_cache()
            inputs = self._family.with_cuts(scene.inputs, cuts)
            return self._family.prefill(ids, inputs, cache), cache
        cache = share_cache(scene.cache, known)
        output = self.model(
            input_ids=torch.tensor([ids[known:]], device=self.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **self.cut_inputs(cuts),
        )
        return output.logits[0, -1], cache


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
