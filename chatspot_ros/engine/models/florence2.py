"""Florence-2: an encoder reads picture and prompt, a decoder answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import Family


class Florence2(Family):
    """Florence-2: an encoder reads picture and prompt, a decoder that attends to it answers.

    The encoder's states depend on the question, so only the picture's features are shared. The
    states are kept on the cache, for every step attends to them.
    """

    shares_prefix = False
    takes_cuts = False

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        text = self.whole.config.text_config
        # The decoder's first tokens, as `generate` gives them.
        forced = self.whole.generation_config.forced_bos_token_id
        self._begin = [i for i in (text.decoder_start_token_id, forced) if i is not None]
        self.model = _Decoder(self.whole)

    def new_cache(self) -> Any:
        """Return an empty cache of keys and values: the answer's and the encoder states'."""
        config = self.whole.config.get_text_config()
        return EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        embeds = self.whole.get_input_embeddings()(input_ids)
        features = inputs["mm_encoder_outputs"]["image"].pooler_output.to(embeds.dtype)
        places = (input_ids == self.image_token_id)[..., None]
        embeds = embeds.masked_scatter(places, features)
        encoder = self.whole.get_encoder()
        cache.encoded = BaseModelOutput(encoder(inputs_embeds=embeds).last_hidden_state)
        begin = torch.tensor([self._begin], device=self.device)
        last: Tensor = self.model(input_ids=begin, past_key_values=cache).logits[0, -1]
        return last


class _Decoder:
    """Florence-2's decoder, called like a causal model."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, *, input_ids: Tensor, past_key_values: Any, **inputs: Any) -> Any:
        return self._model(
            decoder_input_ids=input_ids,
            past_key_values=past_key_values,
            encoder_outputs=past_key_values.encoded,
            **{**inputs, "use_cache": True},
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
