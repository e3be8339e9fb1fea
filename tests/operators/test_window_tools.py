"""What the window offers besides asking: ratings, history, copies, pictures, themes."""

import sys

import numpy as np
import pytest
from PIL import Image
from pointer import LEFT, click, drag, typed

from chatspot_ros.operators.window.qt import Qt, QtCore, QtGui, QtWidgets

SHIFT, CTRL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
KEY = Qt.Key


def test_ratings_go_to_the_node_with_their_comment(qtbot, client, seen):
    typed(qtbot, seen, "What?")
    client.answer("a mug")
    qtbot.waitUntil(lambda: seen.panel.cards and seen.panel.cards[0].is_complete)
    card = seen.panel.cards[0]
    qtbot.mouseClick(card.stars[3], LEFT)
    qtbot.keyClicks(card.comment, "a jar, rather")
    qtbot.keyClick(card.comment, KEY.Key_Return)
    assert client.rated == [("id0", 4, ""), ("id0", 4, "a jar, rather")]
    qtbot.waitUntil(card.rating_said.isVisible)
    assert "Thank you" in card.rating_said.text()


def test_a_region_alone_asks_where_a_person_wants_it(qtbot, client, seen):
    seen.question.at_once.click()
    drag(qtbot, seen, (300, 300), (400, 400))
    assert client.asked[0].ask.question == seen.question.quick_questions[0]
    client.answer("a mug")
    qtbot.waitUntil(seen.question.ask_button.isEnabled)
    qtbot.keyClicks(seen.question.line, "Is it hot?")
    click(qtbot, seen, (50, 50))
    assert client.asked[1].ask.question == "Is it hot?"
    assert len(client.asked[1].ask.regions) == 1
    client.answer("no")
    qtbot.waitUntil(seen.question.ask_button.isEnabled)
    seen.tools.undo.click()
    assert len(client.asked) == 2, "nothing is left to ask about"


def test_the_history_is_walked_by_the_arrow_keys(qtbot, client, seen):
    for question in ("One?", "Two?"):
        typed(qtbot, seen, question)
        client.answer("a mug")
        qtbot.waitUntil(seen.question.ask_button.isEnabled)
    line = seen.question.line
    line.clear()
    qtbot.keyClicks(line, "dra")
    for key, text in ((KEY.Key_Up, "Two?"), (KEY.Key_Up, "One?"), (KEY.Key_Down, "Two?"),
                      (KEY.Key_Down, "dra")):  # fmt: skip
        qtbot.keyClick(line, key)
        assert line.text() == text


def test_quick_questions_are_changed_and_asked(qtbot, client, seen):
    seen.question.edit_button.click()
    (dialog,) = seen.findChildren(QtWidgets.QInputDialog)
    dialog.setTextValue("Is it wet & cold?\nIs it on?")
    dialog.accept()
    qtbot.waitUntil(lambda: len(seen.question.buttons) == 2)
    qtbot.mouseClick(seen.question.buttons[0], LEFT)
    assert client.asked[0].ask.question == "Is it wet & cold?"


def test_copy_as_a_service_call(qtbot, client, seen):
    click(qtbot, seen, (300, 300))
    qtbot.keyClicks(seen.question.line, "Is it 'open'?")
    qtbot.mouseClick(seen.tools.copy, LEFT)
    text = QtWidgets.QApplication.clipboard().text()
    assert text.startswith("ros2 service call /region_query_node/region_query ")
    assert "open" in text
    assert "points: [{x: " in text


def test_the_picture_is_saved_with_regions_and_answers(qtbot, client, seen, tmp_path):
    click(qtbot, seen, (300, 300))
    typed(qtbot, seen, "What?")
    client.answer("a red mug")
    qtbot.waitUntil(lambda: "Answered" in seen.status.text())
    seen.save(tmp_path / "a.png")
    assert seen.status.text() == f"Saved {tmp_path / 'a.png'}."
    saved = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert saved.shape == seen.frame.image_rgb.shape
    assert (saved != seen.frame.image_rgb).any()
    seen.save(tmp_path / "none" / "a.png")
    assert "was not saved" in seen.status.text()


def test_what_rqt_keeps_comes_back(qtbot, client, seen):
    from fake_operator import FakeClient

    from chatspot_ros.operators.window.kept_settings import restore, settings_of
    from chatspot_ros.operators.window.operator_widget import OperatorWidget

    typed(qtbot, seen, "One?")
    seen.question.show_quick_questions(("Is it on?",))
    seen.tools.detections.click()
    seen.watch("wrist")
    other = FakeClient(names=("front", "wrist"))
    again = OperatorWidget(other)
    qtbot.addWidget(again)
    restore(again, settings_of(seen))
    assert settings_of(again) == settings_of(seen)
    assert other.watched == ["", "wrist"]
    restore(again, {"history": None, "quick_questions": 5, "camera": 7})
    assert settings_of(again) == settings_of(seen)


def test_another_camera_is_watched_and_asked(qtbot, client, window):
    client.names = ("front", "wrist")
    qtbot.waitUntil(lambda: window.tools.camera.count() == 3)
    window.tools.camera.setCurrentIndex(2)
    window.tools.camera.activated.emit(2)
    assert client.watched == ["", "wrist"]
    client.frame()
    qtbot.waitUntil(lambda: window.frame is not None)
    typed(qtbot, window, "What?")
    assert client.asked[0].ask.camera == "wrist"


def test_after_the_end_no_call_back_does_harm(qtbot, client, seen):
    typed(qtbot, seen, "What?")
    seen.close()
    assert client.is_closed
    client.asked[0].on_text(0, "late")
    client.answer("late")
    qtbot.wait(20)
    assert seen.panel.cards == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_are_readable_in_both_themes(qtbot, qapp, client, theme):
    from chatspot_ros.images.annotate import luminance
    from chatspot_ros.operators.window.theme import apply_theme

    before, style = QtGui.QPalette(qapp.palette()), qapp.style().objectName()
    try:
        apply_theme(qapp, theme)
        palette, role = qapp.palette(), QtGui.QPalette.ColorRole
        for ink, ground in ((role.WindowText, role.Window), (role.Text, role.Base),
                            (role.WindowText, role.AlternateBase), (role.ButtonText, role.Button),
                            (role.PlaceholderText, role.Base),
                            (role.HighlightedText, role.Highlight)):  # fmt: skip
            low, high = sorted(luminance(palette.color(one).getRgb()[:3]) for one in (ink, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)
    finally:
        qapp.setStyle(style)
        qapp.setPalette(before)


def test_a_small_window_has_the_answers_below_and_shows_all(qtbot, client, seen):
    seen.resize(400, 640)
    qtbot.waitUntil(lambda: seen.splitter.orientation() == Qt.Orientation.Vertical)
    for widget in (seen.question.ask_button, seen.tools.save, seen.picture, seen.status):
        box = QtCore.QRect(widget.mapTo(seen, QtCore.QPoint(0, 0)), widget.size())
        assert seen.rect().contains(box), widget


def test_qt_takes_no_references_from_none(qtbot, client, seen):
    """As PySide6 6.12.0 does; before Python 3.12 the program ends when none is left."""
    before = sys.getrefcount(None)
    for _ in range(500):
        seen.status.setText("a")
        seen.picture.update()
    assert sys.getrefcount(None) > before - 100
