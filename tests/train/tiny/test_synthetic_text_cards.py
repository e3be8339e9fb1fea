"""Cards pasted into pictures: where they are, what their patches are labelled with."""

import numpy as np

from chatspot_sim.truth import Truth
from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.patch_labels import FIELDS, GLYPHS, label_patches
from chatspot_train.tiny.synthetic_text_cards import (
    Card,
    draw_card,
    label_cards,
    paste_cards,
)

FIELD = {name: k for k, name in enumerate(FIELDS)}


def test_cards_change_the_picture_where_they_are_and_nowhere_else() -> None:
    plain = np.full((64, 64, 3), 120, np.uint8)
    rgb, cards = paste_cards(plain, np.random.default_rng(3))
    assert cards
    assert (plain == 120).all()
    changed = np.argwhere((rgb != plain).any(-1))[:, ::-1] / 64
    spans = [(c.corners.min(0) - 0.03, c.corners.max(0) + 0.03) for c in cards]
    inside = [np.all((changed >= low) & (changed <= high), 1) for low, high in spans]
    assert np.any(inside, 0).all()
    assert all(found.any() for found in inside)


def test_a_card_says_two_digits_or_a_word_of_the_kitchen() -> None:
    rng = np.random.default_rng(0)
    texts = [draw_card(rng)[0] for _ in range(30)]
    assert any(t.isdigit() and len(t) == 2 for t in texts)
    assert any(t.isalpha() for t in texts)
    assert set("".join(texts)) <= set(GLYPHS)


def test_each_glyph_is_marked_where_it_stands_and_the_number_everywhere_on_the_card() -> None:
    found = label_patches(Truth(64, 64, ()), np.zeros((64, 64), np.uint8), side=8)
    corners = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.5], [0.25, 0.5]])
    label_cards(found, [Card("47", corners)], side=8)
    # Columns 2 to 5 of rows 2 and 3: the 4 on the left half, the 7 on the right one.
    glyphs = found.glyphs.reshape(8, 8, -1)
    four, seven = GLYPHS.index("4"), GLYPHS.index("7")
    assert np.flatnonzero(glyphs[2, :, four] == 1).tolist() == [2, 3]
    assert np.flatnonzero(glyphs[3, :, seven] == 1).tolist() == [4, 5]
    assert np.isnan(glyphs[0]).all()
    fields = found.fields.reshape(8, 8, -1)
    assert (fields[2:4, 2:6, FIELD["tens"]] == 4).all()
    assert (fields[2:4, 2:6, FIELD["ones"]] == 7).all()
    assert (fields[2:4, 2:6, FIELD["colour"]] == IGNORE).all()
    # Nobody is asked what stands behind a card.
    assert found.kinds.reshape(8, 8, -1)[2:4, 2:6].sum() == 0
    assert (found.cells.reshape(8, 8, -1)[2:4, 2:6] == IGNORE).all()
    assert found.kinds.reshape(8, 8, -1)[0].sum() == 8
