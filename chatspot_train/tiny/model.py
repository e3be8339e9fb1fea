"""chatspot-tiny: a LLaVA of transformers' classes, small enough for two CPU cores."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from chatspot_ros.chatspot_tiny.modeling_vision import DetailVisionConfig
from chatspot_train.common.bf16 import multiplies_bf16
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.cpu_attention import FUSED, PLAIN
from chatspot_train.tiny.tokenizer import COORDINATES, DECIMALS
from chatspot_train.tiny.vision_stage import vision_config


def build_model(
    settings: TinySettings, tokenizer: PreTrainedTokenizerFast, tower: CLIPVisionModel | None
) -> LlavaForConditionalGeneration:
    """Return a model with new language weights and, if given, a trained vision tower.

    The outputs of a detail path and of a detector on it go to the projection too.
    """
    shape = settings.language
    language = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=shape.hidden_size,
        intermediate_size=shape.mlp_size, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=2048, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    image_token = int(tokenizer.vocab["<image>"])
    vision = vision_config(settings.vision)
    config = LlavaConfig(
        vision_config=vision, text_config=language,
        image_token_index=image_token, vision_feature_layer=feature_layers(vision),
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu", tie_word_embeddings=True,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.set_attn_implementation(PLAIN if multiplies_bf16() else FUSED)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    _init_coordinates(model, tokenizer)
    if tower is not None:
        model.model.vision_tower.load_state_dict(tower.state_dict())
    return model


def feature_layers(config: CLIPVisionConfig) -> int | list[int]:
    """Return LLaVA's `vision_feature_layer`: the tower's last layer, then the detail path and its
    detector, if there are any."""
    if not isinstance(config, DetailVisionConfig):
        return -1
    return [-3, -2, -1] if config.thing_kinds else [-2, -1]


def _init_coordinates(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Set the embedding of each coordinate to sines and cosines of its value."""
    table = cast(Tensor, model.get_input_embeddings().weight)
    half = int(table.shape[1]) // 2
    values = torch.arange(len(COORDINATES)) / 10**DECIMALS
    rates = torch.pi * 2.0 ** torch.linspace(-1, 5, half)
    angles = values[:, None] * rates
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(COORDINATES)))
    with torch.no_grad():
        table[ids] = waves * table.std() * 1.4
