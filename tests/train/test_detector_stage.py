"""Teaching a detector on the detail path: what its heads shall say, and that they learn it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatspot_ros.detecting import Detector
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Thing, Truth
from chatspot_train.detector import detector_loss, targets, write_detector
from chatspot_train.detector_stage import compute_maps, make_detector, measure, train_heads
from chatspot_train.settings import TinySettings
from chatspot_train.train import train
from tests.train.test_detail_stage import with_a_path


def thing(name: str, *box: float) -> Thing:
    """A thing with this box and nothing else known of it."""
    return Thing(f"{name}_1", name, "", box, (), 100)  # type: ignore[arg-type]


def test_the_bell_is_one_at_a_things_middle_and_the_edges_lead_to_its_box() -> None:
    truth = Truth(100, 50, (thing("mug", 20, 10, 40, 30), thing("plate", 70, 20, 71, 21)))
    bells, edges, weight = targets(truth, 10)
    mug = THING_KINDS.index("mug")
    assert bells[mug].max() == 1
    row, column = divmod(int(bells[mug].argmax()), 10)
    assert (row, column) == (4, 3)
    x, y = (column + 0.5) / 10, (row + 0.5) / 10
    left, top, right, bottom = edges[:, row, column].tolist()
    assert (x + left, y + top, x + right, y + bottom) == pytest.approx((0.2, 0.2, 0.4, 0.6))
    assert float(weight.sum()) == pytest.approx(1.0)
    # The plate is smaller than anything that is to be found.
    assert not bells[THING_KINDS.index("plate")].any()


def test_what_is_hidden_or_cut_away_may_be_found_or_not() -> None:
    hidden = replace(thing("mug", 20, 10, 60, 30), visible_fraction=0.1)
    bells, edges, weight = targets(Truth(100, 100, (hidden,)), 10)
    assert 0.5 < float(bells.max()) < 1
    assert not edges.any()
    assert not weight.any()
    scores = torch.full_like(bells, -6.0)
    told = scores.clone()
    told[THING_KINDS.index("mug"), 2, 4] = 6.0
    nothing, none, no_weight = (part[None] for part in targets(Truth(100, 100, ()), 10))
    wanted = bells[None], edges[None], weight[None]
    silent = float(detector_loss(scores[None], edges[None], *wanted))
    assert float(detector_loss(told[None], edges[None], *wanted)) == pytest.approx(silent, abs=0.01)
    assert float(detector_loss(told[None], none, nothing, none, no_weight)) > 1


def test_in_a_window_boxes_are_those_of_what_is_left_in_it() -> None:
    truth = Truth(100, 100, (thing("mug", 20, 10, 60, 30), thing("plate", 70, 20, 99, 30)))
    bells, edges, weight = targets(truth, 10, (0.0, 0.0, 0.8, 0.4))
    row, column = divmod(int(bells[THING_KINDS.index("mug")].argmax()), 10)
    here = torch.tensor([(column + 0.5) / 10, (row + 0.5) / 10] * 2)
    assert (edges[:, row, column] + here).tolist() == pytest.approx([0.25, 0.25, 0.75, 0.75])
    # Ten of the plate's 29 pixels are left of the window's edge.
    assert 0.5 < float(bells[THING_KINDS.index("plate")].max()) < 1
    assert float(weight.sum()) == pytest.approx(1.0)


def test_the_right_answer_costs_less_than_any_other() -> None:
    truth = Truth(100, 100, (thing("mug", 20, 10, 60, 30),))
    bells, edges, weight = (part[None] for part in targets(truth, 10))
    right = torch.where(bells == 1, 6.0, -6.0)
    cost = float(detector_loss(right, edges, bells, edges, weight))
    assert cost < 0.1
    assert float(detector_loss(right, edges + 0.1, bells, edges, weight)) > cost + 0.3
    assert float(detector_loss(-right, edges, bells, edges, weight)) > cost + 1
    empty = (part[None] for part in targets(Truth(100, 100, ()), 10))
    nothing, none, no_weight = empty
    assert float(detector_loss(nothing - 6, none, nothing, none, no_weight)) < 0.01


@pytest.mark.timeout(240)
def test_heads_learn_on_the_path_of_a_model_and_the_checkpoint_detects(
    settings: TinySettings, tmp_path: Path
) -> None:
    model = train(with_a_path(settings, tmp_path / "run"))
    torch.manual_seed(0)
    detector = make_detector(model, f"../run/{model.name}")
    kitchens = RenderedKitchens(settings.data.folder / "train")
    maps = compute_maps(detector.net, kitchens, settings.vision.image_size, recoloured=False)
    side = maps.fine.shape[-1]
    wanted = [torch.stack(part) for part in zip(*(targets(t, side) for t in maps.truths))]  # noqa: B905

    def loss() -> float:
        with torch.no_grad():
            said = detector.heads(maps.fine.float(), maps.coarse.float())
            return float(detector_loss(*said, *wanted))

    before = loss()
    train_heads(detector.heads, maps, steps=30, batch=2, rate=3e-3)
    assert loss() < 0.8 * before
    write_detector(detector, tmp_path / "detector")
    assert {"AP", "AP50"} <= measure(detector, maps).keys()
    loaded = Detector.load(str(tmp_path / "detector"), device="cpu")
    found = loaded.detect(kitchens.rgb(0), threshold=0.01)
    assert {one.label for one in found} <= set(THING_KINDS)
