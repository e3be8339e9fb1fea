"""What the language model is asked besides its answers, on a model of a few thousand weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from chatspot_ros.chatspot_tiny.detection_features import told_kind
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.regions import Region
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.kitchen import THING_KINDS
from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.dialogue_dataset import Packer, collate
from chatspot_train.tiny.dialogue_losses import SEEN_LAYER, RegionTeacher
from chatspot_train.tiny.model import build_model

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


@torch.no_grad()
def test_a_word_for_a_kind_is_asked_to_look_at_what_tells_of_it(teacher: RegionTeacher) -> None:
    """The same as the attention that the model really pays, taken where it says so."""
    language = teacher.model.model.language_model
    language.set_attn_implementation("eager")
    kinds, patches, length = len(THING_KINDS), 2 * len(THING_KINDS), 60
    teacher.told_kinds = kinds
    image = torch.zeros(2, length, dtype=torch.bool)
    image[:, 3 : 3 + patches] = True
    seen = language(
        inputs_embeds=torch.randn(2, length, 32), output_hidden_states=True, output_attentions=True
    )
    rows, words = torch.tensor([0, 1, 1]), torch.tensor([40, 59, 36])
    asked = torch.tensor([0, kinds - 1, 4])
    tells = torch.full((length,), IGNORE)
    tells[3 : 3 + patches] = told_kind(patches, kinds)
    last_head = seen.attentions[SEEN_LAYER][:, -1]
    costs = [
        -float(last_head[row, word][tells == kind].sum().log())
        for row, word, kind in zip(rows, words, asked, strict=True)
    ]
    found = teacher._look_up_loss(seen.hidden_states[SEEN_LAYER], image, rows, words, asked)
    assert float(found) == pytest.approx(sum(costs) / 3, rel=1e-4)
    assert min(costs) > 0


def test_only_who_is_told_of_kinds_is_asked_to_look(settings: TinySettings) -> None:
    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    vision = settings.vision.model_copy(
        update={"hidden_size": 160, "detail_widths": [4, 6, 8, 12], "things": True}
    )
    told = settings.model_copy(update={"vision": vision})
    teachers = [RegionTeacher(build_model(one, bundled, None)) for one in (settings, told)]
    assert [one.told_kinds for one in teachers] == [0, len(THING_KINDS)]
