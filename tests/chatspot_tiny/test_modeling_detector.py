"""The detector on chatspot-tiny's detail path: what it reads off its maps, saved and loaded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, RTDetrImageProcessor

from chatspot_ros.chatspot_tiny.modeling_detector import (
    DetailDetector,
    DetailDetectorConfig,
    alone,
)
from chatspot_ros.detector.object_detector import Detector
from chatspot_ros.errors import ModelLoadError
from tests.chatspot_tiny.test_modeling_vision import SMALL, make_detailed

KINDS = {0: "mug", 1: "plate"}


@pytest.fixture
def detector() -> DetailDetector:
    torch.manual_seed(0)
    config = DetailDetectorConfig(
        **SMALL, id2label=KINDS, label2id={"mug": 0, "plate": 1}, head_width=8, most=5,
        detail_of="../model",
    )  # fmt: skip
    return DetailDetector(config).eval()


def write_processor(folder: Path) -> None:
    """How a picture becomes what the detector reads."""
    processor = RTDetrImageProcessor(size={"height": 56, "width": 56}, do_normalize=True)
    processor.save_pretrained(folder)


def test_a_second_box_of_one_thing_goes_and_others_stay() -> None:
    boxes = torch.tensor([
        [0.0, 0.0, 0.4, 0.4],  # the surest
        [0.0, 0.0, 0.4, 0.3],  # the same thing again
        [0.0, 0.0, 0.4, 0.3],  # nearly there, of another kind
        [0.5, 0.5, 0.9, 0.9],
    ])  # fmt: skip
    kinds = torch.tensor([0, 0, 1, 0])
    assert alone(boxes, kinds, 0.5, 0.8).tolist() == [True, False, True, True]
    assert alone(boxes, kinds, 0.8, 1.0).tolist() == [True, True, True, True]
    # Of two kinds in one place the surer stays.
    assert alone(boxes, kinds, 0.5, 0.7).tolist() == [True, False, False, True]


def test_a_peak_becomes_a_box_around_its_place(detector: DetailDetector) -> None:
    logits, edges = torch.full((2, 4, 8), -6.0), torch.zeros(4, 4, 8)
    logits[1, 2, 5], logits[1, 2, 6] = 3.0, 2.0  # beside a peak is no peak
    edges[:, 2, 5] = torch.tensor([-0.1, -0.2, 0.1, 0.3])
    scores, boxes = detector.things(logits, edges)
    assert scores.shape == (5, 2)
    assert boxes.shape == (5, 4)
    assert scores[0].tolist() == [pytest.approx(-1e4), 3.0]
    middle_x, middle_y = 5.5 / 8, 2.5 / 4
    assert boxes[0].tolist() == pytest.approx([middle_x, middle_y + 0.05, 0.2, 0.5])
    assert float(scores[1:].max()) < -5


def test_it_is_loaded_with_the_path_of_the_model_it_belongs_to(
    detector: DetailDetector, tmp_path: Path
) -> None:
    make_detailed(tmp_path / "model")
    detector.save_pretrained(tmp_path / "detector")
    write_processor(tmp_path / "detector")
    loaded = Detector.load(str(tmp_path / "detector"), device="cpu")
    found = loaded._model.state_dict()
    for name, value in detector.state_dict().items():
        ours = name.startswith("heads.")
        assert ours == torch.equal(found[name], value) or not value.any(), name
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    things = loaded.detect(rgb, threshold=0.0)
    assert {thing.label for thing in things} <= set(KINDS.values())
    assert all(0 <= x <= 64 for thing in things for x in thing.box_xyxy_px[::2])


def test_heads_that_the_model_has_are_its_own_and_not_written_twice(tmp_path: Path) -> None:
    make_detailed(tmp_path / "model", thing_kinds=2)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "model")
    config = DetailDetectorConfig(
        **SMALL, id2label=KINDS, label2id={"mug": 0, "plate": 1}, detail_of="../model",
        thing_kinds=2,
    )  # fmt: skip
    DetailDetector(config).save_pretrained(tmp_path / "detector")
    assert not (tmp_path / "detector" / "model.safetensors").exists()
    loaded = DetailDetector.from_pretrained(tmp_path / "detector")
    write_processor(tmp_path / "detector")
    Detector.load(str(tmp_path / "detector"), device="cpu")
    theirs = model.model.vision_tower.things.heads.state_dict()
    assert theirs.keys() == loaded.heads.state_dict().keys()
    for name, value in loaded.heads.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    # A model that lacks them is no such model.
    make_detailed(tmp_path / "other")
    config.detail_of = "../other"
    config.save_pretrained(tmp_path / "detector")
    with pytest.raises(OSError, match=r"the model in \.\./other, .* has no detector heads"):
        DetailDetector.from_pretrained(tmp_path / "detector")


def test_without_that_model_it_says_where_it_looked(
    detector: DetailDetector, tmp_path: Path
) -> None:
    detector.save_pretrained(tmp_path / "detector")
    with pytest.raises(ModelLoadError, match="looks through the model in"):
        Detector.load(str(tmp_path / "detector"), device="cpu")
