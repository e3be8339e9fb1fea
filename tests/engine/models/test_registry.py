"""Which family a checkpoint belongs to, by its config.json alone."""

from __future__ import annotations

import pytest
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from chatspot_ros.core.model_spec import find_spec
from chatspot_ros.engine.models.base import Family
from chatspot_ros.engine.models.pixtral import Pixtral
from chatspot_ros.engine.models.qwen_vl import Qwen
from chatspot_ros.engine.models.registry import FAMILIES, family_of
from chatspot_ros.errors import ModelLoadError


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_each_is_a_type_that_transformers_knows(name: str) -> None:
    assert name in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    assert AutoConfig.for_model(name).model_type == name


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_each_has_its_settings(name: str) -> None:
    assert name in find_spec("x", name).model_types


@pytest.mark.parametrize(
    "name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"]
)
def test_qwens_positions_are_registered(name: str) -> None:
    assert FAMILIES[name] is Qwen


def test_pixtrals_tower_in_llavas_class_is_fed_as_pixtral() -> None:
    assert family_of({"model_type": "llava", "vision_config": {"model_type": "pixtral"}}) is Pixtral
    tower = {"model_type": "clip_vision_model"}
    assert family_of({"model_type": "llava", "vision_config": tower}) is Family
    assert family_of({"model_type": "llava"}) is Family


@pytest.mark.parametrize("name", ["glm4v", "llava_next_video", "aria", "nonsense"])
def test_a_type_that_is_not_in_the_table_is_refused(name: str) -> None:
    with pytest.raises(ModelLoadError, match="pictures enter") as caught:
        family_of({"model_type": name})
    assert name in str(caught.value)
    assert "llava_onevision" in caught.value.remedy
