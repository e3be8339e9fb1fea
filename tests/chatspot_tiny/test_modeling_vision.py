"""The vision tower with a detail path, by itself and in a LLaVA that is saved, loaded and asked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, CLIPVisionModel

from chatspot_ros.chatspot_tiny.modeling_vision import DetailVisionConfig, DetailVisionModel
from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from tests.engine.conftest import make_llava

SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 56, "patch_size": 14, "detail_widths": [4, 6, 8, 12],
}  # fmt: skip


@pytest.fixture
def tower() -> DetailVisionModel:
    torch.manual_seed(0)
    return DetailVisionModel(DetailVisionConfig(**SMALL)).eval()


def enlivened(tower: DetailVisionModel) -> DetailVisionModel:
    """Its convolutions drawn so that a signal keeps its size: transformers draws them smaller."""
    with torch.no_grad():
        for part in tower.detail.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight.normal_(0, 1.4 / part.weight[0].numel() ** 0.5)
    return tower


@torch.no_grad()
def test_it_is_clips_tower_with_the_detail_path_last(tower: DetailVisionModel) -> None:
    plain = CLIPVisionModel(tower.config).eval()
    plain.load_state_dict(tower.state_dict(), strict=False)
    pixels = torch.randn(3, 3, 56, 56)
    seen = tower(pixels)
    expected = plain(pixels, output_hidden_states=True)
    for ours, clips in zip(seen.hidden_states[:-1], expected.hidden_states, strict=True):
        assert torch.equal(ours, clips)
    assert torch.equal(seen.last_hidden_state, expected.last_hidden_state)
    fine = seen.hidden_states[-1]
    assert fine.shape == (3, 17, 32)
    assert torch.equal(fine[:, 1:], tower.detail(pixels))
    assert torch.allclose(fine[:, 0], fine[:, 1:].mean(1))


@torch.no_grad()
@pytest.mark.parametrize(("size", "patch"), [(56, 14), (64, 16), (60, 20), (400, 20)])
def test_the_detail_path_has_a_vector_for_each_patch_in_its_place(size: int, patch: int) -> None:
    torch.manual_seed(0)
    config = DetailVisionConfig(**{**SMALL, "image_size": size, "patch_size": patch})
    net = enlivened(DetailVisionModel(config)).eval().detail
    side = size // patch
    pixels = torch.zeros(1, 3, size, size)
    dark = net(pixels)
    assert dark.shape == (1, side * side, 32)
    # A light spot in the first patch of the last row is seen there, or one patch beside it at most.
    pixels[..., -patch:, :patch] = 3.0
    row, column = divmod(int((net(pixels) - dark).norm(dim=-1)[0].argmax()), side)
    assert row >= side - 2
    assert column <= 1


def make_detailed(folder: Path, thing_kinds: int = 0) -> Path:
    """A LLaVA with such a tower, from the plain one of the engine's tests.

    With kinds of things to look for it has a detector's heads on its path.
    """
    make_llava(folder)
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    config = plain.config
    config.vision_config = DetailVisionConfig(**SMALL, thing_kinds=thing_kinds)
    config.vision_feature_layer = [-3, -2, -1] if thing_kinds else [-2, -1]
    torch.manual_seed(1)
    model = type(plain)(config).eval()
    model.load_state_dict(
        {name: value for name, value in plain.state_dict().items() if "projector" not in name},
        strict=False,
    )
    model.save_pretrained(folder)
    return folder


def test_a_llava_with_it_is_saved_loaded_and_sees_both(tmp_path: Path) -> None:
    engine = Engine.load(str(make_detailed(tmp_path)), threads=1)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    tower = model.model.vision_tower
    assert isinstance(tower, DetailVisionModel)
    pixels = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        both = torch.cat(tower(pixels).hidden_states[-2:], -1)[:, 1:]
        expected = model.model.multi_modal_projector(both)[0]
        features = model.get_image_features(pixels, return_dict=True).pooler_output[0]
    assert both.shape == (1, 16, 64)
    assert torch.allclose(features, expected, atol=1e-6)
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    question = Question("What is this?", (Region.box(4, 4, 30, 30),))
    one = engine.answer(engine.prepare(rgb), question)
    again = engine.answer_many(engine.prepare(rgb), [question, question])
    assert [reply.raw_text for reply in again] == [one.raw_text, one.raw_text]
