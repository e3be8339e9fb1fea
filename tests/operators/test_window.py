"""The window on a client without a node; tests/ros/test_window_and_node.py has a node."""

import pytest
from fake_operator import CUP
from pointer import LEFT, MIDDLE, RIGHT, click, drag, place, typed, wheel

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.operators.client import OK, UNREACHABLE, Answer, Reply
from chatspot_ros.operators.window.qt import Qt, QtGui, QtWidgets

SHIFT, CTRL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
KEY = Qt.Key


def test_a_click_a_question_and_its_answer_as_it_comes(qtbot, client, seen):
    click(qtbot, seen, (300, 300))
    assert seen.is_still, "the answer shall be about the picture that was drawn on"
    typed(qtbot, seen, "What is this?")
    ask = client.asked[0].ask
    assert ask.question == "What is this?"
    assert ask.stamp_ns == 1
    ((x, y),) = ask.regions[0].points_px
    assert (x, y) == (pytest.approx(300, abs=1), pytest.approx(300, abs=1))
    client.asked[0].on_text(0, "a red ")
    qtbot.waitUntil(lambda: seen.panel.cards and "a red" in seen.panel.cards[0].text.text())
    client.asked[0].on_text(0, "mug")
    qtbot.waitUntil(lambda: "a red mug" in seen.panel.cards[0].text.text())
    client.answer("a red mug", model="tiny", answering_s=0.5)
    qtbot.waitUntil(lambda: "Answered in 0.50 s by tiny." in seen.status.text())
    assert seen.panel.cards[0].text.text() == "a red mug"
    assert seen.panel.cards[0].sureness.text() == "90%"


@pytest.mark.parametrize("wh", [(640, 480), (1920, 1080), (333, 777), (31, 17)])
def test_a_box_at_any_zoom_is_in_image_pixels(qtbot, client, window, wh):
    client.frame(wh=wh)
    qtbot.waitUntil(lambda: window.frame is not None)
    middle = (wh[0] / 2, wh[1] / 2)
    wheel(window.picture, place(window, middle), 3)
    assert window.picture.view.zoom == pytest.approx(1.25**3)
    begin, end = (wh[0] * 0.45, wh[1] * 0.4), (wh[0] * 0.6, wh[1] * 0.55)
    drag(qtbot, window, begin, end)
    (region,) = window.drawing.regions
    half = 0.51 / window.picture.view.scale  # events have whole view pixels
    assert region.box_xyxy_px == pytest.approx((*begin, *end), abs=half)


def test_the_middle_button_pans_and_draws_nothing(qtbot, seen):
    wheel(seen.picture, place(seen, (320, 240)), 4)
    before = seen.picture.view.to_image((100, 100))
    drag(qtbot, seen, (320, 240), (350, 220), MIDDLE)
    after = seen.picture.view.to_image((100, 100))
    assert after[0] == pytest.approx(before[0] - 30, abs=1)
    assert after[1] == pytest.approx(before[1] + 20, abs=1)
    assert seen.drawing.regions == ()
    assert not seen.is_still


def test_right_clicks_make_a_polygon_and_escape_clears(qtbot, client, seen):
    for corner in ((300, 100), (400, 100), (400, 300)):
        click(qtbot, seen, corner, RIGHT)
    click(qtbot, seen, (300, 100), RIGHT)
    assert seen.drawing.regions[0].kind is RegionKind.POLYGON
    click(qtbot, seen, (50, 50), RIGHT)
    qtbot.keyClick(seen.picture, KEY.Key_Escape)
    assert len(seen.drawing.regions) == 1
    qtbot.keyClick(seen.picture, KEY.Key_Escape)
    assert seen.drawing.regions == ()
    assert not seen.is_still


def test_escape_clears_while_the_question_is_typed(qtbot, seen):
    click(qtbot, seen, (50, 50))
    seen.activateWindow()
    seen.question.line.setFocus()
    qtbot.keyClick(seen.question.line, KEY.Key_Escape)
    qtbot.waitUntil(lambda: seen.drawing.regions == ())


def test_a_click_chooses_a_detection_and_ctrl_a_point_in_it(qtbot, client, seen):
    click(qtbot, seen, (150, 150))
    assert seen.drawing.regions == (CUP,)
    click(qtbot, seen, (150, 150))
    assert seen.drawing.regions == ()
    click(qtbot, seen, (150, 150), held=CTRL)
    assert seen.drawing.regions[0].kind is RegionKind.POINT
    seen.tools.detections.click()
    click(qtbot, seen, (160, 160))
    assert [one.kind for one in seen.drawing.regions] == [RegionKind.POINT] * 2


