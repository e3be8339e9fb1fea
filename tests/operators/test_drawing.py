import pytest

from chatspot_ros.core.regions import MAX_CORNERS, Region, RegionKind
from chatspot_ros.operators.drawing import Drawing, in_words, scaled

CUP = Region(((10, 10), (30, 30)), id="a", label="cup")
TABLE = Region(((0, 0), (90, 60)), id="b", label="table")


@pytest.fixture
def drawing() -> Drawing:
    made = Drawing()
    made.image_wh = (100, 60)
    return made


def drag(drawing: Drawing, begin, end, **how) -> bool:
    drawing.press(begin)
    drawing.move(end)
    return drawing.release(end, 2.0, **how)


def test_a_click_is_a_point_and_a_drag_a_box(drawing):
    assert drag(drawing, (5, 6), (5, 7))
    assert drag(drawing, (50, 40), (20, 10))
    assert [one.points_px for one in drawing.regions] == [((5, 7),), ((20, 10), (50, 40))]
    assert [one.number for one in drawing.drawn] == [1, 2]
    assert drawing.drawn[0].colour != drawing.drawn[1].colour


def test_a_box_ends_at_the_edge_of_the_picture(drawing):
    drawing.press((50, 40))
    drawing.move((1000, -70))
    assert drawing.unfinished == Region.box(50, 0, 100, 40)
    assert drawing.release((1000, -70), 2.0)
    assert drawing.regions == (Region.box(50, 0, 100, 40),)


@pytest.mark.parametrize(
    "begin_end", [((-9, -9), (-9, -9)), ((-9, 5), (-3, 50)), ((101, 5), (101, 5))]
)
def test_what_lies_beside_the_picture_is_no_region(drawing, begin_end):
    assert not drag(drawing, *begin_end)
    assert drawing.regions == ()


def test_nothing_is_drawn_before_the_first_picture():
    empty = Drawing()
    assert not drag(empty, (1, 1), (1, 1))
    assert not empty.corner((1, 1), 2.0)


def test_corners_make_a_polygon_that_ends_on_the_first(drawing):
    corners = [(10, 10), (40, 10), (40, 50)]
    for corner in corners:
        assert not drawing.corner(corner, 2.0)
    drawing.move((20, 30))
    assert drawing.unfinished.points_px == (*corners, (20, 30))
    assert drawing.corner((11, 11), 2.0)
    assert drawing.regions == (Region.polygon(corners),)
    assert not drawing.is_busy


def test_two_corners_are_no_polygon_and_the_most_corners_end_it(drawing):
    drawing.corner((10, 10), 0.0)
    drawing.corner((10, 10), 0.0)
    drawing.corner((20, 10), 0.0)
    assert not drawing.close()
    for k in range(MAX_CORNERS - 2):
        drawing.corner((10 + k, 20 + k % 2), 0.0)
    assert drawing.regions[0].kind is RegionKind.POLYGON
    assert len(drawing.regions[0].points_px) == MAX_CORNERS


def test_escape_drops_what_is_unfinished_first_then_all(drawing):
    drag(drawing, (5, 5), (20, 20))
    drawing.corner((30, 30), 2.0)
    drawing.escape()
    assert not drawing.is_busy
    assert len(drawing.regions) == 1
    drawing.press((1, 1))
    drawing.escape()
    assert not drawing.release((50, 50), 2.0)
    drawing.escape()
    assert drawing.regions == ()


def test_undo_drops_the_last_corner_then_the_last_region(drawing):
    drag(drawing, (5, 5), (20, 20))
    drawing.corner((30, 30), 2.0)
    assert drawing.undo()
    assert len(drawing.regions) == 1
    assert drawing.undo()
    assert not drawing.undo()


def test_one_click_chooses_the_smallest_detection_and_another_drops_it(drawing):
    drawing.detections = (TABLE, CUP)
    drag(drawing, (20, 20), (20, 20))
    assert drawing.regions == (CUP,)
    assert drawing.is_chosen(CUP)
    drag(drawing, (60, 40), (60, 40))
    assert drawing.regions == (CUP, TABLE)
    drag(drawing, (20, 20), (20, 20))
    assert drawing.regions == (TABLE,)
    drag(drawing, (20, 20), (20, 20), point=True)
    assert drawing.regions[1] == Region.point(20, 20)


def test_the_first_region_after_a_question_begins_a_new_drawing(drawing):
    drag(drawing, (5, 5), (5, 5))
    drawing.asked()
    drag(drawing, (6, 6), (6, 6), keep=True)
    assert len(drawing.regions) == 2
    drawing.asked()
    drag(drawing, (7, 7), (7, 7))
    assert drawing.regions == (Region.point(7, 7),)
    drag(drawing, (8, 8), (8, 8))
    assert len(drawing.regions) == 2


def test_a_region_in_words_and_on_a_larger_picture():
    assert in_words(CUP) == "cup"
    assert in_words(Region.box(1, 2, 30, 40)) == "box 1, 2 to 30, 40"
    assert in_words(Region.image()) == "the whole picture"
    assert scaled(CUP, 2).points_px == ((20, 20), (60, 60))
    assert scaled(CUP, 2).label == "cup"
