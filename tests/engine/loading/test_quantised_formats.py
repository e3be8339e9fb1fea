"""Checkpoints published in a quantised format: one line on what is missing, and their true size."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import published
import pytest
import torch
from safetensors.torch import load_file, save_file

from chatspot_ros.engine import Engine, Question
from chatspot_ros.engine.loading import generation_settings, memory_estimate, quantised_formats
from chatspot_ros.engine.loading.memory_estimate import Plan, Weight
from chatspot_ros.errors import ModelLoadError

FOUR_BITS = {"bits": 4, "group_size": 128}
CASES = [
    ({"quant_method": "awq", "version": "gemm", **FOUR_BITS}, "AWQ", "gptqmodel"),
    ({"quant_method": "gptq", "desc_act": False, **FOUR_BITS}, "GPTQ", "gptqmodel"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes", "bitsandbytes"),
    ({"load_in_8bit": True, "load_in_4bit": False}, "bitsandbytes", "bitsandbytes"),
    ({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}},
     "compressed-tensors", "compressed-tensors"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write(tmp_path_factory.mktemp("q") / "qwen2_5_vl", "qwen2_5_vl")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def refusal(model: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        Engine.load(str(model), device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("settings", "name", "package"), CASES)
def test_the_format_its_package_and_a_remedy_are_named(
    copy: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], name: str, package: str
) -> None:
    real = importlib.util.find_spec
    gone = {module for one in quantised_formats.FORMATS.values() for module, _ in one.packages}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda m, *a: None if m in gone else real(m, *a)
    )
    published.edit(copy, "config.json", quantization_config=settings)
    said = refusal(copy)
    assert f"the format {name}, which needs the package" in said
    assert f"pip install {'optimum ' if name == 'GPTQ' else ''}{package}" in said
    assert "quantisation int8 or int4" in said


def test_where_the_package_is_there_it_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: object())
    for settings, _, _ in CASES:
        quantised_formats.check(tmp_path, SimpleNamespace(quantization_config=settings))


def test_an_unknown_format_is_refused(copy: Path) -> None:
    published.edit(copy, "config.json", quantization_config={"quant_method": "runes"})
    said = refusal(copy)
    assert "runes" in said


def test_gguf_is_refused_by_name(tmp_path: Path, copy: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "model-q4.gguf").write_bytes(b"GGUF")
    (copy / "model.safetensors").unlink()
    shutil.copy(alone / "model-q4.gguf", copy)
    for model in (alone, copy, alone / "model-q4.gguf"):
        said = refusal(model)
        assert "GGUF" in said
        assert "llama.cpp" in said
        assert "safetensors" in said


def fp8_need(config: Any, device: torch.device, dtype: torch.dtype) -> int:
    weights = [Weight("model.layers.0.mlp.up_proj.weight", (1000, 1000), "F8_E4M3"),
               Weight("model.layers.0.mlp.up_proj.weight_scale_inv", (8, 8), "F32")]  # fmt: skip
    return memory_estimate.need(weights, config, Plan(dtype=dtype), device).weights


@pytest.mark.parametrize(
    ("device", "capability", "each"),
    [("cpu", None, 4), ("cuda:1", (8, 6), 2), ("cuda:1", (8, 9), 1), ("cuda:0", (9, 0), 1)],
)
def test_fp8_counts_at_the_size_that_it_will_have(
    monkeypatch: pytest.MonkeyPatch, device: str, capability: tuple[int, int] | None, each: int
) -> None:
    asked = []

    def capability_of(one: torch.device) -> tuple[int, int]:
        asked.append(str(one))
        assert capability is not None
        return capability

    monkeypatch.setattr(torch.cuda, "get_device_capability", capability_of)
    config = SimpleNamespace(
        quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]},
        get_text_config=lambda: SimpleNamespace(per_layer_config=[]),
    )
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    # The scales are stored as they are.
    assert fp8_need(config, torch.device(device), dtype) == 1_000_000 * each + 64 * 4
    assert set(asked) <= {device}


@pytest.fixture(scope="module")
def fp8_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2.5-VL with the language model's blocks in FP8 and the rest in bfloat16, as published."""
    copied = Path(shutil.copytree(folder, tmp_path_factory.mktemp("fp8") / "fp8"))
    packed = {}
    for name, weight in load_file(copied / "model.safetensors").items():
        if name.startswith("model.layers") and name.endswith("proj.weight"):
            scale = weight.abs().max() / 448
            packed[name] = (weight / scale).to(torch.float8_e4m3fn)
            packed[f"{name}_scale_inv"] = scale.reshape(1, 1).float()
        else:
            packed[name] = weight.bfloat16()
    assert any(weight.dtype is torch.float8_e4m3fn for weight in packed.values())
    save_file(packed, copied / "model.safetensors", metadata={"format": "pt"})
    published.edit(copied, "config.json", quantization_config={
        "quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
        "weight_block_size": [128, 128], "modules_to_not_convert": ["visual", "lm_head"],
    })  # fmt: skip
    return copied


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fp8_runs_without_a_gpu_that_knows_it(fp8_folder: Path, dtype: str) -> None:
    engine = Engine.load(str(fp8_folder), device="cpu", dtype=dtype)
    types = {weight.dtype for weight in engine._runner._family.whole.parameters()}
    assert types == {engine.dtype} == {getattr(torch, dtype)}
    scene = engine.prepare(np.full((60, 90, 3), 90, np.uint8))
    assert engine.answer(scene, Question("What is this?", max_new_tokens=3)).tokens > 0


def test_pictures_have_the_type_that_a_formats_kernels_want() -> None:
    def loaded(dtype: torch.dtype) -> Any:
        weight = torch.zeros(1, dtype=dtype)
        return SimpleNamespace(get_input_embeddings=lambda: SimpleNamespace(weight=weight))

    def compute(dtype: torch.dtype, method: str | None) -> torch.dtype:
        config = SimpleNamespace(quantization_config=method and {"quant_method": method})
        return quantised_formats.compute_dtype(loaded(dtype), config, torch.bfloat16)

    assert compute(torch.float16, "awq") is torch.float16
    assert compute(torch.float16, None) is torch.bfloat16
    assert compute(torch.float8_e4m3fn, "fp8") is torch.bfloat16


def test_fp8_weights_without_a_format_become_the_models_type() -> None:
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(per_layer_config=[]))
    assert fp8_need(config, torch.device("cpu"), torch.float32) == 4 * (1_000_000 + 64)


def test_what_is_not_used_of_the_generation_settings_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Engine.load(str(folder), device="cpu")
    (said,) = [one.getMessage() for one in caplog.records if "greedily" in one.getMessage()]
    assert said.endswith("generation_config.json: repetition_penalty 1.05")


def test_settings_that_change_nothing_are_not_named() -> None:
    from transformers import GenerationConfig

    assert generation_settings.unused(GenerationConfig(do_sample=True, temperature=0.7)) == {}
    beams = GenerationConfig(num_beams=3, no_repeat_ngram_size=3, repetition_penalty=1.0)
    assert generation_settings.unused(beams) == {"num_beams": 3, "no_repeat_ngram_size": 3}