def test_after_an_answer_a_new_region_stands_alone_unless_shift_is_held(qtbot, client, seen):
    click(qtbot, seen, (300, 300))
    typed(qtbot, seen, "What?")
    client.answer("a mug")
    qtbot.waitUntil(lambda: "Answered" in seen.status.text())
    click(qtbot, seen, (400, 300), held=SHIFT)
    assert len(seen.drawing.regions) == 2
    typed(qtbot, seen, "Which?")
    client.answer("a mug", "a jar")
    qtbot.waitUntil(lambda: len(seen.panel.cards) == 2)
    click(qtbot, seen, (20, 20))
    assert len(seen.drawing.regions) == 1


def test_all_by_keys(qtbot, client, seen):
    seen.picture.setFocus()
    for key, times in ((KEY.Key_Right, 3), (KEY.Key_Space, 1), (KEY.Key_Left, 6), (KEY.Key_B, 1)):
        for _ in range(times):
            qtbot.keyClick(seen.picture, key)
    qtbot.keyClick(seen.picture, KEY.Key_Down, CTRL)
    for key, times in ((KEY.Key_Right, 1), (KEY.Key_Down, 2), (KEY.Key_B, 1)):
        for _ in range(times):
            qtbot.keyClick(seen.picture, key)
    point, box = seen.drawing.regions
    step = 12  # a fortieth of 480 pixels
    assert point == Region.point(320 + 3 * step, 240)
    assert box == Region.box(320 - 3 * step, 240, 320 - 2 * step, 241 + 2 * step)
    for key in (KEY.Key_C, KEY.Key_Right, KEY.Key_C, KEY.Key_Down, KEY.Key_C, KEY.Key_Return):
        qtbot.keyClick(seen.picture, key)
    assert seen.drawing.regions[2].kind is RegionKind.POLYGON
    qtbot.keyClick(seen.picture, KEY.Key_Backspace)
    assert len(seen.drawing.regions) == 2
    qtbot.keyClick(seen.picture, KEY.Key_Plus)
    assert seen.picture.view.zoom == pytest.approx(1.25)
    qtbot.keyClick(seen.picture, KEY.Key_0)
    assert seen.picture.view.zoom == 1
    seen.activateWindow()
    qtbot.keyClick(seen.picture, KEY.Key_Return)
    qtbot.waitUntil(seen.question.line.hasFocus)
    qtbot.keyClick(seen.question.line, KEY.Key_1, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: len(client.asked) == 1)
    assert client.asked[0].ask.question == seen.question.quick_questions[0]


def test_every_control_is_reached_by_tab_and_has_a_name(qtbot, seen):
    seen.activateWindow()
    seen.picture.setFocus()
    reached = set()
    for _ in range(60):
        focused = seen.focusWidget()
        reached.add(focused)
        qtbot.keyClick(focused, KEY.Key_Tab)
    kinds = (QtWidgets.QAbstractButton, QtWidgets.QLineEdit, QtWidgets.QComboBox)
    controls = [
        one for kind in kinds for one in seen.findChildren(kind)
        if one.isVisible() and one.isEnabled() and one.parent() is not seen.question.line
    ]  # fmt: skip
    assert len(controls) > 15
    assert [one for one in controls if one not in reached] == []
    for one in controls:
        text = one.text() if isinstance(one, QtWidgets.QAbstractButton) else ""
        assert one.accessibleName() or len(text) > 1, one


def test_state_steps_places_and_doubt_are_shown(qtbot, client, seen):
    click(qtbot, seen, (300, 300))
    typed(qtbot, seen, "What now?")
    answer = Answer(
        "open the fridge", client.asked[0].ask.regions, {"door": "closed"}, ("open fridge",),
        (Region(((500, 400), (600, 470)), label="handle"),), 0.3, uncertain=True,
        print_lines=("MILK",), sources=("a.md:1",), answer_id="x",
    )  # fmt: skip
    before = seen.picture.grab().toImage()
    client.asked[0].on_reply(Reply(OK, answers=(answer,)))
    qtbot.waitUntil(lambda: "Answered" in seen.status.text())
    (card,) = seen.panel.cards
    (table,) = card.findChildren(QtWidgets.QTableWidget)
    assert [table.item(0, column).text() for column in (0, 1)] == ["door", "closed"]
    words = "\n".join(label.text() for label in card.findChildren(QtWidgets.QLabel))
    for word in ("open the fridge", "1.  open fridge", "30%", "not sure", "MILK", "a.md:1"):
        assert word in words
    after = seen.picture.grab().toImage()
    at = seen.picture.view.to_view((500, 440))
    colours = [
        QtGui.QColor(after.pixel(round(at[0]) + dx, round(at[1]) + dy)).lightness()
        for dx in (-1, 0, 1) for dy in range(12)
    ]  # fmt: skip
    assert max(colours) > 200, "the place's outline is white"
    assert before != after


