"""What the language model is asked besides its answers, on a model of a few thousand weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from chatspot_ros.geometry import PictureGeometry, fit
from chatspot_ros.regions import Region
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.kitchen import THING_KINDS
from chatspot_train.dialogues import IGNORE, Packer, collate
from chatspot_train.settings import TinySettings
from chatspot_train.tiny_model import RegionTeacher, build_model

GEOMETRY = fit(PictureGeometry.STRETCH, (100, 100), (64, 64))
NAME = KitchenQuestion("name", "What is this?", "", (Region.box(0, 0, 50, 50),), "mug")
COUNT = KitchenQuestion("count", "How many mugs are here?", "", (), "1")


@pytest.fixture
def teacher(settings: TinySettings) -> RegionTeacher:
    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    torch.manual_seed(0)
    return RegionTeacher(build_model(settings, bundled, None))


def batch(questions: list[KitchenQuestion], mugs: int) -> dict[str, Tensor]:
    """Two packed pictures with so many mugs in each, and features of the toy tower's size."""
    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    counts = np.full(len(THING_KINDS), IGNORE)
    counts[THING_KINDS.index("mug")] = mugs
    packed = replace(Packer(bundled, 16, 200).pack(questions, GEOMETRY), counts=counts)
    torch.manual_seed(1)
    items = [{"packed": packed, "features": torch.randn(16, 32)} for _ in range(2)]
    found: dict[str, Tensor] = collate(int(bundled.pad_token_id))(items)
    return found


def test_a_word_for_a_kind_is_asked_how_many_there_are(teacher: RegionTeacher) -> None:
    teacher(**batch([NAME], 2))["loss"].backward()
    assert teacher.count_of_one.weight.grad is None  # no such word: nothing is asked of it
    teacher(**batch([NAME, COUNT], IGNORE))["loss"].backward()
    assert teacher.count_of_one.weight.grad is not None
    assert not teacher.count_of_one.weight.grad.any()  # unclear how many there are
    teacher(**batch([NAME, COUNT], 2))["loss"].backward()
    assert teacher.count_of_one.weight.grad.any()


def test_it_is_asked_for_the_right_number(teacher: RegionTeacher) -> None:
    with torch.no_grad():
        teacher.count_of_one.weight.zero_()
        teacher.count_of_one.bias.copy_(torch.tensor([0.0, 0.0, 50.0, 0.0]))
        losses = [float(teacher(**batch([NAME, COUNT], mugs))["loss"]) for mugs in (1, 2, 3)]
    assert losses[1] < losses[0] - 20
    assert losses[1] < losses[2] - 20
