"""Weights in 8 and 4 bits; where torchao is not installed, all but what needs it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.loading import checkpoint, memory_estimate, quantization
from chatspot_ros.engine.loading.memory_estimate import Plan
from chatspot_ros.errors import ModelLoadError

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(5).integers(0, 256, (97, 211, 3), dtype=np.uint8)

needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None,
    reason="torchao is not installed: pip install -c constraints.txt torchao",
)


@pytest.mark.parametrize(
    "name",
    [
        "language_model.model.layers.0.self_attn.q_proj.weight",
        "model.language_model.layers.31.mlp.down_proj.weight",
        "model.layers.3.mlp.up_proj.weight",
        "model.transformer.blocks.0.attn_proj.weight",
        "text_model.model.layers.0.ffn.fc1.weight",
    ],
)
def test_the_language_models_layers_are_taken(name: str) -> None:
    assert quantization.takes(name, (64, 32))
    assert not quantization.takes(name, (64,))
    assert not quantization.takes(name.replace(".weight", ".bias"), (64, 32))


@pytest.mark.parametrize(
    "name",
    [
        "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight",
        "visual.blocks.0.mlp.fc1.weight",
        "multi_modal_projector.linear_1.weight",
        "language_model.model.embed_tokens.weight",
        "language_model.lm_head.weight",
        "model.image_newline.weight",
    ],
)
def test_what_sees_and_the_vocabulary_are_left(name: str) -> None:
    assert not quantization.takes(name, (64, 32))


def test_the_group_that_divides_most_rows() -> None:
    assert quantization.group_size([(8, 4096), (8, 11008)]) == 128
    assert quantization.group_size([(8, 256), (8, 704)]) == 64
    assert quantization.group_size([(8, 32), (8, 48)]) == 32
    assert quantization.group_size([]) == 32


def test_no_such_quantisation(llava_folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such quantisation") as caught:
        checkpoint.load(llava_folder, "cpu", "auto", Plan("int3"))
    assert "int8" in caught.value.remedy


def test_what_is_quantised_is_not_quantised_again(llava_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llava_folder, tmp_path / "packed"))
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "torchao"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="quantised already"):
        checkpoint.load(folder, "cpu", "auto", Plan("int8"))


@pytest.mark.parametrize(
    ("dtype", "capability", "match"),
    [(torch.float16, (8, 7), "bfloat16 on CUDA"), (torch.bfloat16, (7, 2), r"capability 8\.0")],
)
def test_what_four_bits_need_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, capability: tuple[int, int], match: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    with pytest.raises(ModelLoadError, match=match):
        quantization.check("int4", object(), dtype, torch.device("cuda"))
    quantization.check("int8", object(), dtype, torch.device("cuda"))


@pytest.mark.parametrize("quantisation", ["int8", "int4"])
def test_without_torchao(
    quantisation: str, llava_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in sys.modules if one.split(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ModelLoadError, match="need the package torchao") as caught:
        checkpoint.load(llava_folder, "cpu", "auto", Plan(quantisation))
    assert "pip install" in caught.value.remedy


@needs_torchao
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("quantisation", "least"), [("int8", 0.995), ("int4", 0.9)])
def test_the_logits_are_near_the_full_ones(
    quantisation: str, least: float, dtype: str, llava_folder: Path
) -> None:
    full = checkpoint.load(llava_folder, "cpu", "float32").model
    small = checkpoint.load(llava_folder, "cpu", dtype, Plan(quantisation)).model
    ids = torch.tensor([[1, 40, 50, 60, 70]])
    with torch.inference_mode():
        expected, found = (one(input_ids=ids).logits[0].float() for one in (full, small))
    near = torch.cosine_similarity(expected, found, dim=-1)
    assert float(near.min()) > least
    assert not torch.equal(expected, found)


@needs_torchao
@pytest.mark.parametrize("quantisation", ["int8", "int4"])
@pytest.mark.parametrize("kind", ["llava", "qwen"])
def test_the_names_of_file_and_model_mean_the_same(
    kind: str, quantisation: str, request: pytest.FixtureRequest
) -> None:
    """Exactly the layers that the memory is counted for are quantised, and take what was told."""
    folder: Path = request.getfixturevalue(f"{kind}_folder")
    model = checkpoint.load(folder, "cpu", "float32", Plan(quantisation)).model
    plain = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    shapes = {name: weight.shape for name, weight in plain.named_parameters()}
    packed = {name for name, weight in model.named_parameters() if hasattr(weight, "qdata")}
    group = quantization.group_size(s for name, s in shapes.items() if quantization.takes(name, s))
    assert packed == {
        name
        for name, shape in shapes.items()
        if quantization.takes(name, shape) and (quantisation == "int8" or shape[1] % group == 0)
    }
    assert len(packed) >= 12
    weights = memory_estimate.read_shapes(checkpoint.check_weights(folder))
    config = AutoConfig.from_pretrained(folder)
    told = memory_estimate.need(
        weights, config, Plan(quantisation, 0, 0, torch.float32), CPU
    ).weights
    assert told == sum(held_bytes(weight) for weight in model.parameters())
    assert (
        told < memory_estimate.need(weights, config, Plan("none", 0, 0, torch.float32), CPU).weights
    )


def held_bytes(weight: torch.Tensor) -> int:
    """What a weight really holds, the parts of a quantised one added."""
    if not hasattr(weight, "qdata"):
        return weight.nbytes
    parts = [getattr(weight, name, None) for name in ("qdata", "scale", "scale_and_zero")]
    return sum(one.nbytes for one in parts if one is not None)


@needs_torchao
@pytest.mark.parametrize("quantisation", ["int8", "int4"])
def test_a_quantised_engine_answers(quantisation: str, llava_folder: Path) -> None:
    engine = Engine.load(str(llava_folder), device="cpu", plan=Plan(quantisation))
    scene = engine.prepare(IMAGE)
    asked = [Question("What is this?", (Region.box(5 * k, 5, 90, 60),)) for k in range(3)]
    one_by_one = [engine.answer(scene, question).raw_text for question in asked]
    assert [reply.raw_text for reply in engine.answer_many(scene, asked)] == one_by_one
    assert all(re.search(r"\S", text) for text in one_by_one)
