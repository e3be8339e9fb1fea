"""A person at the window: real mouse and key events at places of the picture."""

from __future__ import annotations

from typing import Any

from chatspot_ros.operators.window.qt import Qt, QtCore, QtGui, QtWidgets

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
MIDDLE = Qt.MouseButton.MiddleButton
NONE = Qt.KeyboardModifier.NoModifier
Xy = tuple[float, float]


def place(window: Any, at_px: Xy) -> Any:
    """Return the widget's place (whole view pixels) at an image pixel."""
    x, y = window.picture.view.to_view(at_px)
    return QtCore.QPoint(round(x), round(y))


def click(qtbot: Any, window: Any, at_px: Xy, button: Any = LEFT, held: Any = NONE) -> None:
    qtbot.mouseClick(window.picture, button, held, place(window, at_px))


def drag(qtbot: Any, window: Any, begin_px: Xy, end_px: Xy, button: Any = LEFT) -> None:
    """Press, move in steps and release, as a hand does."""
    begin, end = place(window, begin_px), place(window, end_px)
    qtbot.mousePress(window.picture, button, NONE, begin)
    for share in (0.3, 0.7, 1.0):
        at = begin + (end - begin) * share
        send_move(window.picture, at, button)
    qtbot.mouseRelease(window.picture, button, NONE, end)


def send_move(widget: Any, at: Any, button: Any) -> None:
    """Send a move with a button held, which QTest's move does not."""
    local = QtCore.QPointF(at)
    event = QtGui.QMouseEvent(
        QtCore.QEvent.Type.MouseMove,
        local,
        QtCore.QPointF(widget.mapToGlobal(at)),
        button,
        button,
        NONE,
    )
    QtWidgets.QApplication.sendEvent(widget, event)


def wheel(widget: Any, at: Any, steps: int) -> None:
    event = QtGui.QWheelEvent(
        QtCore.QPointF(at),
        QtCore.QPointF(widget.mapToGlobal(at)),
        QtCore.QPoint(0, 0),
        QtCore.QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton,
        NONE,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QtWidgets.QApplication.sendEvent(widget, event)


def typed(qtbot: Any, window: Any, text: str) -> None:
    """Type a question and ask it."""
    qtbot.keyClicks(window.question.line, text)
    qtbot.keyClick(window.question.line, Qt.Key.Key_Return)
