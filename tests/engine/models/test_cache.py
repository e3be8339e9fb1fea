"""Branches of a cache: what one question writes, the scene and the other questions never see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf
from transformers import DynamicCache

from chatspot_ros.engine.decoding.kv_cache import tensor_bytes
from chatspot_ros.engine.models.cache import share_cache

TEXT = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
LINEAR = {"layer_types": ["linear_attention", "full_attention"], "linear_conv_kernel_dim": 4,
          "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
          "linear_num_value_heads": 2, "head_dim": 16}  # fmt: skip
MAKERS: dict[str, Any] = {
    "linear attention": lambda: hf.Qwen3_5ForCausalLM(hf.Qwen3_5TextConfig(**TEXT, **LINEAR)),
    "convolution": lambda: hf.Lfm2ForCausalLM(hf.Lfm2Config(
        **TEXT, layer_types=["conv", "full_attention"], block_multiple_of=8)),
    "sliding window": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(
        **TEXT, head_dim=16, sliding_window=6,
        layer_types=["sliding_attention", "full_attention"])),
    "plain": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**TEXT)),
}  # fmt: skip
PREFIX = torch.arange(9)[None] + 3


@pytest.fixture(scope="module", params=sorted(MAKERS))
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return MAKERS[request.param]().eval()


def read(model: Any, ids: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
    return logits[0, -1]


def prefix(model: Any) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    read(model, PREFIX, cache)
    return cache


def states(cache: Any) -> list[torch.Tensor]:
    names = ("keys", "values", "conv_states", "recurrent_states")
    values = [getattr(layer, name, None) for layer in cache.layers for name in names]
    flat = [one for value in values for one in (value.values() if isinstance(value, dict)
                                                else [value])]  # fmt: skip
    return [one for one in flat if one is not None]


def answer(model: Any, cache: DynamicCache, first: int) -> list[torch.Tensor]:
    """The logits behind a question of three tokens, and of two more one by one."""
    ids = torch.tensor([[first, first + 1, first + 2]])
    return [read(model, one, cache) for one in (ids, ids[:, :1], ids[:, 1:2])]


def test_two_branches_answer_as_each_alone(model: Any) -> None:
    alone = [answer(model, share_cache(prefix(model), 9), first) for first in (20, 30)]
    scene = prefix(model)
    together = [answer(model, share_cache(scene, 9), first) for first in (20, 30)]
    for mine, expected in zip(together, alone, strict=True):
        for one, other in zip(mine, expected, strict=True):
            assert torch.equal(one, other)


def test_a_branch_leaves_the_scene_as_it_was(model: Any) -> None:
    scene = prefix(model)
    before = [one.clone() for one in states(scene)]
    answer(model, share_cache(scene, 9), 20)
    after = states(scene)
    assert len(after) == len(before) > 0
    assert all(torch.equal(one, other) for one, other in zip(after, before, strict=True))
    assert scene.get_seq_length() == 9


def test_two_open_branches_do_not_share_what_they_write(model: Any) -> None:
    scene = prefix(model)
    first, second = share_cache(scene, 9), share_cache(scene, 9)
    alone = read(model, torch.tensor([[30, 31]]), share_cache(scene, 9))
    read(model, torch.tensor([[20]]), first)
    assert torch.equal(read(model, torch.tensor([[30, 31]]), second), alone)


def test_all_states_are_counted(model: Any) -> None:
    scene = prefix(model)
    assert tensor_bytes(scene) == sum(one.nbytes for one in states(scene)) > 0
