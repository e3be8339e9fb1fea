"""Patch labels against labels counted by hand on a picture small enough to see through."""

import numpy as np
import pytest

from chatspot_sim.kitchen import COLOURS, THING_KINDS
from chatspot_sim.truth import Part, Thing, Truth
from chatspot_train.tiny.patch_labels import (
    FIELDS,
    GLYPHS,
    IGNORE,
    PARTS,
    WORDS,
    label_patches,
)

FIELD = {name: k for k, name in enumerate(FIELDS)}


@pytest.fixture
def truth() -> Truth:
    mug = Thing("mug_1", "mug", "red", (0, 0, 16, 16), ((0, 0), (16, 0), (16, 16)), 256,
                {"contents": "full"}, parts=(Part("handle", (0, 0, 8, 8), 64),))  # fmt: skip
    sign = Thing("sign_1", "sign", "blue", (16, 16, 32, 32), ((16, 16), (32, 16), (32, 32)), 256,
                 text="47", parts=(Part("number", (20, 20, 28, 28), 64),))  # fmt: skip
    return Truth(32, 32, (mug, sign))


@pytest.fixture
def labels() -> np.ndarray:
    picture = np.zeros((32, 32), np.uint8)
    picture[:16, :16] = 1
    picture[16:, 16:] = 2
    picture[16:, 8:16] = 1  # half of the bottom left quarter
    return picture


def test_share_of_each_kind(truth: Truth, labels: np.ndarray) -> None:
    kinds = label_patches(truth, labels, side=2).kinds
    mug, sign = THING_KINDS.index("mug") + 1, THING_KINDS.index("sign") + 1
    assert kinds[0, mug] == 1.0
    assert kinds[1, 0] == 1.0
    assert kinds[2, mug] == 0.5
    assert kinds[2, 0] == 0.5
    assert kinds[3, sign] == 1.0
    assert np.allclose(kinds.sum(1), 1)


def test_fields_follow_the_thing_of_the_patch(truth: Truth, labels: np.ndarray) -> None:
    fields = label_patches(truth, labels, side=2).fields
    assert fields[0, FIELD["colour"]] == list(COLOURS).index("red")
    assert fields[0, FIELD["contents"]] == 1  # ("empty", "full")
    assert fields[0, FIELD["tens"]] == IGNORE
    assert (fields[1] == IGNORE).all()
    assert (fields[3, FIELD["tens"]], fields[3, FIELD["ones"]]) == (4, 7)


def test_what_is_seen_on_a_part_is_asked_of_its_patches_alone() -> None:
    fridge = Thing("fridge_1", "fridge", "white", (0, 0, 16, 32), ((0, 0), (16, 0), (16, 32)), 512,
                   {"door": "closed", "plug": "in"},
                   parts=(Part("plug", (25, 1, 29, 5), 16),
                          Part("handle", (1, 1, 3, 9), 8)))  # fmt: skip
    jar = Thing("jar_1", "jar", "red", (16, 16, 32, 32), ((16, 16), (32, 16), (32, 32)), 256,
                text="TEA", parts=(Part("label", (17, 25, 23, 31), 36),))  # fmt: skip
    picture = np.zeros((32, 32), np.uint8)
    picture[:, :16] = 1
    picture[16:, 16:] = 2
    fields = label_patches(Truth(32, 32, (fridge, jar)), picture, side=4).fields
    plug = fields[:, FIELD["plug"]].reshape(4, 4)
    assert plug[0, 3] == ("in", "out").index("in")
    assert (plug[:, :2] == IGNORE).all()  # the fridge itself does not show it
    assert (fields.reshape(4, 4, -1)[:, 0, FIELD["door"]] == 0).all()
    word = fields[:, FIELD["word"]].reshape(4, 4)
    assert word[3, 2] == WORDS.index("TEA")
    assert word[2, 3] == IGNORE