def test_one_question_at_a_time_and_cancel(qtbot, client, seen):
    typed(qtbot, seen, "What?")
    typed(qtbot, seen, "And?")
    assert len(client.asked) == 1
    assert not seen.question.ask_button.isEnabled()
    qtbot.mouseClick(seen.question.cancel_button, LEFT)
    assert client.asked[0].was_cancelled
    qtbot.waitUntil(lambda: seen.status.text() == "Cancelled: stopped by the caller")
    assert seen.question.ask_button.isEnabled()
    typed(qtbot, seen, "Again?")
    assert len(client.asked) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [("BUSY", "The node is busy: come later"), (UNREACHABLE, "The node cannot be reached"),
     ("NOT_ACTIVE", "The node is not active")],
)  # fmt: skip
def test_clear_words_where_there_is_no_answer(qtbot, client, seen, status, words):
    typed(qtbot, seen, "What?")
    client.asked[0].on_text(0, "a re")
    client.answer(status=status, message="come later")
    qtbot.waitUntil(lambda: words in seen.status.text())
    assert "a re" in seen.panel.cards[0].text.text(), "what had come stays"
    assert seen.question.ask_button.isEnabled()


def test_a_problem_of_the_node_is_shown_while_it_lasts(qtbot, client, window):
    client.said = "the node is missing: start it"
    qtbot.waitUntil(window.problem.isVisible)
    assert window.problem.text() == client.said
    client.said = ""
    qtbot.waitUntil(lambda: not window.problem.isVisible())


def test_a_still_picture_stays_while_new_ones_come(qtbot, client, seen):
    seen.tools.freeze.click()
    client.frame(2, grey=10)
    client.frame(3, grey=20)
    qtbot.wait(50)
    assert seen.frame.stamp_ns == 1
    typed(qtbot, seen, "What?")
    assert client.asked[0].ask.stamp_ns == 1
    seen.tools.freeze.click()
    assert seen.frame.stamp_ns == 3, "the newest one, at once"


def test_detections_that_come_late_are_shown_on_a_still_picture(qtbot, client, window):
    client.frame(5)
    qtbot.waitUntil(lambda: window.frame is not None)
    click(qtbot, window, (10, 10))
    client.frame(5, detections=(CUP,))
    qtbot.waitUntil(lambda: window.drawing.detections == (CUP,))
    assert len(window.drawing.regions) == 1


def test_without_regions_the_newest_picture_is_asked_again_and_again(qtbot, client, seen):
    typed(qtbot, seen, "What?")
    client.answer("a kitchen")
    qtbot.waitUntil(lambda: "Answered" in seen.status.text())
    assert seen.is_still
    client.frame(2)
    qtbot.wait(20)
    typed(qtbot, seen, "And now?")
    assert client.asked[1].ask.stamp_ns == 2


def test_a_picture_that_the_node_no_longer_holds_is_sent(qtbot, client, seen):
    click(qtbot, seen, (300, 300))
    typed(qtbot, seen, "What?")
    client.answer(status="FRAME_EXPIRED", message="gone")
    qtbot.waitUntil(lambda: len(client.asked) == 2)
    again = client.asked[1].ask
    assert again.picture is seen.frame
    assert again.regions == client.asked[0].ask.regions
    client.answer(status="FRAME_EXPIRED", message="gone")
    qtbot.waitUntil(lambda: "no longer holds" in seen.status.text())
    assert len(client.asked) == 2, "not for ever"


def test_a_conversation_keeps_its_session_and_a_new_one_begins(qtbot, client, seen):
    seen.tools.conversation.click()
    click(qtbot, seen, (300, 300))
    for question in ("What?", "And its colour?"):
        typed(qtbot, seen, question)
        client.answer("a mug")
        qtbot.waitUntil(seen.question.ask_button.isEnabled)
    first, second = (one.ask for one in client.asked)
    assert first.session
    assert second.session == first.session
    assert (first.stamp_ns, second.stamp_ns) == (1, 0), "the session's own frame"
    assert "What? – a mug" in seen.panel._earlier.text()
    seen.tools.session.click()
    assert seen.panel.cards == []
    typed(qtbot, seen, "What?")
    assert client.asked[2].ask.session not in ("", first.session)
    seen.tools.conversation.click()
    client.answer("a mug")
    qtbot.waitUntil(seen.question.ask_button.isEnabled)
    typed(qtbot, seen, "What?")
    assert client.asked[3].ask.session == ""
