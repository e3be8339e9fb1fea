"""The data of the detail stage: labels at fine steps, pasted cards, unaugmented images."""

import numpy as np
import torch

from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.detail_dataset import KIND_STEP, DetailDataset, glyph_map
from chatspot_train.tiny.patch_labels import GLYPHS
from chatspot_train.tiny.synthetic_text_cards import Card
from tests.train.tiny.test_detail_stage import SHAPE


def test_glyphs_stand_on_their_text_in_reading_order() -> None:
    corners = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.5], [0.25, 0.5]])
    seen = glyph_map([Card("47", corners)], 32)
    four, seven = 1 + GLYPHS.index("4"), 1 + GLYPHS.index("7")
    assert set(seen[11, 10:15]) == {four}
    assert set(seen[11, 18:22]) == {seven}
    assert (seen[0] == IGNORE).all()
    # The card's own margin is print's paper: no glyph, and asked for.
    assert set(seen[8, 9:23]) == {0}


def test_items_have_labels_at_fine_steps(settings: TinySettings) -> None:
    folder = settings.data.folder / "train"
    plain = DetailDataset(folder, SHAPE, 8, 1, augment=False)[0]
    truth = DetailDataset(folder, SHAPE, 8, 1, augment=False).kitchens.truth(0)
    side = 64 // KIND_STEP
    assert plain["kind_map"].shape == (side, side)
    assert 0 <= int(plain["kind_map"].min()) <= int(plain["kind_map"].max())
    assert len(plain["kind_map"].unique()) > 1, truth
    carded = DetailDataset(folder, SHAPE, 8, 1, augment=True, cards=1.0)
    items = [carded[k] for k in range(8)]
    assert any(bool((item["kind_map"] == IGNORE).any()) for item in items)
    assert any(bool((item["glyph_map"] > 0).any()) for item in items)
    again = carded[3]
    assert all(torch.equal(again[key], items[3][key]) or again[key].isnan().any() for key in again)


def test_the_unaugmented_image_is_given_on_demand(settings: TinySettings) -> None:
    folder = settings.data.folder / "train"
    lit = DetailDataset(folder, SHAPE, 8, 1, augment=True, unaugmented=True)
    for item in (lit[k] for k in range(4)):
        shown, own = item["pixel_values"].float(), item["unaugmented"].float()
        assert shown.shape == own.shape
        assert not torch.equal(shown, own)
        # The same part of the same picture: brighter here is brighter there.
        assert np.corrcoef(shown.flatten(), own.flatten())[0, 1] > 0.8
    assert "unaugmented" not in DetailDataset(folder, SHAPE, 8, 1, augment=True)[0]
