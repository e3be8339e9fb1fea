"""The whole recipe at toy size: it runs, resumes, and what it exports is served by the engine."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import CLIPVisionModel

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.features import compute_features
from chatspot_train.tiny.train import make_tokenizer, train
from chatspot_train.tiny.vision_stage import train_vision, vision_config


@pytest.mark.timeout(240)
def test_all_stages_and_the_export_is_served(settings: TinySettings) -> None:
    folder = train(settings)
    assert (settings.out / "dialogue" / "loss.png").stat().st_size > 1000
    assert json.loads((folder / "training.json").read_text())["turns"] == 3
    engine = Engine.load(str(folder), threads=1)
    scene = engine.prepare(np.zeros((48, 64, 3), np.uint8))
    reply = engine.answer(scene, Question("What is this?", (Region.box(1, 2, 30, 40),)))
    assert reply.prompt == "[short] What is this? <box> 0.02 0.04 0.47 0.83</box>"
    saved = {p.name for p in folder.iterdir()}
    assert "model.safetensors" in saved
    assert not any(name.endswith((".bin", ".pt")) for name in saved)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_stopped_stage_goes_on_to_the_same_weights(
    settings: TinySettings, tmp_path: Path, optimizer: str
) -> None:
    stage = settings.vision_stage.model_copy(update={"optimizer": optimizer})
    settings = settings.model_copy(update={"vision_stage": stage})
    whole = train_vision(settings.model_copy(update={"out": tmp_path / "whole"}))
    import shutil

    shutil.copytree(tmp_path / "whole" / "vision" / "checkpoint-2",
                    tmp_path / "stopped" / "vision" / "checkpoint-2")  # fmt: skip
    resumed = train_vision(settings.model_copy(update={"out": tmp_path / "stopped"}))
    for (name, one), other in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-6), name


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValidationError, match="stepz"):
        TinySettings.model_validate({"out": "x", "vision_stage": {"stepz": 3}})


def test_the_tokenizer_keeps_coordinates_whole(settings: TinySettings) -> None:
    tokenizer = make_tokenizer(settings)
    text = "USER: [short] What is this? <box> 0.12 0.30 0.99 1.00</box> ASSISTANT: Zoë's 47 °C</s>"
    ids = tokenizer.encode(text, add_special_tokens=False)
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert [t for t in tokens if t.startswith(" ")] == [" 0.12", " 0.30", " 0.99", " 1.00"]
    decoded = tokenizer.decode(ids)
    assert "<box> 0.12 0.30 0.99 1.00</box>" in decoded
    assert "Zoë's 47 °C" in decoded
    assert tokens.count("USER:") == 1


def test_a_tokenizer_of_other_settings_is_made_again(settings: TinySettings) -> None:
    first = len(make_tokenizer(settings))
    larger = settings.language.model_copy(update={"vocabulary": 420})
    assert len(make_tokenizer(settings.model_copy(update={"language": larger}))) > first


def test_features_of_another_tower_are_computed_again(
    settings: TinySettings, tmp_path: Path
) -> None:
    folder, size = settings.data.folder / "val", settings.vision.image_size
    tower = CLIPVisionModel(vision_config(settings.vision))
    first = compute_features(tower, folder, size, tmp_path / "val.features")
    assert torch.equal(compute_features(tower, folder, size, tmp_path / "val.features"), first)
    with torch.no_grad():
        tower.embeddings.class_embedding.add_(1.0)
        tower.embeddings.patch_embedding.weight.mul_(2.0)
    assert not torch.equal(compute_features(tower, folder, size, tmp_path / "val.features"), first)
