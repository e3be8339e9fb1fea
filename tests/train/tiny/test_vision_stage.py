"""The tower's scaling and the patch heads' bookkeeping."""

import pytest
import torch

from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.config import VisionShape
from chatspot_train.tiny.patch_heads import generalised_iou, hit_rates
from chatspot_train.tiny.patch_labels import CELLS, FIELDS, GLYPHS, PARTS
from chatspot_train.tiny.vision_stage import VisionPretraining
from chatspot_train.tiny.warm_start import scale_residual

SHAPE = VisionShape(image_size=32, patch_size=16, hidden_size=32, layers=2, heads=2, mlp_size=64)


def test_scaling_the_residual_scales_the_output_and_nothing_else() -> None:
    torch.manual_seed(0)
    tower = VisionPretraining(SHAPE).tower.eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = tower(pixels, output_hidden_states=True).hidden_states[-1]
        scale_residual(tower, 0.25)
        after = tower(pixels, output_hidden_states=True).hidden_states[-1]
    assert torch.allclose(after, 0.25 * before, atol=1e-3)


def test_unknown_labels_cost_nothing_and_are_not_counted() -> None:
    torch.manual_seed(0)
    model = VisionPretraining(SHAPE).eval()
    kinds = torch.zeros(1, 4, model.kinds.out_features)
    kinds[..., 1] = 1.0
    fields = torch.full((1, 4, len(FIELDS)), IGNORE)
    fields[0, 0, 0] = 2
    out = model(
        torch.randn(1, 3, 32, 32), kinds=kinds, fields=fields,
        box=torch.full((1, 4, 4), torch.nan), parts=torch.full((1, 4, len(PARTS)), torch.nan),
        weight=torch.ones(1, 4), cells=torch.full((1, 4, CELLS * CELLS), IGNORE),
        glyphs=torch.full((1, 4, len(GLYPHS)), torch.nan), middle=torch.zeros(1, 4),
    )  # fmt: skip
    assert torch.isfinite(out["loss"])

    class Prediction:
        predictions = out["logits"].detach().numpy()

    rates = hit_rates(Prediction())
    assert set(rates) == {"kind", "colour"}


def test_generalised_iou_by_hand() -> None:
    square = torch.tensor([[0.0, 0.0, 2.0, 2.0]]).expand(4, 4)
    others = torch.tensor([
        [0.0, 0.0, 2.0, 2.0],  # the same
        [1.0, 0.0, 3.0, 2.0],  # shares 2 of 6, the hull is the union
        [3.0, 0.0, 4.0, 2.0],  # apart: union 6 of a hull of 8
        [2.0, 2.0, 1.0, 1.0],  # inside out: empty, all of the hull is the square
    ])  # fmt: skip
    assert generalised_iou(square, others).tolist() == pytest.approx([1.0, 1 / 3, -0.25, 0.0])


def test_both_edges_and_middle_are_learned_from_the_things_patches_alone() -> None:
    torch.manual_seed(0)
    model = VisionPretraining(SHAPE)
    hidden = torch.randn(1, 4, 32)
    box = torch.full((1, 4, 4), torch.nan)
    middle, weight = torch.zeros(1, 4), torch.ones(1, 4)
    assert float(model._box_loss(hidden, box, middle, weight)) == 0.0
    box[0, 2] = torch.tensor([-0.1, -0.1, 0.1, 0.1])
    model._box_loss(hidden, box, middle, weight).backward()
    for head in (model.box, model.middle):
        assert head.weight.grad is not None
        assert float(head.weight.grad.abs().sum()) > 0
