"""Packed linear layers compute what plain ones do, and are put where they help."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chatspot_ros.engine import Engine, packed_linear
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.packed_linear import PackedLinear, pack
from chatspot_ros.regions import Region

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or not torch.backends.mkldnn.is_available(),
    reason="nothing is packed on this processor",
)
TINY = Path("models/chatspot-tiny")


class Model(nn.Module):
    """Two blocks and what is around them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 96)
        self.layers = nn.ModuleList(
            nn.ModuleDict({
                "up": nn.Linear(96, 130), "down": nn.Linear(130, 96, bias=False),
                "gate": nn.Linear(96, 4),
            })
            for _ in range(2)
        )  # fmt: skip
        self.lm_head = nn.Linear(96, 50, bias=False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 70), (16, 70), (1, 33, 70), (2, 300, 70)])
def test_it_computes_what_the_plain_layer_does(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(70, 90, bias=bias)
    packed = PackedLinear(linear)
    x = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), linear(x))
        # As a view of something larger, too.
        wide = torch.randn(*shape[:-1], 100)[..., 5:75]
        torch.testing.assert_close(packed(wide), linear(wide))
    assert torch.equal(packed.weight, linear.weight)


def test_the_blocks_layers_are_packed_and_nothing_else() -> None:
    model = Model()
    small, head = model.layers[0]["gate"], model.lm_head
    assert pack(model) == 4
    assert isinstance(model.layers[1]["down"], PackedLinear)
    assert model.layers[0]["gate"] is small
    assert model.lm_head is head
    assert pack(model) == 0


def test_no_weight_holds_the_memory_of_others() -> None:
    """As where all weights are views of one mapped file."""
    model = Model()
    file = torch.zeros(1000, 96)
    model.embed.weight.data = file[100:150]
    pack(model)
    assert model.embed.weight.untyped_storage().nbytes() == model.embed.weight.nbytes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_numbers_stay(dtype: torch.dtype) -> None:
    assert pack(Model().to(dtype)) == 0


def test_other_processors_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert pack(Model()) == 0


def test_the_bundled_model_says_the_same(
    image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [Question("What is this?", (Region.box(5 * k, 5, 60 + 9 * k, 60),)) for k in range(5)]
    said = []
    for packs in (True, False):
        if not packs:
            monkeypatch.setattr(packed_linear, "pack", lambda model: 0)
        engine = Engine.load(str(TINY), device="cpu")
        kinds = {type(one) for one in engine._runner.model.modules()}
        assert (PackedLinear in kinds) == packs
        replies = engine.answer_many(engine.prepare(image_rgb), asked)
        said.append([reply.raw_text for reply in replies])
    assert said[0] == said[1]
