"""Windows, colours and pixels on their way into training; going on from an exported model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPImageProcessor

from chatspot_train.data.image_augment import crop, recolour
from chatspot_train.tiny.config import VisionShape
from chatspot_train.tiny.images import MEAN, STD, to_pixels, window_around
from chatspot_train.tiny.vision_stage import VisionPretraining
from chatspot_train.tiny.warm_start import (
    load_start,
    load_tower,
    resize_grid,
    resize_patches,
)

TINY = Path("models/chatspot-tiny")
edge = st.floats(0, 1, allow_subnormal=False)


@given(st.tuples(edge, edge, edge, edge), st.integers(0, 1000))
def test_a_near_view_holds_its_box_and_stays_inside(
    corners: tuple[float, float, float, float], seed: int
) -> None:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    a, b, c, d = window_around((x1, y1, x2, y2), np.random.default_rng(seed))
    small = 1e-9
    assert -small <= a < c <= 1 + small
    assert -small <= b < d <= 1 + small
    assert a <= x1 + small
    assert b <= y1 + small
    assert c >= x2 - small
    assert d >= y2 - small


def test_a_crop_says_which_part_it_is() -> None:
    picture = np.arange(100 * 100 * 3, dtype=np.uint32).reshape(100, 100, 3).astype(np.uint8)
    labels = np.zeros((100, 100), np.uint8)
    part, cut, window = crop(picture, labels, (0.101, 0.2, 0.5, 0.899))
    assert part.shape == (70, 40, 3)
    assert cut.shape == (70, 40)
    assert window == (0.1, 0.2, 0.5, 0.9)
    assert np.array_equal(part, picture[20:90, 10:50])


def test_pixels_are_those_of_the_models_processor() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    processor = CLIPImageProcessor(
        do_resize=False, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD)
    )
    expected = processor(images=Image.fromarray(rgb), return_tensors="pt")["pixel_values"][0]
    assert torch.allclose(to_pixels(rgb), expected, atol=1e-5)


def test_colours_change_a_little_and_the_same_way_for_one_seed() -> None:
    rgb = np.full((20, 20, 3), 100, np.uint8)
    one, two = (recolour(rgb, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one, two)
    shifts = [recolour(rgb, np.random.default_rng(k)).mean() - 100 for k in range(200)]
    assert 5 < np.std(shifts) < 25


def test_larger_patches_see_a_smooth_picture_the_same() -> None:
    kernel = torch.randn(4, 3, 16, 16).cumsum(-1).cumsum(-2) / 50  # smooth, as learned ones are
    wide = resize_patches(kernel, 20)
    assert wide.shape == (4, 3, 20, 20)
    flat16, flat20 = kernel.sum((1, 2, 3)), wide.sum((1, 2, 3))
    assert torch.allclose(flat16, flat20, rtol=0.05, atol=0.05)


def test_a_finer_grid_keeps_the_order_of_places() -> None:
    table = torch.zeros(1 + 16, 2)
    table[0] = 7
    rows, columns = np.divmod(np.arange(16), 4)
    table[1:] = torch.tensor(np.stack([columns, rows], 1), dtype=torch.float32)
    wide = resize_grid(table, 36)
    assert torch.equal(wide[0], table[0])
    grid = wide[1:].reshape(6, 6, 2)
    assert (grid[:, 1:, 0] > grid[:, :-1, 0]).all()
    assert (grid[1:, :, 1] > grid[:-1, :, 1]).all()


def test_a_tower_goes_on_from_the_bundled_model_at_another_size() -> None:
    shape = VisionShape(image_size=240, patch_size=24)
    model = VisionPretraining(shape)
    load_tower(model.tower, TINY)
    bundled = load_start(TINY).model.vision_tower
    assert torch.allclose(
        model.tower.encoder.layers[3].mlp.fc1.weight, bundled.encoder.layers[3].mlp.fc1.weight
    )
    picture = torch.zeros(1, 3, 240, 240)
    seen = model.tower(picture).last_hidden_state
    assert seen.shape == (1, 101, 256)
    narrow = VisionShape(image_size=64, patch_size=16, hidden_size=32, layers=2, heads=2)
    with pytest.raises(RuntimeError):
        load_tower(VisionPretraining(narrow).tower, TINY)
