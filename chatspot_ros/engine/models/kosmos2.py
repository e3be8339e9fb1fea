"""Kosmos-2: a fixed number of picture features, absolute positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import EncodedImage, Family, PositionAdapter


class Kosmos2(Family):
    """Kosmos-2: a fixed number of features behind an opening mark; absolute positions.

    Its language model is a causal model of its own, once the picture has been read.
    """

    takes_cuts = False

    after = "</image>"

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        text = self.whole.text_model
        # The first position of a word: those up to the padding's are reserved.
        self._first_position = int(text.config.pad_token_id) + 1
        _take_whole_masks(text.model)
        self.model = PositionAdapter(text, self)
        self.before = self.image_token

    def _find_image_token(self, loaded: Loaded) -> int:
        # The mark before the picture; the tokens in the place of its features do not matter.
        return int(loaded.tokenizer.convert_tokens_to_ids("<image>"))

    def encode_image(self, pixels: dict[str, Tensor]) -> EncodedImage:
        """Run the vision tower on the image processor's output for one picture."""
        vision = self.whole.vision_model
        states = vision.model.post_layernorm(vision(pixel_values=pixels["pixel_values"])[0])
        states = torch.nn.functional.normalize(states, dim=-1)
        features, _ = self.whole.image_to_text_projection(states)
        tokens = features.shape[1]
        text = f"{self.before}{self.image_token * tokens}{self.after}"
        return EncodedImage({"image_embeds": features}, text, tokens)

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        places = input_ids == self.image_token_id
        places[0, ids.index(self.image_token_id)] = False
        output = self.whole.text_model(
            input_ids=input_ids, image_embeds_position_mask=places, past_key_values=cache,
            use_cache=True, logits_to_keep=1, **inputs,
        )  # fmt: skip
        last: Tensor = output.logits[0, -1]
        return last

    def positions(self, plain: Tensor, cache: Any) -> Tensor:
        """Return the model's positions (1, tokens) from those of a causal model."""
        return plain + self._first_position


def _take_whole_masks(decoder: Any) -> None:
    """Let Kosmos-2's decoder take a mask (1, 1, tokens, all tokens) unchanged, like other models.

    It expects padding masks and makes them causal; a packed batch needs its own mask.
    """
    plain = decoder._prepare_decoder_attention_mask

    def prepare(mask: Tensor | None, *rest: Any) -> Any:
        return mask if mask is not None and mask.dim() == 4 else plain(mask, *rest)

    decoder._prepare_decoder_attention_mask = prepare
