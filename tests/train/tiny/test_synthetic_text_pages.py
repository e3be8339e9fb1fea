"""Pages of print: what is marked is what is printed, and how hard they get."""

import numpy as np
import pytest
import torch

from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.patch_dataset import PatchDataset
from chatspot_train.tiny.patch_labels import GLYPHS, unknown_labels
from chatspot_train.tiny.synthetic_text_pages import _mark, draw_page


def test_on_the_easiest_page_each_patch_holds_one_glyph() -> None:
    rgb, glyphs = draw_page(np.random.default_rng(0), 160, 8, hardness=0.0)
    assert rgb.shape == (160, 160, 3)
    assert rgb.dtype == np.uint8
    assert glyphs.shape == (64, len(GLYPHS))
    assert (glyphs.sum(1) == 1).all()
    patches = rgb.reshape(8, 20, 8, 20, 3).transpose(0, 2, 1, 3, 4).reshape(64, -1)
    assert (patches.std(1) > 15).all()  # ink and paper in each


def test_hard_pages_have_glyphs_of_several_sizes_and_empty_patches() -> None:
    rng = np.random.default_rng(1)
    counts = np.concatenate([draw_page(rng, 160, 8, 1.0)[1].sum(1) for _ in range(30)])
    assert (counts == 0).any()
    assert (counts >= 3).any()  # small ones share a patch


def test_what_is_marked_is_printed() -> None:
    """The patches of one glyph are alike, whatever the colours; those of two are not."""
    rng = np.random.default_rng(2)
    shown: dict[str, list[np.ndarray]] = {"1": [], "M": []}
    for _ in range(20):
        rgb, glyphs = draw_page(rng, 160, 8, 0.0)
        grey = rgb.mean(-1).reshape(8, 20, 8, 20).transpose(0, 2, 1, 3).reshape(64, -1)
        ink = np.abs(grey - np.median(grey[:, :20], 1, keepdims=True))
        ink /= np.linalg.norm(ink, axis=1, keepdims=True)
        for glyph, found in shown.items():
            found += list(ink[glyphs[:, GLYPHS.index(glyph)] == 1])
    one, other = (np.array(found) for found in shown.values())
    assert (one @ one.T).mean() > (one @ other.T).mean() + 0.1


def test_a_glyph_marks_what_it_covers_enough_of() -> None:
    marks = np.zeros((2, 4, len(GLYPHS)), np.float32)
    _mark(marks, 3, 0.5, 0.1, 1.2, 0.9)  # half of the first column, a fifth of the second
    assert np.argwhere(marks).tolist() == [[0, 0, 3]]
    _mark(marks, 5, 2.9, 0.0, 3.1, 2.0)  # narrow: half of it on either side
    assert np.argwhere(marks[..., 5]).tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]


def test_of_a_page_nothing_is_asked_but_its_print() -> None:
    found = unknown_labels(2)
    assert not found.kinds.any()
    assert (found.fields == IGNORE).all()
    assert np.isnan(found.box).all()


def test_pages_come_among_the_kitchens_and_get_harder(
    settings: TinySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def page(
        rng: np.random.Generator, size: int, side: int, hardness: float
    ) -> tuple[np.ndarray, np.ndarray]:
        asked.append(hardness)
        return draw_page(rng, size, side, hardness)

    monkeypatch.setattr("chatspot_train.tiny.patch_dataset.draw_page", page)
    data = PatchDataset(
        settings.data.folder / "train", settings.vision, 40, seed=1, augment=True, pages=0.5
    )
    items = [data[k] for k in range(40)]
    pages = [item for item in items if not bool(item["kinds"].any())]
    assert len(pages) == len(asked)
    assert 10 < len(asked) < 30
    assert asked == sorted(asked)
    assert asked[0] < 0.3
    assert asked[-1] == 1.0
    assert all(torch.isfinite(item["glyphs"]).all() for item in pages)