def test_a_patch_of_a_small_thing_counts_more(truth: Truth, labels: np.ndarray) -> None:
    weight = label_patches(truth, labels, side=4).weight.reshape(4, 4)
    assert weight[0, 3] == pytest.approx(0.35)  # the room
    assert weight[3, 3] == pytest.approx(2**0.5)  # a sign of four patches
    assert weight[0, 0] == pytest.approx((8 / 6) ** 0.5)  # a mug of six


def test_box_is_relative_to_the_patch_centre(truth: Truth, labels: np.ndarray) -> None:
    box = label_patches(truth, labels, side=2).box
    assert np.allclose(box[0], [-0.25, -0.25, 0.25, 0.25])
    assert np.isnan(box[1]).all()


def test_each_glyph_is_marked_where_it_stands_and_the_number_everywhere_on_the_card() -> None:
    sign = Thing("sign_1", "sign", "blue", (16, 16, 48, 32), ((16, 16), (48, 16), (48, 32)), 512,
                 text="47", parts=(Part("number", (16, 16, 48, 32), 512),))  # fmt: skip
    picture = np.zeros((64, 64), np.uint8)
    picture[16:32, 16:48] = 1
    found = label_patches(Truth(64, 64, (sign,)), picture, side=8)
    # Columns 2 to 5 of rows 2 and 3: the 4 on the left half, the 7 on the right one.
    glyphs = found.glyphs.reshape(8, 8, -1)
    four, seven = GLYPHS.index("4"), GLYPHS.index("7")
    assert np.flatnonzero(glyphs[2, :, four] == 1).tolist() == [2, 3]
    assert np.flatnonzero(glyphs[3, :, seven] == 1).tolist() == [4, 5]
    assert np.isnan(glyphs[0]).all()
    fields = found.fields.reshape(8, 8, -1)
    assert (fields[2:4, 2:6, FIELD["tens"]] == 4).all()
    assert (fields[2:4, 2:6, FIELD["ones"]] == 7).all()


def test_cells_tell_what_stands_in_each_quarter_of_a_patch(
    truth: Truth, labels: np.ndarray
) -> None:
    cells = label_patches(truth, labels, side=2).cells
    mug, sign = THING_KINDS.index("mug") + 1, THING_KINDS.index("sign") + 1
    assert cells.tolist() == [[mug] * 4, [0] * 4, [0, mug, 0, mug], [sign] * 4]


def test_each_thing_has_one_middle_patch() -> None:
    mug = Thing("mug_1", "mug", "red", (0, 0, 32, 16), ((0, 0), (32, 0), (32, 16)), 512)
    hidden = Thing("jar_1", "jar", "red", (0, 0, 4, 4), ((0, 0), (4, 0), (4, 4)), 16)
    picture = np.zeros((32, 32), np.uint8)
    picture[:16] = 1
    middle = label_patches(Truth(32, 32, (mug, hidden)), picture, side=4).middle.reshape(4, 4)
    assert middle[:2, 1:3].sum() == 1  # one of the four around (16, 8)
    assert middle.sum() == 1  # what no patch shows has none


def test_a_window_moves_the_boxes(truth: Truth, labels: np.ndarray) -> None:
    lower_right = np.full((32, 32), 2, np.uint8)
    found = label_patches(truth, lower_right, side=2, window=(0.5, 0.5, 1.0, 1.0))
    assert np.allclose(found.box[0], [-0.25, -0.25, 0.75, 0.75])


def test_parts_only_on_their_own_thing(truth: Truth, labels: np.ndarray) -> None:
    parts = label_patches(truth, labels, side=4).parts
    handle = parts[:, PARTS.index("handle")].reshape(4, 4)
    assert handle[0, 0] == 1
    assert handle[3, 3] == 0


def test_a_picture_of_nothing() -> None:
    found = label_patches(Truth(32, 32, ()), np.zeros((32, 32), np.uint8), side=2)
    assert (found.kinds[:, 0] == 1).all()
    assert (found.fields == IGNORE).all()


def test_every_printed_word_has_a_label() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert FIELDS["word"] == len(WORDS)
