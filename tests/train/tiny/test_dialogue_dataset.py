"""Encoded dialogues: which tokens are learned, and where the targets of the regions are."""

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
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.crops import crop_kitchen, crop_window
from chatspot_train.tiny.dialogue_dataset import (
    MAX_COUNT,
    DialogueDataset,
    DialogueEncoder,
    count_kinds,
    make_collator,
)
from chatspot_train.tiny.train import make_tokenizer

GEOMETRY = fit(PictureGeometry.STRETCH, (100, 100), (64, 64))
MUG = KitchenQuestion("name", "What is this?", "", (Region.box(0, 0, 50, 50),), "mug")
PLACE = KitchenQuestion(
    "locate", "Where is the mug?", "locate", (), "", (10, 20, 30, 40), phrase="mug"
)


@pytest.fixture
def encoder(settings: TinySettings) -> DialogueEncoder:
    return DialogueEncoder(make_tokenizer(settings), patches=16, max_tokens=200)


def test_only_answers_are_learned(encoder: DialogueEncoder) -> None:
    dialogue = encoder.encode([MUG, PLACE], GEOMETRY)
    assert dialogue.tokens.count(encoder.image_token) == 16
    learned = [
        t for t, label in zip(dialogue.tokens, dialogue.labels, strict=True) if label != IGNORE
    ]
    text = encoder.tokenizer.decode(learned)
    assert text.replace(" ", "") == "mug</s>mug<box>0.100.200.300.40</box></s>"


def test_a_region_ends_at_its_closing_token_and_covers_its_patches(
    encoder: DialogueEncoder,
) -> None:
    dialogue = encoder.encode([MUG], GEOMETRY)
    (end,), (mask,) = dialogue.region_ends, dialogue.region_masks
    assert dialogue.tokens[end] == encoder.region_end
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1
    assert np.array_equal(mask.reshape(4, 4), expected)


def test_a_box_is_marked_where_its_answer_opens_and_before(encoder: DialogueEncoder) -> None:
    dialogue = encoder.encode([MUG, PLACE], GEOMETRY)
    (before, start), (mask, same) = dialogue.box_starts, dialogue.box_masks
    assert before == start - 1
    assert dialogue.tokens[start] == dialogue.labels[start] == encoder.region_start
    assert np.array_equal(mask, same)
    assert dialogue.boxes == [pytest.approx([0.1, 0.2, 0.3, 0.4])] * 2
    expected = np.zeros((4, 4))  # (10, 20) to (30, 40) of 100: 0.4 to 1.2 across, 0.8 to 1.6 down
    expected[1, 0] = 1
    assert np.array_equal(mask.reshape(4, 4), expected)


def test_words_for_kinds_are_marked_where_the_whole_picture_is_asked_about() -> None:
    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    encoder = DialogueEncoder(bundled, patches=16, max_tokens=200)
    many = KitchenQuestion("count", "How many knives are here?", "", (), "2")
    part = KitchenQuestion("part", "Which part of the mug is this?", "", MUG.regions, "handle")
    dialogue = encoder.encode([many, part, PLACE], GEOMETRY)
    said = [bundled.decode([dialogue.tokens[at]]).strip() for at in dialogue.kind_words]
    assert said == ["knives", "mug"]  # not the mug whose part is asked for, nor the answer's
    assert dialogue.kind_words[1] > dialogue.region_ends[0]
    assert dialogue.word_kinds == [THING_KINDS.index("knife"), THING_KINDS.index("mug")]
    items = [{"dialogue": encoder.encode([MUG], GEOMETRY)}, {"dialogue": dialogue}]
    batch = make_collator(0)(items)
    assert batch["word_rows"].tolist() == [1, 1]
    assert batch["kind_words"].tolist() == dialogue.kind_words
    assert batch["word_kinds"].tolist() == dialogue.word_kinds


def test_each_region_knows_which_kind_is_meant(encoder: DialogueEncoder) -> None:
    mug = KitchenQuestion("state", "Is it full?", "", MUG.regions, "full", thing="mug_2")
    part = KitchenQuestion("part", "What part is this?", "", MUG.regions, "lid", thing="jar_1")
    pair = KitchenQuestion(
        "relation", "<region> and <region>?", "", MUG.regions * 2, "left of", thing="mug_2"
    )
    names = encoder.encode([mug, part, pair], GEOMETRY).region_kinds
    assert names == [THING_KINDS.index("mug"), IGNORE, IGNORE, IGNORE]


def test_things_are_counted_by_kind_unless_one_is_too_small() -> None:
    def thing(name: str, number: int, side: float) -> Thing:
        box = (10.0, 10.0, 10 + side, 10 + side)
        return Thing(f"{name}_{number}", name, "red", box, ((10, 10), (20, 10), (20, 20)), 64)

    things = [thing("mug", k, 40) for k in range(5)] + [thing("lemon", 1, 40), thing("jar", 1, 2)]
    counts = count_kinds(Truth(100, 100, tuple(things)))
    found = dict(zip(THING_KINDS, counts.tolist(), strict=True))
    assert (found["mug"], found["lemon"], found["apple"]) == (MAX_COUNT, 1, 0)
    assert found["jar"] == IGNORE


def test_turns_that_do_not_fit_are_left_out(encoder: DialogueEncoder) -> None:
    short = DialogueEncoder(
        encoder.tokenizer, 16, max_tokens=len(encoder.encode([MUG], GEOMETRY).tokens) + 3
    )
    assert len(short.encode([MUG, PLACE], GEOMETRY).region_ends) == 1


def test_items_are_drawn_from_their_number(
    settings: TinySettings, encoder: DialogueEncoder
) -> None:
    folder = settings.data.folder / "train"
    data = [DialogueDataset(folder, encoder, 64, 3, 8, seed=5) for _ in range(2)]
    assert data[0][3]["dialogue"].tokens == data[1][3]["dialogue"].tokens
    assert data[0][3]["dialogue"].tokens != data[0][4]["dialogue"].tokens
    batch = make_collator(0)([data[0][0], data[0][1]])
    assert batch["input_ids"].shape == batch["labels"].shape
    assert len(batch["region_rows"]) == len(batch["region_ends"]) == len(batch["region_masks"])
    assert (batch["labels"][batch["input_ids"] == 0] == IGNORE).all()


def test_features_of_a_version_come_with_its_truth(
    settings: TinySettings, encoder: DialogueEncoder
) -> None:
    folder, crops = settings.data.folder / "train", 3
    kitchens = RenderedKitchens(folder)
    numbers = torch.arange(crops * len(kitchens))[:, None, None].float()
    data = DialogueDataset(folder, encoder, 64, 3, 24, 5, numbers, crops)
    versions = set()
    for item in (data[k] for k in range(len(data))):
        image, version = divmod(int(item["features"]), crops)
        _, _, truth = crop_kitchen(
            kitchens.rgb(image), kitchens.labels(image), kitchens.truth(image),
            crop_window(image, version),
        )  # fmt: skip
        assert np.array_equal(item["dialogue"].kind_counts, count_kinds(truth))
        versions.add(version)
    assert versions == set(range(crops))
