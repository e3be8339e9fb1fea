"""The detector on the detail path: what it shall say, that it learns it, how it is measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.detector.object_detector import Detected
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Thing, Truth
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.detail_dataset import DetailDataset
from chatspot_train.tiny.detail_stage import DetailPretraining
from chatspot_train.tiny.detector_training import detector_loss, detector_targets
from chatspot_train.tiny.evaluate_detector import measure, write_card
from chatspot_train.tiny.images import normalise
from chatspot_train.tiny.vision_stage import vision_config
from tests.train.tiny.test_detail_stage import SHAPE


def thing(name: str, *box: float) -> Thing:
    """A thing with this box and nothing else known of it."""
    return Thing(f"{name}_1", name, "", box, (), 100)  # type: ignore[arg-type]


def test_the_bell_is_one_at_a_things_middle_and_the_edges_lead_to_its_box() -> None:
    truth = Truth(100, 50, (thing("mug", 20, 10, 40, 30), thing("plate", 70, 20, 71, 21)))
    heatmaps, edges, weight = detector_targets(truth, 10)
    mug = THING_KINDS.index("mug")
    assert heatmaps[mug].max() == 1
    row, column = divmod(int(heatmaps[mug].argmax()), 10)
    assert (row, column) == (4, 3)
    x, y = (column + 0.5) / 10, (row + 0.5) / 10
    left, top, right, bottom = edges[:, row, column].tolist()
    assert (x + left, y + top, x + right, y + bottom) == pytest.approx((0.2, 0.2, 0.4, 0.6))
    assert float(weight.sum()) == pytest.approx(1.0)
    # The plate is smaller than anything that is to be found.
    assert not heatmaps[THING_KINDS.index("plate")].any()


def test_what_is_hidden_or_cut_away_may_be_found_or_not() -> None:
    hidden = replace(thing("mug", 20, 10, 60, 30), visible_fraction=0.1)
    heatmaps, edges, weight = detector_targets(Truth(100, 100, (hidden,)), 10)
    assert 0.5 < float(heatmaps.max()) < 1
    assert not edges.any()
    assert not weight.any()
    scores = torch.full_like(heatmaps, -6.0)
    told = scores.clone()
    told[THING_KINDS.index("mug"), 2, 4] = 6.0
    nothing, none, no_weight = (part[None] for part in detector_targets(Truth(100, 100, ()), 10))
    wanted = heatmaps[None], edges[None], weight[None]
    silent = float(detector_loss(scores[None], edges[None], *wanted))
    assert float(detector_loss(told[None], edges[None], *wanted)) == pytest.approx(silent, abs=0.01)
    assert float(detector_loss(told[None], none, nothing, none, no_weight)) > 1


def test_in_a_window_boxes_are_those_of_what_is_left_in_it() -> None:
    truth = Truth(100, 100, (thing("mug", 20, 10, 60, 30), thing("plate", 70, 20, 99, 30)))
    heatmaps, edges, weight = detector_targets(truth, 10, (0.0, 0.0, 0.8, 0.4))
    row, column = divmod(int(heatmaps[THING_KINDS.index("mug")].argmax()), 10)
    here = torch.tensor([(column + 0.5) / 10, (row + 0.5) / 10] * 2)
    assert (edges[:, row, column] + here).tolist() == pytest.approx([0.25, 0.25, 0.75, 0.75])
    # Ten of the plate's 29 pixels are left of the window's edge.
    assert 0.5 < float(heatmaps[THING_KINDS.index("plate")].max()) < 1
    assert float(weight.sum()) == pytest.approx(1.0)


def test_the_right_answer_costs_less_than_any_other() -> None:
    truth = Truth(100, 100, (thing("mug", 20, 10, 60, 30),))
    heatmaps, edges, weight = (part[None] for part in detector_targets(truth, 10))
    right = torch.where(heatmaps == 1, 6.0, -6.0)
    cost = float(detector_loss(right, edges, heatmaps, edges, weight))
    assert cost < 0.1
    assert float(detector_loss(right, edges + 0.1, heatmaps, edges, weight)) > cost + 0.3
    assert float(detector_loss(-right, edges, heatmaps, edges, weight)) > cost + 1
    empty = (part[None] for part in detector_targets(Truth(100, 100, ()), 10))
    nothing, none, no_weight = empty
    assert float(detector_loss(nothing - 6, none, nothing, none, no_weight)) < 0.01


@pytest.mark.timeout(240)
def test_its_heads_learn_with_the_path(settings: TinySettings) -> None:
    torch.manual_seed(0)
    pictures = DetailDataset(settings.data.folder / "train", SHAPE, 4, 1, augment=False)
    batch = {
        key: torch.stack([pictures[k][key] for k in range(4)])
        for key in ("pixel_values", "heatmaps", "edges", "edge_weight")
    }
    model = DetailPretraining(vision_config(SHAPE))  # type: ignore[arg-type]
    parts = [*model.net.parameters(), *model.detector.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=3e-3)
    wanted = batch["heatmaps"], batch["edges"], batch["edge_weight"]

    def loss() -> torch.Tensor:
        _, _, fine, coarse = model.net.maps(normalise(batch["pixel_values"]))
        return detector_loss(*model.detector(fine, coarse), *wanted)  # type: ignore[call-arg]

    before = float(loss().detach())
    assert before < 20, "at first nothing is anywhere"
    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert float(loss().detach()) < 0.7 * before


class Knowing:
    """DetectorLike by the truth, its boxes moved by `off` pixels of the rendered picture."""

    def __init__(self, kitchens: RenderedKitchens, off: float) -> None:
        self.truths = iter([kitchens.truth(k) for k in range(len(kitchens))])
        self.off = off

    def detect(
        self, image_rgb: RgbImage, labels: object = (), threshold: float = 0.3
    ) -> list[Detected]:
        truth = next(self.truths)
        scale = [image_rgb.shape[1] / truth.width, image_rgb.shape[0] / truth.height] * 2
        return [
            Detected(one.name, 0.9, tuple(v * s + self.off for v, s in zip(one.box_xyxy_px, scale)))  # type: ignore[arg-type]  # noqa: B905
            for one in truth.things
        ]


def test_its_card_says_what_was_measured(settings: TinySettings, tmp_path: Path) -> None:
    kitchens = RenderedKitchens(settings.data.folder / "train")
    config = {"detail_of": "../eyes", "id2label": {"0": "mug", "1": "plate"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_card(tmp_path, measure(Knowing(kitchens, 0.0), kitchens), kitchens)
    card = (tmp_path / "README.md").read_text()
    assert "| AP50 | 1.000 | 1.000 to 1.000 |" in card
    assert "`../eyes`" in card
    assert f"{len(kitchens)} pictures of train kitchens" in card
    assert "2 kinds" in card
    assert "The path's weights are that model's" in card
    (tmp_path / "config.json").write_text(json.dumps({**config, "thing_kinds": 2}))
    write_card(tmp_path, measure(Knowing(kitchens, 0.0), kitchens), kitchens)
    assert "The heads' weights and the path's are" in (tmp_path / "README.md").read_text()


def test_who_knows_all_has_full_precision_and_who_is_far_off_none(settings: TinySettings) -> None:
    kitchens = RenderedKitchens(settings.data.folder / "train")
    assert measure(Knowing(kitchens, 0.0), kitchens)["AP"]["value"] == pytest.approx(1.0)
    assert measure(Knowing(kitchens, 1000.0), kitchens)["AP50"]["value"] == 0.0
