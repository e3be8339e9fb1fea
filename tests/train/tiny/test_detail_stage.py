"""The detail stage: its kernels and losses, and starts from a model without the path."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn.utils import parametrize

from chatspot_ros.chatspot_tiny.modeling_detector import DetailDetector
from chatspot_ros.chatspot_tiny.modeling_vision import DetailVisionModel
from chatspot_ros.detector.object_detector import Detector
from chatspot_ros.engine.engine import Engine
from chatspot_train.tiny.config import TinySettings, VisionShape
from chatspot_train.tiny.detail_dataset import DetailDataset
from chatspot_train.tiny.detail_stage import (
    DetailPretraining,
    StandardisedKernels,
    convolutions,
    train_detail,
)
from chatspot_train.tiny.features import compute_features, join_detail, scale_to_unit
from chatspot_train.tiny.images import normalise, to_pixels
from chatspot_train.tiny.model import build_model
from chatspot_train.tiny.train import make_tokenizer, train
from chatspot_train.tiny.vision_stage import train_vision, vision_config
from chatspot_train.tiny.warm_start import (
    WarmStartError,
    load_detail,
    load_language,
    load_start,
)

WIDTHS = (4, 6, 8, 12)
SHAPE = VisionShape(
    image_size=64, patch_size=16, hidden_size=32, layers=2, heads=2, mlp_size=64,
    detail_widths=WIDTHS,
)  # fmt: skip


@pytest.fixture
def model() -> DetailPretraining:
    torch.manual_seed(0)
    return DetailPretraining(vision_config(SHAPE))  # type: ignore[arg-type]


@torch.no_grad()
def test_standardised_kernels_have_no_mean_and_the_norm_that_is_learned() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 3, 3, 3) + 0.4
    standardise = StandardisedKernels(weight)
    found = standardise(10 * weight + 2)
    assert torch.allclose(found.mean((1, 2, 3)), torch.zeros(5), atol=1e-6)
    assert torch.allclose(found.flatten(1).norm(dim=1), standardise.gain, rtol=1e-5)


@torch.no_grad()
def test_fused_kernels_are_plain_and_resuming_from_them_changes_nothing(
    model: DetailPretraining,
) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    model.standardise()
    learned = model.net(pixels)
    model.fuse_kernels()
    assert not any(parametrize.is_parametrized(part) for _, part in convolutions(model.net))
    assert torch.allclose(model.net(pixels), learned, atol=1e-6)
    model.standardise()
    assert torch.allclose(model.net(pixels), learned, atol=1e-5)


def test_pixels_of_a_batch_are_those_of_each_picture() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    expected = torch.stack([to_pixels(one) for one in rgb])
    assert torch.allclose(normalise(torch.from_numpy(rgb)), expected)


def batch_of(pictures: DetailDataset) -> dict[str, torch.Tensor]:
    """Its first two items as a batch."""
    items = [pictures[k] for k in range(2)]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


@torch.no_grad()
def test_a_resumed_path_keeps_its_outputs(settings: TinySettings, model: DetailPretraining) -> None:
    folder = settings.data.folder / "train"
    given = batch_of(DetailDataset(folder, SHAPE, 8, 1, augment=True, unaugmented=True))
    own = given["unaugmented"]
    model.standardise()
    model.fuse_kernels()  # now its kernels have no mean, and are what they will be
    plain = float(model(**given)["loss"])
    model.keep_outputs(0.5)
    model.standardise()
    kept = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert kept
    assert all(name.startswith("initial_net.") for name in kept)
    # In its own light it says what it said: nothing is to pay.
    in_own = model(**{**given, "pixel_values": own})["loss"]
    model.keep = 0.0
    assert float(in_own) == pytest.approx(float(model(**{**given, "pixel_values": own})["loss"]))
    said, shown = (model.net(normalise(given[k])) for k in ("unaugmented", "pixel_values"))
    off = float((shown[:1] - said[:1]).square().mean() / said[:1].var())
    assert off > 0
    model.keep = 0.5
    assert float(model(**given)["loss"]) == pytest.approx(plain + 0.5 * off, rel=1e-4)


def with_a_path(settings: TinySettings, out: Path, **changes: object) -> TinySettings:
    """The toy run with a detail path and its stage."""
    shape = settings.vision.model_copy(update={"detail_widths": WIDTHS})
    return settings.model_copy(update={
        "vision": shape, "detail_stage": settings.vision_stage, "cards": 0.5, "out": out, **changes
    })  # fmt: skip


def test_its_output_and_the_towers_are_scaled_to_one_each(
    settings: TinySettings, tmp_path: Path
) -> None:
    settings = with_a_path(settings, tmp_path)
    tower = join_detail(settings.vision, train_vision(settings), *train_detail(settings)).eval()
    folder, size = settings.data.folder / "train", settings.vision.image_size
    before = compute_features(tower, folder, size, tmp_path / "one").float()
    factors = scale_to_unit(tower, before)
    after = compute_features(tower, folder, size, tmp_path / "two").float()
    assert torch.allclose(after, factors * before, atol=0.1)
    for part in after.split(settings.vision.hidden_size, dim=-1):
        assert float(part.std()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.timeout(240)
def test_a_model_that_lacked_the_path_gets_one_and_goes_on(
    settings: TinySettings, tmp_path: Path
) -> None:
    first = train(settings.model_copy(update={"out": tmp_path / "first"}))
    # No vision stage: the tower stays as it is; the path is taught, then the language model.
    second = train(with_a_path(settings, tmp_path / "second", start=first, vision_stage=None))
    one, two = load_start(first).model, load_start(second).model
    tower = two.vision_tower
    assert isinstance(tower, DetailVisionModel)
    assert two.config.vision_feature_layer == [-2, -1]
    before = one.vision_tower.encoder.layers[0].mlp.fc1.weight
    assert torch.allclose(tower.encoder.layers[0].mlp.fc1.weight, before, atol=1e-3)
    # The detector that learned beside the path looks through the exported model's.
    detector = Detector.load(str(tmp_path / "second" / "detector"), device="cpu")
    assert isinstance(detector.detect(np.zeros((48, 64, 3), np.uint8), threshold=0.5), list)
    engine = Engine.load(str(second), threads=1)
    engine.prepare(np.zeros((48, 64, 3), np.uint8))
    # And it goes on from a model that has one.
    model = DetailPretraining(vision_config(two_shape(settings)))  # type: ignore[arg-type]
    assert load_detail(model.net, second)
    assert not load_detail(model.net, first)
    # Neither a path out of nowhere, nor one that is dropped without a word.
    lacking = with_a_path(settings, tmp_path / "third", start=first, detail_stage=None)
    with pytest.raises(WarmStartError, match="give a detail_stage"):
        train_detail(lacking)
    dropping = {"out": tmp_path / "fourth", "start": second, "vision_stage": None}
    with pytest.raises(WarmStartError, match="detail_widths"):
        train(settings.model_copy(update=dropping))
    out = tower.detail.out.weight
    assert torch.allclose(model.net.out.weight, out, atol=1e-3)


def two_shape(settings: TinySettings) -> VisionShape:
    """The toy shape with its detail path."""
    return settings.vision.model_copy(update={"detail_widths": WIDTHS})


@pytest.mark.timeout(240)
def test_a_model_with_the_path_gets_its_detectors_output(
    settings: TinySettings, tmp_path: Path
) -> None:
    wide = settings.vision.model_copy(update={"hidden_size": 160})
    settings = settings.model_copy(update={"vision": wide})
    first = train(with_a_path(settings, tmp_path / "first"))
    seeing = wide.model_copy(update={"detail_widths": WIDTHS, "things": True})
    going_on = {"vision": seeing, "vision_stage": None, "detail_stage": None, "start": first}
    lacking = with_a_path(settings, tmp_path / "lacking", **going_on)
    with pytest.raises(WarmStartError, match="has no detector on its detail path"):
        train_detail(lacking)
    found = {"detector": tmp_path / "first" / "detector"}
    second = train(with_a_path(settings, tmp_path / "second", **going_on, **found))
    model = load_start(second).model
    assert json.loads((second / "training.json").read_text())["detector"] == "detector"
    tower = model.vision_tower
    assert model.config.vision_feature_layer == [-3, -2, -1]
    # The detector's heads are the model's, as they were; the projection has begun to listen.
    before = DetailDetector.from_pretrained(tmp_path / "first" / "detector")
    assert tower.things is not None
    for name, value in tower.things.heads.state_dict().items():
        assert torch.equal(value, before.heads.state_dict()[name].float()), name
    told = model.multi_modal_projector.linear_1.weight[:, 2 * 160 :]
    assert bool(told.detach().any())
    # The detector beside it holds no weights, and sees the same.
    assert not (tmp_path / "second" / "detector" / "model.safetensors").exists()
    after = DetailDetector.from_pretrained(tmp_path / "second" / "detector")
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        seen, was = (one.float()(pixels).pred_boxes for one in (after, before))
    assert torch.allclose(seen, was, atol=1e-3)
    engine = Engine.load(str(second), threads=1)
    engine.prepare(np.zeros((48, 64, 3), np.uint8))
    # It goes on from there without that folder, and is not dropped without a word.
    third = with_a_path(settings, tmp_path / "third", **{**going_on, "start": second})
    _, heads = train_detail(third)
    assert heads is not None
    assert torch.equal(heads.kinds.weight, tower.things.heads.kinds.weight)
    # A run that goes on listens as before, and to what was always 0 as a fresh model does.
    begun = build_model(third, make_tokenizer(third), None)
    fresh = begun.model.multi_modal_projector.linear_1.weight.detach().clone()
    load_language(begun, second)
    heard = begun.model.multi_modal_projector.linear_1.weight
    before_it = model.multi_modal_projector.linear_1.weight
    always_0 = (before_it == 0).all(0)
    assert bool(always_0[2 * 160 + 156 :].all())
    assert not always_0[: 2 * 160].any()
    assert torch.equal(heard, torch.where(always_0, fresh, before_it))
    dropping = {**going_on, "start": second, "vision": seeing.model_copy(update={"things": False})}
    with pytest.raises(WarmStartError, match=r"vision\.things"):
        train(with_a_path(settings, tmp_path / "fourth", **dropping))
    with pytest.raises(ValidationError, match="keep is for a detail_stage"):
        TinySettings.model_validate({**third.model_dump(), "keep": 1.0})
    with pytest.raises(ValidationError, match="give its detail_widths too"):
        VisionShape(things=True)
