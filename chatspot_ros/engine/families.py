"""What differs between model classes: how a picture gets in, and how a prompt is read.

Everything else of the engine is the same for all. Each class was read in transformers 5.23.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from chatspot_ros.engine import molmo2_pictures
from chatspot_ros.engine.family import Behind, Family, Seen
from chatspot_ros.engine.loading import Loaded

molmo2_pictures.register()


class InternVL(Family):
    """InternVL: marks stand around the picture, which may be cut into tiles."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        self.before = str(getattr(loaded.tokenizer, "start_image_token", "<img>"))
        self.after = str(getattr(loaded.tokenizer, "end_image_token", "</img>"))


class Qwen(Family):
    """Qwen2-VL, 2.5-VL and 3-VL: positions have three axes, and a picture takes up fewer of them
    than it has tokens.

    Text goes on with equal numbers on all axes, so all that a question needs to know of its
    picture is one number, which is kept on the cache. The model's own `rope_deltas`, that of the
    picture seen last, is never used.
    """

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        self.model = Behind(self.whole, self)

    def see(self, pixels: dict[str, Tensor]) -> Seen:
        """Run the vision tower on what the image processor made of one picture."""
        seen = super().see(pixels)
        return Seen({**seen.inputs, "grid": pixels["image_grid_thw"]}, seen.text, seen.tokens)

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        positions, shift = self.whole.model.get_rope_index(
            input_ids, (input_ids == self.image_token_id).int(), image_grid_thw=inputs["grid"]
        )
        cache.position_shift = int(shift)
        features = inputs["mm_encoder_outputs"]
        return self._read(input_ids, cache, position_ids=positions, mm_encoder_outputs=features)

    def positions(self, plain: Tensor, cache: Any) -> Tensor:
        """Positions (3, 1, tokens) of text behind the cache's picture, from those of a causal model
        (1, tokens)."""
        shifted: Tensor = plain + cache.position_shift
        return shifted.expand(3, *plain.shape)


class Kosmos2(Family):
    """Kosmos-2: a fixed number of features behind an opening mark; absolute positions.

    Its language model is a causal model of its own, once the picture has been read.
    """

    after = "</image>"

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        text = self.whole.text_model
        # Where positions begin: those of the padding and before are never a word's.
        self._first_position = int(text.config.pad_token_id) + 1
        _take_whole_masks(text.model)
        self.model = Behind(text, self)
        self.before = self.image_token

    def _find_image_token(self, loaded: Loaded) -> int:
        # The mark before the picture; what stands for its features does not matter.
        return int(loaded.tokenizer.convert_tokens_to_ids("<image>"))

    def see(self, pixels: dict[str, Tensor]) -> Seen:
        """Run the vision tower on what the image processor made of one picture."""
        vision = self.whole.vision_model
        states = vision.model.post_layernorm(vision(pixel_values=pixels["pixel_values"])[0])
        states = torch.nn.functional.normalize(states, dim=-1)
        features, _ = self.whole.image_to_text_projection(states)
        tokens = features.shape[1]
        text = f"{self.before}{self.image_token * tokens}{self.after}"
        return Seen({"image_embeds": features}, text, tokens)

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
        """Positions (1, tokens) as the model counts them, from those of a causal model."""
        return plain + self._first_position


def _take_whole_masks(decoder: Any) -> None:
    """Let Kosmos-2's decoder take a mask (1, 1, tokens, all tokens) as it is, like other models.

    It only knows masks of padding, which it would make causal; branches need one of their own.
    """
    plain = decoder._prepare_decoder_attention_mask

    def prepare(mask: Tensor | None, *rest: Any) -> Any:
        return mask if mask is not None and mask.dim() == 4 else plain(mask, *rest)

    decoder._prepare_decoder_attention_mask = prepare


class PaliGemma(Family):
    """PaliGemma: the picture and the whole prompt see each other; only the answer is causal.

    So the picture's keys and values depend on the question, and its features alone are shared.
    """

    shares_prefix = False

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        prompt = torch.zeros_like(input_ids)
        return self._read(input_ids, cache, token_type_ids=prompt, **inputs)


class Molmo2(Family):
    """Molmo 2: two views of the picture, with marks between their rows, that see each other."""

    _MARKS = ("<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<im_end>")

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        tokenizer = loaded.tokenizer
        self.placeholder = str(getattr(tokenizer, "image_token", "<|image|>"))
        self.opening = str(tokenizer.bos_token or tokenizer.eos_token)
        self._marks = torch.tensor(tokenizer.convert_tokens_to_ids(list(self._MARKS)))
        self._columns, self._low_columns, self._low_start = self._layout(loaded)

    @staticmethod
    def _layout(loaded: Loaded) -> tuple[bool, bool, bool]:
        """Which marks the processor's settings ask for; its defaults where there are none."""
        path = loaded.folder / "processor_config.json"
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        columns = bool(settings.get("image_use_col_tokens", True))
        low = settings.get("use_single_crop_col_tokens")
        start = bool(settings.get("use_single_crop_start_token", True))
        return columns, columns if low is None else bool(low), start

    def see(self, pixels: dict[str, Tensor]) -> Seen:
        """Run the vision tower on what the image processor made of one picture."""
        seen = super().see(pixels)
        low_rows, low_columns, rows, columns = pixels["image_grids"][0].tolist()
        low_mark = "<low_res_im_start>" if self._low_start else "<im_start>"
        low = self._view(low_mark, low_rows, low_columns, self._low_columns)
        text = low + self._view("<im_start>", rows, columns, self._columns)
        return Seen(seen.inputs, text, seen.tokens)

    def _view(self, mark: str, rows: int, columns: int, ends: bool) -> str:
        row = self.image_token * columns + ("<im_col>" if ends else "")
        return f"{mark}{row * rows}<im_end>"

    def prefix_end(self, ids: list[int]) -> int:
        """How many tokens of a conversation do not depend on the question: up to the picture."""
        marks = set(self._marks.tolist())
        return 1 + max(place for place, i in enumerate(ids) if i in marks)

    def prefill(self, ids: list[int], inputs: dict[str, Any], cache: Any) -> Tensor:
        """Read a conversation with its picture into an empty cache; return the last logits."""
        input_ids = torch.tensor([ids], device=self.device)
        types = torch.isin(input_ids, self._marks.to(self.device)).int()
        return self._read(input_ids, cache, mm_token_type_ids=types, **inputs)


class Florence2(Family):
    """Florence-2: an encoder reads picture and prompt, a decoder that looks at it answers.

    The encoder's states depend on the question, so the picture's features alone are shared. They
    are kept on the cache, for every step looks at them.
    """

    shares_prefix = False

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        text = self.whole.config.text_config
        # The decoder's first tokens, as `generate` gives them.
        forced = self.whole.generation_config.forced_bos_token_id
        self._begin = [i for i in (text.decoder_start_token_id, forced) if i is not None]
        self.model = _Decoder(self.whole)

    def new_cache(self) -> Any:
        """An empty cache of keys and values: the answer's, and the encoder's states'."""
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


_BY_TYPE: dict[str, type[Family]] = {
    "internvl": InternVL,
    "kosmos-2": Kosmos2,
    "paligemma": PaliGemma,
    "molmo2": Molmo2,
    "florence2": Florence2,
}


def find_family(loaded: Loaded) -> Family:
    """How to feed a loaded model. Raises ModelLoadError for one without an image token."""
    found = _BY_TYPE.get(loaded.model.config.model_type)
    if found is None:
        three_axes = hasattr(getattr(loaded.model, "model", None), "rope_deltas")
        found = Qwen if three_axes else Family
    return found(loaded)
