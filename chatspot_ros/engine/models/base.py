"""The base of all model families: how a picture and a prompt are fed to a model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.errors import ModelLoadError

# The parts of the vision tower's output that the language model reads.
_FEATURES = ("pooler_output", "deepstack_features")
# Of each token, on the axes of time, height and width.
Offsets = list[tuple[int, int, int]]


@dataclass(frozen=True)
class EncodedImage:
    """A picture for the language model.

    `inputs` are the model's inputs, `text` stands for the picture in a prompt, `tokens` is the
    number of vision features.
    """

    inputs: dict[str, Any]
    text: str
    tokens: int


class Family:
    """Models like LLaVA: vision features replace the image tokens of a causal sequence.

    `model` reads further tokens behind a cache. `placeholder` is the token that the chat template
    writes for the picture, `opening` the text that begins every conversation although the template
    leaves it out. `shares_prefix` says whether one picture's keys and values serve every question
    about it, `takes_cuts` whether a question may bring a second picture: a cut of the first one;
    `cuts_move_positions` whether `cut_offsets` says how it counts positions then.
    """

    shares_prefix = True
    takes_cuts = True
    cuts_move_positions = False
    opening = ""
    # Text around the image tokens that the template leaves out.
    before, after = "", ""

    def __init__(self, loaded: Loaded) -> None:
        """Raises ModelLoadError for a model without an image token."""
        self.whole: Any = loaded.model
        self.model: Any = loaded.model
        self.image_token_id = self._find_image_token(loaded)
        self.image_token = str(loaded.tokenizer.convert_ids_to_tokens(self.image_token_id))
        self.placeholder = self.image_token
        self.device = loaded.device

    def _find_image_token(self, loaded: Loaded) -> int:
        found = getattr(loaded.model.config, "image_token_id", None)
        if found is None:
            raise ModelLoadError(
                "the model has no image token",
                value=type(loaded.model).__name__,
                remedy="use a model of a class that docs/models.md names",
            )
        return int(found)

    def encode_image(self, pixels: dict[str, Tensor]) -> EncodedImage:
        """Run the vision tower on the image processor's output for one picture."""
        known = inspect.signature(self.whole.get_image_features).parameters
        known_pixels = {key: value for key, value in pixels.items() if key in known}
        output = self.whole.get_image_features(**known_pixels, return_dict=True)
        tokens = sum(len(one) for one in output.pooler_output)
        text = f"{self.before}{self.image_token * tokens}{self.after}"
        return EncodedImage(self._kept(output), text, tokens)

    @staticmethod
    def _kept(output: Any) -> dict[str, Any]:
        """Return the model's inputs from the vision tower's output, without its inner states."""
        kept = {key: output[key] for key in _FEATURES if output.get(key) is not None}
        return {"mm_encoder_outputs": {"image": type(output)(**kept)}}

    def cut_text(self, encoded: EncodedImage) -> str:
        """Return what stands for a cut in a question, with its marks."""
        return encoded.text

    def cut_offsets(self, cut: EncodedImage, start: int, begin: int, count: int) -> Offsets | None:
        """Return how far positions lie from a causal model's, on each axis, for `count` tokens of a
        question from token `begin` on, whose cut begins at token `start`; None: not at all."""
        return None

    @staticmethod
    def with_cuts(inputs: dict[str, Any], cuts: Sequence[EncodedImage]) -> dict[str, Any]:
        """Return a scene's inputs for a conversation in which these cuts stand behind the picture;
        of empty `inputs` those of the cuts alone."""
        pictures = [one for one in (inputs, *(cut.inputs for cut in cuts)) if one]
        if not cuts:
            return inputs
        outputs = [one["mm_encoder_outputs"]["image"] for one in pictures]
        seen = [output.pooler_output for output in outputs]
        apart = not isinstance(seen[0], Tensor)
        merged: dict[str, Any] = {
            "pooler_output": [one for each in seen for one in each] if apart else torch.cat(seen)
        }
        if outputs[0].get("deepstack_features") is not None:
            layers = zip(*(output.deepstack_features for output in outputs), strict=True)
            merged["deepstack_features"] = [sum(map(tuple, layer), ()) for layer in layers]
        return {"mm_encoder_outputs": {"image": type(outputs[0])(**merged)}}

    def prefix_end(self, ids: list[int]) -> int:
        """Return the length of a conversation's shared prefix: up to the end of the picture."""
        return len(ids) - ids[::-1].index(self.image_token_id)

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        return self._read(torch.tensor([ids], device=self.device), cache, **inputs)

    def new_cache(self) -> Any:
        """Return an empty cache of keys and values."""
        return DynamicCache(config=self.whole.config.get_text_config())

    def _read(self, ids: Tensor, cache: Any, **inputs: Any) -> Tensor:
        output = self.whole(
            input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **inputs
        )
        last: Tensor = output.logits[0, -1]
        return last


class PositionCounter(Protocol):
    """A family with positions other than a causal model's."""

    def positions(self, plain: Tensor, cache: Any) -> Tensor:
        """Return the model's positions of tokens behind a cache, from causal ones (1, tokens)."""


class PositionAdapter:
    """A model that reads tokens behind a picture, with its family's own positions.

    `position_ids` (1, tokens) count from 0 at the first token, as in a causal model; by default
    they continue the cache. Everything else is the model's own.
    """

    def __init__(self, model: Any, family: PositionCounter) -> None:
        self._model, self._family = model, family

    def __call__(self, *, input_ids: Tensor, past_key_values: Any, **inputs: Any) -> Any:
        """Run the model, with its own keywords."""
        plain = inputs.pop("position_ids", None)
        if plain is None:
            begin = past_key_values.get_seq_length()
            plain = torch.arange(begin, begin + input_ids.shape[1], device=input_ids.device)[None]
        return self._model(
            input_ids=input_ids,
            past_key_values=past_key_values,
            position_ids=self._family.positions(plain, past_key_values),
            **inputs,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
