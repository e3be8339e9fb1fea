from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.loading.host_resources import cores
from chatspot_ros.engine.loading.memory_estimate import Plan
from chatspot_ros.engine.warm_up import warm_up
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.server.engine_factory import load_engine
from chatspot_ros.server.settings import Settings


@pytest.fixture
def folder(llava_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny LLaVA that a test may break."""
    return Path(shutil.copytree(llava_folder, tmp_path / "broken"))


def refuse(model: str | Path, match: str, **settings: object) -> ModelLoadError:
    with pytest.raises(ModelLoadError, match=match) as caught:
        Engine.load(str(model), device=settings.pop("device", "cpu"), **settings)  # type: ignore[arg-type]
    assert caught.value.remedy
    assert caught.value.status == "MODEL_ERROR"
    return caught.value


def test_a_good_one_loads(llava_folder: Path) -> None:
    engine = Engine.load(str(llava_folder), threads=1)
    assert engine.name == "tiny-llava"
    on_cuda = torch.cuda.is_available()
    assert engine.device.type == ("cuda" if on_cuda else "cpu")
    assert engine.dtype is (torch.bfloat16 if on_cuda else torch.float32)


def test_idle_threads_do_not_spin() -> None:
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_half_precision_on_disk_is_cast(folder: Path) -> None:
    path = folder / "model.safetensors"
    halves = {name: weight.half() for name, weight in load_file(path).items()}
    save_file(halves, path, metadata={"format": "pt"})
    engine = Engine.load(str(folder), device="cpu")
    assert {weight.dtype for weight in engine._runner.model.parameters()} == {torch.float32}


def test_a_dtype_can_be_chosen(llava_folder: Path) -> None:
    engine = Engine.load(str(llava_folder), device="cpu", dtype="bfloat16")
    assert engine._runner.model.dtype is torch.bfloat16


def test_a_missing_folder(tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", "no such model folder")
    refuse("nowhere", "no such model folder")


def test_a_hub_id_that_is_not_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    error = refuse("nobody/no-such-model", "not in the local cache")
    assert "hf download nobody/no-such-model" in error.remedy


def test_an_empty_folder(tmp_path: Path) -> None:
    refuse(tmp_path, r"no config\.json")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model_type": ""}', "\x00\xff"])
def test_a_broken_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    refuse(folder, r"config\.json")


def test_only_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    error = refuse(folder, "pickled")
    assert "safe" in error.remedy


def test_no_weights_at_all(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refuse(folder, r"weights are missing: model\.safetensors")


def test_a_missing_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refuse(folder, r"weights are missing: model-2\.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 2000])
def test_cut_off_weights(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refuse(folder, "cut off or damaged")


def test_a_pointer_of_git_lfs(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "git lfs pull" in refuse(folder, "cut off or damaged").remedy


def test_weights_that_are_not_all_there(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    gone = sorted(weights)[0]
    del weights[gone]
    save_file(weights, path, metadata={"format": "pt"})
    refuse(folder, "1 weights are not in the files")


def test_weights_of_another_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 64
    (folder / "config.json").write_text(json.dumps(config))
    refuse(folder, "cannot be built")


def test_a_class_that_needs_remote_code(folder: Path) -> None:
    (folder / "chat.py").write_text("raise SystemExit('remote code ran')")
    config = {"model_type": "martian", "auto_map": {"AutoConfig": "chat.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    refuse(folder, "pictures enter models of this class")


@pytest.mark.parametrize("gone", ["processor_config.json", "tokenizer.json"])
def test_no_processor(folder: Path, gone: str) -> None:
    (folder / gone).unlink()
    error = refuse(folder, "cannot be loaded")
    assert "processor" in error.remedy


def test_no_chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    refuse(folder, "no chat template")


def test_a_chat_template_kept_by_the_processor(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": path.read_text()}))
    path.unlink()
    Engine.load(str(folder), device="cpu")


def test_a_picture_size_that_the_model_cannot_see(folder: Path) -> None:
    spec = yaml.safe_load((folder / "chatspot.yaml").read_text())
    spec["geometry"]["width"] = 70
    (folder / "chatspot.yaml").write_text(yaml.safe_dump(spec))
    assert "chatspot.yaml" in refuse(folder, "does not run").remedy


def test_no_such_device(llava_folder: Path) -> None:
    refuse(llava_folder, "device", device="toaster")
    if not torch.cuda.is_available():
        refuse(llava_folder, "device", device="cuda")


def test_no_such_dtype(llava_folder: Path) -> None:
    refuse(llava_folder, "number format", dtype="float8")


def test_a_warm_engine_says_the_same(llava_folder: Path, llava: Engine) -> None:
    warm = Engine.load(str(llava_folder), device="cpu", warm_up=True, compile="on")
    assert warm.cuda_graphs is None  # they are for GPUs
    image_rgb = np.full((60, 80, 3), 90, np.uint8)
    said = [engine.answer(engine.prepare(image_rgb), Question("What is this?"))
            for engine in (warm, llava)]  # fmt: skip
    assert said[0].raw_text == said[1].raw_text


def test_a_warm_up_asks_one_and_several(llava: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = llava.answer_many

    def answer_many(scene: Any, questions: Any) -> Any:
        asked.append(len(questions))
        return real(scene, questions)

    monkeypatch.setattr(llava, "answer_many", answer_many)
    assert warm_up(llava) > 0
    assert asked == [1, 8]


def test_the_parameters_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(Engine, "load", lambda model, **settings: given.update(settings))
    load_engine(Settings(quantisation="int8", compile="on", memory_reserve_mb=7, warm_up=False))
    assert given["plan"] == Plan("int8", 4096, 7_000_000)
    assert (given["compile"], given["warm_up"], given["threads"]) == ("on", False, cores())
    load_engine(Settings(threads=3))
    assert given["threads"] == 3
