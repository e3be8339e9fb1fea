"""The losses of the dialogue stage, on a model of a few thousand weights."""

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
from chatspot_train.tiny.dialogue_dataset import DialogueEncoder, make_collator
from chatspot_train.tiny.dialogue_losses import (
    REGION_LAYER,
    DialogueLosses,
    answer_loss,
    coordinate_loss,
)
from chatspot_train.tiny.model import build_model

GEOMETRY = fit(PictureGeometry.STRETCH, (100, 100), (64, 64))
NAME = KitchenQuestion("name", "What is this?", "", (Region.box(0, 0, 50, 50),), "mug")
COUNT = KitchenQuestion("count", "How many mugs are here?", "", (), "1")


@pytest.fixture
def model(settings: TinySettings) -> DialogueLosses:
    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    torch.manual_seed(0)
    return DialogueLosses(build_model(settings, bundled, None))


def batch(questions: list[KitchenQuestion], mugs: int) -> dict[str, Tensor]:
    """Two encoded images with so many mugs in each, and features of the toy tower's size."""
    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    counts = np.full(len(THING_KINDS), IGNORE)
    counts[THING_KINDS.index("mug")] = mugs
    encoded = DialogueEncoder(bundled, 16, 200).encode(questions, GEOMETRY)
    dialogue = replace(encoded, kind_counts=counts)
    torch.manual_seed(1)
    items = [{"dialogue": dialogue, "features": torch.randn(16, 32)} for _ in range(2)]
    found: dict[str, Tensor] = make_collator(int(bundled.pad_token_id))(items)
    return found


def test_the_count_is_trained_at_a_word_for_the_kind(model: DialogueLosses) -> None:
    model(**batch([NAME], 2))["loss"].backward()
    assert model.word_count.weight.grad is None  # no such word: nothing is asked of it
    model(**batch([NAME, COUNT], IGNORE))["loss"].backward()
    assert model.word_count.weight.grad is not None
    assert not model.word_count.weight.grad.any()  # unclear how many there are
    model(**batch([NAME, COUNT], 2))["loss"].backward()
    assert model.word_count.weight.grad.any()


def test_the_right_count_costs_least(model: DialogueLosses) -> None:
    with torch.no_grad():
        model.word_count.weight.zero_()
        model.word_count.bias.copy_(torch.tensor([0.0, 0.0, 50.0, 0.0]))
        losses = [float(model(**batch([NAME, COUNT], mugs))["loss"]) for mugs in (1, 2, 3)]
    assert losses[1] < losses[0] - 20
    assert losses[1] < losses[2] - 20


@torch.no_grad()
def test_the_attention_from_a_word_for_a_kind_is_trained(model: DialogueLosses) -> None:
    """The same as the attention that the model really pays, taken where it says so."""
    language = model.model.model.language_model
    language.set_attn_implementation("eager")
    kinds, patches, length = len(THING_KINDS), 2 * len(THING_KINDS), 60
    model.detector_kinds = kinds
    image = torch.zeros(2, length, dtype=torch.bool)
    image[:, 3 : 3 + patches] = True
    seen = language(
        inputs_embeds=torch.randn(2, length, 32), output_hidden_states=True, output_attentions=True
    )
    rows, words = torch.tensor([0, 1, 1]), torch.tensor([40, 59, 36])
    asked = torch.tensor([0, kinds - 1, 4])
    tells = torch.full((length,), IGNORE)
    tells[3 : 3 + patches] = told_kind(patches, kinds)
    last_head = seen.attentions[REGION_LAYER][:, -1]
    costs = [
        -float(last_head[row, word][tells == kind].sum().log())
        for row, word, kind in zip(rows, words, asked, strict=True)
    ]
    found = model._look_up_loss(seen.hidden_states[REGION_LAYER], image, rows, words, asked)
    assert float(found) == pytest.approx(sum(costs) / 3, rel=1e-4)
    assert min(costs) > 0


def test_attention_is_trained_only_where_the_tower_has_a_detector(settings: TinySettings) -> None:
    bundled = PreTrainedTokenizerFast.from_pretrained("models/chatspot-tiny")
    vision = settings.vision.model_copy(
        update={"hidden_size": 160, "detail_widths": [4, 6, 8, 12], "things": True}
    )
    told = settings.model_copy(update={"vision": vision})
    models = [DialogueLosses(build_model(one, bundled, None)) for one in (settings, told)]
    assert [one.detector_kinds for one in models] == [0, len(THING_KINDS)]


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
