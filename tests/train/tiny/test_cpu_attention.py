"""The plain attention computes what transformers' own does."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaModel

from chatspot_train.tiny.cpu_attention import FUSED, PLAIN


@pytest.fixture
def model() -> LlamaModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4,
    )  # fmt: skip
    return LlamaModel(config)


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bf16", [False, True])
def test_a_language_model_sees_the_same_with_padding(
    bf16: bool, model: LlamaModel, tokens: torch.Tensor
) -> None:
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    found = {}
    for name in ("eager", PLAIN):
        model.set_attn_implementation(name)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found[name] = model(tokens, attention_mask=mask).last_hidden_state[mask.bool()].float()
    tolerance = 0.05 if bf16 else 1e-5
    assert torch.allclose(found["eager"], found[PLAIN], atol=tolerance)


@pytest.mark.parametrize("name", [FUSED, PLAIN])
def test_without_a_mask_what_comes_after_changes_nothing(
    name: str, model: LlamaModel, tokens: torch.Tensor
) -> None:
    padded = torch.cat([tokens, torch.zeros_like(tokens)], 1)
    with torch.no_grad():
        model.set_attn_implementation("eager")
        alone = model(tokens).last_hidden_state
        model.set_attn_implementation(name)
        assert torch.allclose(model(padded).last_hidden_state[:, :9], alone, atol=1e-5)


def test_a_tower_learns_the_same() -> None:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        image_size=16, patch_size=4, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4,
    )  # fmt: skip
    tower = CLIPVisionModel(config)
    pixels = torch.randn(2, 3, 16, 16)
    gradients = {}
    for name in ("eager", PLAIN):
        tower.set_attn_implementation(name)
        tower.zero_grad()
        tower(pixels).last_hidden_state.square().sum().backward()
        gradients[name] = [p.grad.clone() for p in tower.parameters() if p.grad is not None]
    for ours, theirs in zip(gradients[PLAIN], gradients["eager"], strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)
