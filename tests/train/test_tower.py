"""The tower's scaling and the patch heads' bookkeeping."""

import torch

from chatspot_train.dense_labels import CELLS, FIELDS, GLYPHS, IGNORE, PARTS
from chatspot_train.settings import VisionShape
from chatspot_train.vision_stage import VisionTeacher, hit_rates
from chatspot_train.warm_start import scale_residual

SHAPE = VisionShape(image_size=32, patch_size=16, hidden_size=32, layers=2, heads=2, mlp_size=64)


def test_scaling_the_residual_scales_the_output_and_nothing_else() -> None:
    torch.manual_seed(0)
    tower = VisionTeacher(SHAPE).tower.eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = tower(pixels, output_hidden_states=True).hidden_states[-1]
        scale_residual(tower, 0.25)
        after = tower(pixels, output_hidden_states=True).hidden_states[-1]
    assert torch.allclose(after, 0.25 * before, atol=1e-3)


def test_unknown_labels_cost_nothing_and_are_not_counted() -> None:
    torch.manual_seed(0)
    teacher = VisionTeacher(SHAPE).eval()
    kinds = torch.zeros(1, 4, teacher.kinds.out_features)
    kinds[..., 1] = 1.0
    fields = torch.full((1, 4, len(FIELDS)), IGNORE)
    fields[0, 0, 0] = 2
    out = teacher(torch.randn(1, 3, 32, 32), kinds, fields, torch.full((1, 4, 4), torch.nan),
                  torch.full((1, 4, len(PARTS)), torch.nan), torch.ones(1, 4),
                  torch.full((1, 4, CELLS * CELLS), IGNORE),
                  torch.full((1, 4, len(GLYPHS)), torch.nan))  # fmt: skip
    assert torch.isfinite(out["loss"])

    class Prediction:
        predictions = out["logits"].detach().numpy()

    rates = hit_rates(Prediction())
    assert set(rates) == {"kind", "colour"}
