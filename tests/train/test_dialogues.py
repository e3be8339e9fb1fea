"""Packed dialogues: what is learned, what is only read, and where the regions end."""

import numpy as np
import pytest

from chatspot_ros.geometry import PictureGeometry, fit
from chatspot_ros.regions import Region
from chatspot_sim.questions import KitchenQuestion
from chatspot_train.dialogues import IGNORE, Packer, PictureDialogues, answer_text, collate
from chatspot_train.settings import TinySettings
from chatspot_train.train import make_tokenizer

GEOMETRY = fit(PictureGeometry.STRETCH, (100, 100), (64, 64))
MUG = KitchenQuestion("name", "What is this?", "", (Region.box(0, 0, 50, 50),), "mug")
PLACE = KitchenQuestion("locate", "Where is the mug?", "locate", (), "", (10, 20, 30, 40))


@pytest.fixture
def packer(settings: TinySettings) -> Packer:
    return Packer(make_tokenizer(settings), patches=16, longest=200)


def test_only_answers_are_learned(packer: Packer) -> None:
    packed = packer.pack([MUG, PLACE], GEOMETRY)
    assert packed.tokens.count(packer.image) == 16
    learned = [t for t, label in zip(packed.tokens, packed.labels, strict=True) if label != IGNORE]
    text = packer.tokenizer.decode(learned)
    assert text.replace(" ", "") == "mug</s><box>0.100.200.300.40</box></s>"


def test_a_region_ends_at_its_closing_token_and_covers_its_patches(packer: Packer) -> None:
    packed = packer.pack([MUG], GEOMETRY)
    (place,), (cover,) = packed.places, packed.covers
    assert packed.tokens[place] == packer.end_of_region
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1
    assert np.array_equal(cover.reshape(4, 4), expected)


def test_a_sought_box_is_marked_where_its_answer_opens(packer: Packer) -> None:
    packed = packer.pack([MUG, PLACE], GEOMETRY)
    (place,), (cover,) = packed.sought, packed.sought_covers
    assert packed.tokens[place] == packed.labels[place] == packer.start_of_region
    expected = np.zeros((4, 4))  # (10, 20) to (30, 40) of 100: 0.4 to 1.2 across, 0.8 to 1.6 down
    expected[1, 0] = 1
    assert np.array_equal(cover.reshape(4, 4), expected)


def test_turns_that_do_not_fit_are_left_out(packer: Packer) -> None:
    short = Packer(packer.tokenizer, 16, longest=len(packer.pack([MUG], GEOMETRY).tokens) + 3)
    assert len(short.pack([MUG, PLACE], GEOMETRY).places) == 1


def test_a_place_is_said_in_the_models_picture() -> None:
    wide = fit(PictureGeometry.STRETCH, (200, 100), (64, 64))
    assert answer_text(PLACE, wide) == "<box> 0.05 0.20 0.15 0.40</box>"


def test_items_are_drawn_from_their_number(settings: TinySettings, packer: Packer) -> None:
    folder = settings.data.folder / "train"
    data = [PictureDialogues(folder, packer, 64, 3, 8, seed=5) for _ in range(2)]
    assert data[0][3]["packed"].tokens == data[1][3]["packed"].tokens
    assert data[0][3]["packed"].tokens != data[0][4]["packed"].tokens
    batch = collate(0)([data[0][0], data[0][1]])
    assert batch["input_ids"].shape == batch["labels"].shape
    assert len(batch["rows"]) == len(batch["places"]) == len(batch["covers"])
    assert (batch["labels"][batch["attention_mask"] == 0] == IGNORE).all()
