"""Which family a model belongs to, by its model_type alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from chatspot_ros.engine.models.base import Family
from chatspot_ros.engine.models.qwen_vl import Qwen
from chatspot_ros.engine.models.registry import FAMILIES, find_family


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_each_is_a_type_that_transformers_knows(name: str) -> None:
    assert name in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    assert AutoConfig.for_model(name).model_type == name


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"])
def test_qwens_positions_are_registered(name: str) -> None:
    assert FAMILIES[name] is Qwen


def test_a_type_that_is_not_in_the_table_is_fed_like_llava() -> None:
    config = SimpleNamespace(model_type="llava_onevision", image_token_id=7)
    tokenizer = SimpleNamespace(convert_ids_to_tokens=lambda _: "<image>")
    loaded: Any = SimpleNamespace(
        model=SimpleNamespace(config=config), tokenizer=tokenizer, device="cpu"
    )
    assert type(find_family(loaded)) is Family
