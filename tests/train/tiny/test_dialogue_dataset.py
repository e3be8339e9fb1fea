"""Packed dialogues: what is learned, what is only read, and where the regions end."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.regions import Region
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Thing, Truth
from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny import dialogue_dataset
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.crops import draw_view, view
from chatspot_train.tiny.dialogue_dataset import (
    KEPT_PRESENT,
    KEPT_SINGLE,
    MOST,
    Packer,
    PictureDialogues,
    _kept,
    answer_text,
    collate,
    thing_counts,
)
from chatspot_train.tiny.dialogue_losses import answer_loss, coordinate_loss
from chatspot_train.tiny.train import make_tokenizer

GEOMETRY = fit(PictureGeometry.STRETCH, (100, 100), (64, 64))
MUG = KitchenQuestion("name", "What is this?", "", (Region.box(0, 0, 50, 50),), "mug")
PLACE = KitchenQuestion(
    "locate", "Where is the mug?", "locate", (), "", (10, 20, 30, 40), phrase="mug"
)


@pytest.fixture
def packer(settings: TinySettings) -> Packer:
    return Packer(make_tokenizer(settings), patches=16, longest=200)


def test_only_answers_are_learned(packer: Packer) -> None:
    packed = packer.pack([MUG, PLACE], GEOMETRY)
    assert packed.tokens.count(packer.image) == 16
    learned = [t for t, label in zip(packed.tokens, packed.labels, strict=True) if label != IGNORE]
    text = packer.tokenizer.decode(learned)
    assert text.replace(" ", "") == "mug</s>mug<box>0.100.200.300.40</box></s>"


def test_a_region_ends_at_its_closing_token_and_covers_its_patches(packer: Packer) -> None:
    packed = packer.pack([MUG], GEOMETRY)
    (place,), (cover,) = packed.places, packed.covers
    assert packed.tokens[place] == packer.end_of_region
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1
    assert np.array_equal(cover.reshape(4, 4), expected)


def test_a_sought_box_is_marked_where_its_answer_opens_and_before(packer: Packer) -> None:
    packed = packer.pack([MUG, PLACE], GEOMETRY)
    (before, place), (cover, same) = packed.sought, packed.sought_covers
    assert before == place - 1
    assert packed.tokens[place] == packed.labels[place] == packer.start_of_region
    assert np.array_equal(cover, same)
    assert packed.sought_boxes == [pytest.approx([0.1, 0.2, 0.3, 0.4])] * 2
    expected = np.zeros((4, 4))  # (10, 20) to (30, 40) of 100: 0.4 to 1.2 across, 0.8 to 1.6 down
    expected[1, 0] = 1
    assert np.array_equal(cover.reshape(4, 4), expected)


def test_words_for_kinds_are_marked_where_the_whole_picture_is_asked_about() -> None:
    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    packer = Packer(bundled, patches=16, longest=200)
    many = KitchenQuestion("count", "How many knives are here?", "", (), "2")
    part = KitchenQuestion("part", "Which part of the mug is this?", "", MUG.regions, "handle")
    packed = packer.pack([many, part, PLACE], GEOMETRY)
    said = [bundled.decode([packed.tokens[at]]).strip() for at in packed.mentions]
    assert said == ["knives", "mug"]  # not the mug whose part is asked for, nor the answer's
    assert packed.mentions[1] > packed.places[0]
    assert packed.mentioned == [THING_KINDS.index("knife"), THING_KINDS.index("mug")]
    items = [{"packed": packer.pack([MUG], GEOMETRY)}, {"packed": packed}]
    batch = collate(0)(items)
    assert batch["mention_rows"].tolist() == [1, 1]
    assert batch["mentions"].tolist() == packed.mentions
    assert batch["mentioned"].tolist() == packed.mentioned


def test_each_region_knows_which_kind_is_meant(packer: Packer) -> None:
    mug = KitchenQuestion("state", "Is it full?", "", MUG.regions, "full", thing="mug_2")
    part = KitchenQuestion("part", "What part is this?", "", MUG.regions, "lid", thing="jar_1")
    pair = KitchenQuestion(
        "relation", "<region> and <region>?", "", MUG.regions * 2, "left of", thing="mug_2"
    )
    names = packer.pack([mug, part, pair], GEOMETRY).names
    assert names == [THING_KINDS.index("mug"), IGNORE, IGNORE, IGNORE]


def test_things_are_counted_by_kind_unless_one_is_too_small() -> None:
    def thing(name: str, number: int, side: float) -> Thing:
        box = (10.0, 10.0, 10 + side, 10 + side)
        return Thing(f"{name}_{number}", name, "red", box, ((10, 10), (20, 10), (20, 20)), 64)

    things = [thing("mug", k, 40) for k in range(5)] + [thing("lemon", 1, 40), thing("jar", 1, 2)]
    counts = thing_counts(Truth(100, 100, tuple(things)))
    found = dict(zip(THING_KINDS, counts.tolist(), strict=True))
    assert (found["mug"], found["lemon"], found["apple"]) == (MOST, 1, 0)
    assert found["jar"] == IGNORE


def test_turns_that_do_not_fit_are_left_out(packer: Packer) -> None:
    short = Packer(packer.tokenizer, 16, longest=len(packer.pack([MUG], GEOMETRY).tokens) + 3)
    assert len(short.pack([MUG, PLACE], GEOMETRY).places) == 1


def test_a_place_is_said_in_the_models_picture() -> None:
    wide = fit(PictureGeometry.STRETCH, (200, 100), (64, 64))
    assert answer_text(PLACE, wide) == "mug <box> 0.05 0.20 0.15 0.40</box>"


def test_items_are_drawn_from_their_number(settings: TinySettings, packer: Packer) -> None:
    folder = settings.data.folder / "train"
    data = [PictureDialogues(folder, packer, 64, 3, 8, seed=5) for _ in range(2)]
    assert data[0][3]["packed"].tokens == data[1][3]["packed"].tokens
    assert data[0][3]["packed"].tokens != data[0][4]["packed"].tokens
    batch = collate(0)([data[0][0], data[0][1]])
    assert batch["input_ids"].shape == batch["labels"].shape
    assert len(batch["rows"]) == len(batch["places"]) == len(batch["covers"])
    assert (batch["labels"][batch["input_ids"] == 0] == IGNORE).all()


def test_features_of_a_version_come_with_its_truth(settings: TinySettings, packer: Packer) -> None:
    folder, views = settings.data.folder / "train", 3
    kitchens = RenderedKitchens(folder)
    numbers = torch.arange(views * len(kitchens))[:, None, None].float()
    data = PictureDialogues(folder, packer, 64, 3, 24, 5, numbers, views)
    versions = set()
    for item in (data[k] for k in range(len(data))):
        picture, version = divmod(int(item["features"]), views)
        _, _, truth = view(
            kitchens.rgb(picture), kitchens.labels(picture), kitchens.truth(picture),
            draw_view(picture, version),
        )  # fmt: skip
        assert np.array_equal(item["packed"].counts, thing_counts(truth))
        versions.add(version)
    assert versions == set(range(views))


def test_answers_that_are_mostly_right_are_asked_less() -> None:
    one = KitchenQuestion("count", "How many?", "", (), "1")
    assert _kept(one) == KEPT_SINGLE
    assert _kept(replace(one, answer="0")) == _kept(replace(one, answer="2")) == 1.0
    assert _kept(PLACE) == KEPT_PRESENT
    assert _kept(replace(PLACE, box_xyxy_px=None)) == 1.0


def test_a_coordinate_beside_the_right_one_costs_little() -> None:
    right = torch.tensor([40])

    def cost(said: int) -> float:
        scores = torch.full((1, 101), -8.0)
        scores[0, said] = 8.0
        return float(coordinate_loss(scores.log_softmax(-1), right)[0])

    costs = [cost(said) for said in (40, 41, 43, 50, 70)]
    assert costs == sorted(costs)
    assert costs[4] > costs[3] + 0.5  # far off is worse than off


def test_other_tokens_cost_their_cross_entropy() -> None:
    torch.manual_seed(0)
    scores, right = torch.randn(3, 20), torch.tensor([1, 2, 19])
    plain = torch.nn.functional.cross_entropy(scores, right)
    assert torch.allclose(answer_loss(scores, right, range(0)), plain)
    assert torch.allclose(answer_loss(scores, right, range(5, 10)), plain)
    among = answer_loss(scores, right, range(15, 20))
    chances = scores.log_softmax(-1)
    alone = coordinate_loss(chances[2:, 15:], torch.tensor([4]))
    assert torch.allclose(among, (alone[0] - chances[0, 1] - chances[1, 2]) / 3)


def test_some_boxes_are_off_as_a_detectors_are(monkeypatch: pytest.MonkeyPatch) -> None:
    box = (300.0, 300.0, 500.0, 500.0)
    mug = Thing("mug_1", "mug", "red", box, ((300, 300), (500, 300), (500, 500)), 40000)
    truth = Truth(1000, 1000, (mug,))
    off = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(dialogue_dataset, "ROUGH", share)
        monkeypatch.setattr(
            dialogue_dataset, "WEIGHTS", dict.fromkeys(dialogue_dataset.WEIGHTS, 0) | {"name": 1}
        )
        turns = dialogue_dataset.draw_turns(truth, None, np.random.default_rng(0), 200)
        regions = [turn.regions[0] for turn in turns]
        asked = [region.box_xyxy_px for region in regions if len(region.points_px) == 2]
        assert len(asked) > 50
        off[share] = np.abs(np.array(asked) - box).mean()
    assert off[1.0] > 1.5 * off[0.0]
