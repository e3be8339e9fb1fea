"""A few small kitchens rendered once for all training tests, and a run's settings for them."""

from pathlib import Path

import pytest

from chatspot_sim.dataset import Job, render_shard
from chatspot_train.settings import TinySettings


@pytest.fixture(scope="session")
def kitchens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kitchens")
    for split, first in (("train", 0), ("val", 0)):
        render_shard(Job(str(folder / split), split, first, 3, 2, 64))
    return folder


@pytest.fixture
def settings(kitchens: Path, tmp_path: Path) -> TinySettings:
    stage = {"steps": 4, "batch": 2, "learning_rate": 1e-3, "warmup": 1, "save_every": 2,
             "bf16": False, "progress": False}  # fmt: skip
    return TinySettings.model_validate({
        "out": tmp_path / "run",
        "data": {"folder": kitchens, "train_kitchens": 3, "val_kitchens": 3, "moments": 2},
        "vision": {"image_size": 64, "hidden_size": 32, "layers": 2, "heads": 2, "mlp_size": 64},
        "language": {"hidden_size": 32, "layers": 3, "heads": 2, "mlp_size": 64,
                     "vocabulary": 400},
        "vision_stage": stage, "text_stage": stage, "dialogue_stage": stage, "turns": 3,
    })  # fmt: skip
