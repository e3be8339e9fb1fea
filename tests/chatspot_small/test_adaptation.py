"""What chatspot-small learned, apart from its pretrained parts, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from chatspot_ros.chatspot_small.adaptation import (
    ADAPTATION,
    LANGUAGE_FOLDER,
    VISION_FOLDER,
    WEIGHTS,
    base_weights,
    compose,
    extract,
    joined,
)
from chatspot_ros.errors import ModelLoadError

MATRIX = "language_model.model.layers.0.mlp.up_proj.weight"
EMBEDDING = "language_model.model.embed_tokens.weight"
HEAD = "language_model.lm_head.weight"
CONVOLUTION = "vision_tower.stem.0.weight"
PROJECTION = "multi_modal_projector.linear_1.weight"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Small pretrained parts, in float16 and float32 like the real ones."""
    torch.manual_seed(1)
    parts = tmp_path / "parts"
    words = {
        MATRIX.removeprefix("language_model."): torch.randn(24, 16).half(),
        EMBEDDING.removeprefix("language_model."): torch.randn(10, 16).half(),
        "model.norm.weight": torch.ones(16).half(),
    }
    eyes = {"stem.0.weight": torch.randn(4, 3, 3, 3), "stem.1.num_batches_tracked": torch.tensor(3)}
    for folder, weights in ((LANGUAGE_FOLDER, words), (VISION_FOLDER, eyes)):
        (parts / folder).mkdir(parents=True)
        save_file(weights, parts / folder / WEIGHTS)
        (parts / folder / "source.sha256").write_text(f"{folder}\n")
    return parts


def trained(parts: Path, folder: Path, rank: int = 3, tower: bool = False) -> dict[str, Tensor]:
    """Write a folder as training exports it; return its weights."""
    weights = {name: value.half() if value.is_floating_point() else value
               for name, value in base_weights(parts).items()}  # fmt: skip
    change = torch.randn(24, rank) @ torch.randn(rank, 16) * 0.1
    weights[MATRIX] = (weights[MATRIX].float() + change).half()
    weights[EMBEDDING] = torch.cat([weights[EMBEDDING], torch.randn(2, 16).half()])
    weights[PROJECTION] = torch.randn(16, 8).half()
    if tower:
        weights[CONVOLUTION] = weights[CONVOLUTION] + 0.5
    folder.mkdir(exist_ok=True)
    save_file({**weights, HEAD: weights[EMBEDDING].clone()}, folder / WEIGHTS)
    (folder / "config.json").write_text("{}")
    return weights


@pytest.mark.parametrize("tower", [False, True])
def test_a_composed_model_has_the_trained_weights(parts: Path, tmp_path: Path, tower: bool) -> None:
    weights = trained(parts, tmp_path / "run", tower=tower)
    size = extract(parts, tmp_path / "run", tmp_path / "adaptation", rank=4)
    assert compose(parts, tmp_path / "adaptation", tmp_path / "out")
    from safetensors.torch import load_file

    made = load_file(tmp_path / "out" / WEIGHTS)
    assert set(made) == set(weights)  # the head is the embedding
    for name, value in weights.items():
        assert torch.allclose(made[name].float(), value.float(), atol=2e-2), name
    assert (tmp_path / "out" / "config.json").is_file()
    assert not (tmp_path / "out" / ADAPTATION).exists()
    kept = load_file(tmp_path / "adaptation" / ADAPTATION)
    assert (CONVOLUTION in kept) is tower
    assert kept[f"{MATRIX}.lora_A"].shape == (3, 16)
    assert size < (tmp_path / "run" / WEIGHTS).stat().st_size


def test_it_is_composed_once_and_again_when_a_part_changes(parts: Path, tmp_path: Path) -> None:
    trained(parts, tmp_path / "run")
    extract(parts, tmp_path / "run", tmp_path / "adaptation", rank=4)
    assert compose(parts, tmp_path / "adaptation", tmp_path / "out")
    assert not compose(parts, tmp_path / "adaptation", tmp_path / "out")
    (parts / VISION_FOLDER / "source.sha256").write_text("another\n")
    assert compose(parts, tmp_path / "adaptation", tmp_path / "out")


def test_a_change_of_too_high_a_rank_keeps_its_largest_part(parts: Path, tmp_path: Path) -> None:
    weights = trained(parts, tmp_path / "run", rank=8)
    extract(parts, tmp_path / "run", tmp_path / "adaptation", rank=6)
    compose(parts, tmp_path / "adaptation", tmp_path / "out")
    from safetensors.torch import load_file

    made = load_file(tmp_path / "out" / WEIGHTS)[MATRIX].float()
    before = base_weights(parts)[MATRIX].float()
    lost = (made - weights[MATRIX].float()).norm() / (weights[MATRIX].float() - before).norm()
    assert 0 < lost < 0.5


def test_a_foreign_adaptation_is_refused(parts: Path) -> None:
    base = base_weights(parts)
    for learned in (
        {f"{MATRIX}.lora_A": torch.zeros(2, 5), f"{MATRIX}.lora_B": torch.zeros(24, 2)},
        {f"{MATRIX}.lora_A": torch.zeros(2, 16)},
        {f"{EMBEDDING}.new_rows": torch.zeros(2, 5)},
        {"language_model.other.lora_A": torch.zeros(2, 5)},
    ):
        with pytest.raises(ModelLoadError, match="does not belong"):
            joined(base, learned)


def test_missing_and_damaged_files_are_named(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "adaptation").mkdir()
    with pytest.raises(ModelLoadError, match=ADAPTATION):
        compose(parts, tmp_path / "adaptation", tmp_path / "out")
    (tmp_path / "adaptation" / ADAPTATION).write_bytes(b"\x08\0\0\0\0\0\0\0{")
    with pytest.raises(ModelLoadError, match=ADAPTATION):
        compose(parts, tmp_path / "adaptation", tmp_path / "out")
    (parts / LANGUAGE_FOLDER / "source.sha256").unlink()
    with pytest.raises(ModelLoadError, match="chatspot pretrained"):
        compose(parts, tmp_path / "adaptation", tmp_path / "out")
    assert not (tmp_path / "out").exists()
