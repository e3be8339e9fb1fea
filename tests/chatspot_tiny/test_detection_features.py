"""What a detector's heads see, as features of the patches; and the tower that gives them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText

from chatspot_ros.chatspot_tiny.detection_features import (
    DetectionFeatures,
    DetectorHeads,
    firsts,
    peaks,
    seconds,
    told_kind,
)
from chatspot_ros.chatspot_tiny.modeling_detector import alone
from chatspot_ros.chatspot_tiny.modeling_vision import DetailVisionConfig, DetailVisionModel
from tests.chatspot_tiny.test_modeling_vision import SMALL, make_detailed

KINDS, SIDE, WIDTH = 2, 4, 34
COUNTED = slice(0, 8)  # of each of the four surest: a kind behind the other
MIDDLES, NEAR, COVERS, HERE, BOX = (
    slice(8, 10), slice(10, 12), slice(12, 14), slice(14, 16), slice(16, 20),
)  # fmt: skip
WHICH, SCORES, SURELY = slice(20, 22), slice(22, 26), slice(26, 30)
NOTHING = -9.0


class Told(DetectorHeads):
    """Heads that say what they are told, on maps twice as fine as the patches."""

    def __init__(self) -> None:
        super().__init__(1, 1, 1, KINDS)
        self.logits = torch.full((1, KINDS, 2 * SIDE, 2 * SIDE), NOTHING)
        self.sides = torch.zeros(1, 4, 2 * SIDE, 2 * SIDE)

    def see(self, kind: int, row: int, column: int, logit: float, half: float) -> None:
        """A square thing whose middle is there; its side is twice `half` of the picture."""
        self.logits[0, kind, row, column] = logit
        self.sides[0, :, row, column] = torch.tensor([-half, -half, half, half])

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits, self.sides


def seen(heads: Told) -> Tensor:
    """The features of the 4 x 4 patches, their scales taken off."""
    maps = torch.zeros(1, 1, 1, 1)
    found: Tensor = DetectionFeatures(heads, SIDE, WIDTH)(maps, maps)
    assert found.shape == (1, SIDE * SIDE, WIDTH)
    scales = torch.full((WIDTH,), 3.0)
    scales[WHICH.start :] = 20
    return (found[0] / scales).reshape(SIDE, SIDE, WIDTH)


def test_every_patch_is_told_how_sure_the_surest_of_each_kind_are() -> None:
    heads = Told()
    heads.see(0, 1, 1, 3.0, 0.1)
    heads.see(0, 1, 6, 2.0, 0.1)
    heads.see(1, 6, 6, 1.0, 0.1)
    told = seen(heads)[..., COUNTED].unflatten(-1, (4, KINDS))
    assert torch.equal(told, told[:1, :1].expand_as(told))
    first, second, other = torch.tensor([3.0, 2.0, 1.0]).sigmoid().tolist()
    assert told[0, 0, 0].tolist() == pytest.approx([first, other], abs=2e-4)
    assert told[0, 0, 1].tolist() == pytest.approx([second, 0], abs=2e-4)
    assert float(told[0, 0, 2:].max()) < 1e-3


def test_a_thing_is_told_where_its_middle_is_and_where_its_box_lies() -> None:
    heads = Told()
    heads.see(1, 3, 5, 2.0, 0.26)
    told, sure = seen(heads), float(torch.tensor(2.0).sigmoid())
    # The middle at (5.5, 3.5) eighths lies in patch (row 1, column 2); patches are quarters.
    assert (told[..., MIDDLES][..., 1] > 0.5).nonzero().tolist() == [[1, 2]]
    assert (told[..., NEAR][..., 1] > 0.5).nonzero().tolist() == [[1, 2]]
    covered = told[..., COVERS][..., 1] > 0.5
    # 0.43 to 0.95 across and 0.18 to 0.70 down hold the middles of columns 2 and 3, rows 1 and 2.
    assert covered.nonzero().tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert told[1, 3, COVERS].tolist() == pytest.approx([0, sure], abs=2e-4)
    corners = [0.6875 - 0.26, 0.4375 - 0.26, 0.6875 + 0.26, 0.4375 + 0.26]
    assert told[2, 3, BOX].tolist() == pytest.approx(corners, abs=1e-4)
    assert told[0, 0, BOX].tolist() == [0, 0, 0, 0]
    assert float(told[..., SURELY.stop :].abs().max()) == 0


def test_each_patch_tells_of_one_kind_how_many_there_are() -> None:
    heads = Told()
    heads.see(1, 1, 1, 3.0, 0.1)
    heads.see(1, 1, 6, -0.5, 0.1)
    heads.see(1, 6, 6, -1.5, 0.1)
    heads.see(0, 6, 1, -1.0986, 0.1)
    told = seen(heads).flatten(0, 1)
    of = told_kind(SIDE * SIDE, KINDS)
    assert sorted(of.tolist()) == [0] * 8 + [1] * 8
    assert torch.equal(told[:, WHICH].argmax(-1), of)
    assert told[:, WHICH].sum(-1).tolist() == pytest.approx([1] * 16)
    ones, others = told[of == 1], told[of == 0]
    scores = torch.tensor([3.0, -0.5, -1.5]).sigmoid()
    assert ones[:, SCORES][:, :3].tolist() == [pytest.approx(scores.tolist(), abs=1e-4)] * 8
    # Three in the picture, but the third is less sure than what counts best: 0.25, taken by half.
    assert ones[0, SURELY].tolist() == pytest.approx([1, 0.84, 0.22, 0], abs=0.01)
    assert ones[0, SURELY][2] < 0.5 < ones[0, SURELY][1]
    assert others[0, SURELY].tolist() == pytest.approx([0.5, 0, 0, 0], abs=1e-3)


def test_of_things_one_before_the_other_a_patch_shows_the_smaller() -> None:
    heads = Told()
    heads.see(0, 4, 4, 3.0, 0.45)
    heads.see(1, 3, 3, 0.5, 0.1)
    told = seen(heads)
    assert told[1, 1, COVERS].tolist() == pytest.approx(torch.tensor([3.0, 0.5]).sigmoid().tolist())
    assert int(told[1, 1, HERE].argmax()) == 1
    assert int(told[2, 2, HERE].argmax()) == 0
    # What is not sure at all is no thing to show.
    heads.see(1, 3, 3, -3.0, 0.1)
    assert int(seen(heads)[1, 1, HERE].argmax()) == 0


def test_a_second_box_of_a_thing_is_not_counted() -> None:
    heads = Told()
    heads.see(0, 3, 3, 3.0, 0.3)
    heads.see(0, 3, 5, 2.0, 0.3)  # overlaps by 0.41
    two = seen(heads)[0, 0, COUNTED]
    assert float(two[KINDS]) > 0.8
    heads.logits[:] = NOTHING
    heads.see(0, 3, 3, 3.0, 0.45)
    heads.see(0, 3, 5, 2.0, 0.45)  # by more than half
    heads.see(1, 3, 5, 1.0, 0.45)
    one = seen(heads)[0, 0, COUNTED]
    assert float(one[KINDS]) < 1e-3
    assert float(one[1]) > 0.7  # of another kind, in not quite the same place


def test_peaks_are_the_highest_and_no_neighbours_of_higher_ones() -> None:
    heads = Told()
    heads.see(0, 1, 1, 3.0, 0.1)
    heads.see(0, 1, 2, 2.5, 0.1)
    heads.see(1, 7, 0, 2.0, 0.1)
    scores, kinds, places, boxes = peaks(heads.logits, heads.sides, 3)
    assert scores[0, :2].tolist() == [3.0, 2.0]
    assert kinds[0, :2].tolist() == [0, 1]
    assert places[0, :2].tolist() == [9, 56]
    assert boxes[0, 1].tolist() == pytest.approx([0, 0.8375, 0.1625, 1])
    assert peaks(heads.logits, heads.sides, 500)[0].shape == (1, KINDS * 64)


def test_those_stay_that_one_after_another_would_leave() -> None:
    torch.manual_seed(5)
    corner, side = torch.rand(30, 40, 2) * 0.6, 0.2 + torch.rand(30, 40, 2) * 0.2
    boxes, kinds = torch.cat([corner, corner + side], -1), torch.randint(0, 2, (30, 40))
    found = firsts(seconds(boxes, kinds, 0.3, 0.5))
    expected = torch.stack([
        alone(one, kind, 0.3, 0.5) for one, kind in zip(boxes, kinds, strict=True)
    ])  # fmt: skip
    assert torch.equal(found, expected)
    assert 0.2 < float(expected.float().mean()) < 0.8


def test_seconds_are_told_for_each_pair() -> None:
    boxes = torch.tensor([[0.0, 0, 0.4, 0.4], [0, 0, 0.4, 0.3], [0.5, 0.5, 0.9, 0.9]])
    same = seconds(boxes[None], torch.tensor([[0, 1, 0]]), 0.5, 0.7)
    assert same[0].tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_too_many_kinds_for_its_features_are_refused() -> None:
    with pytest.raises(ValueError, match="need 30 features a patch, hidden_size is 29"):
        DetectionFeatures(Told(), SIDE, 29)


def test_a_llava_with_it_is_saved_loaded_and_told_what_is_seen(tmp_path: Path) -> None:
    folder = make_detailed(tmp_path, thing_kinds=KINDS)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    tower = model.model.vision_tower
    assert isinstance(tower, DetailVisionModel)
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        states = tower(pixels).hidden_states
        _, _, middle, coarse = tower.detail.maps(pixels)
        assert tower.things is not None
        assert torch.equal(states[-1][:, 1:], tower.things(middle, coarse))
        assert torch.equal(states[-2][:, 1:], tower.detail(pixels))
        whole = torch.cat(states[-3:], -1)[:, 1:]
        expected = model.model.multi_modal_projector(whole)
        features = model.get_image_features(pixels, return_dict=True).pooler_output
    assert torch.allclose(torch.stack(list(features)), expected, atol=1e-6)
    # Each picture's features are its own, whatever stands beside it.
    with torch.no_grad():
        alone = tower(pixels[1:]).hidden_states[-1]
    assert torch.allclose(alone[0], states[-1][1], atol=1e-5)


@torch.no_grad()
def test_in_half_precision_it_says_nearly_the_same() -> None:
    torch.manual_seed(3)
    tower = DetailVisionModel(DetailVisionConfig(**SMALL, thing_kinds=KINDS)).eval()
    assert tower.things is not None
    maps = torch.randn(1, 8, 7, 7), torch.randn(1, 12, 4, 4)
    whole = tower.things(*maps)
    half = tower.things.to(torch.bfloat16)(*(one.to(torch.bfloat16) for one in maps))
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half[0, 0, COUNTED].float(), whole[0, 0, COUNTED], atol=0.05)
