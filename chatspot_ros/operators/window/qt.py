"""Which Qt it is: rqt's own binding where there is one (Qt5 or Qt6), else PySide6.

Only what all of them have is used, with enumerations by their full names; the few differences are
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PySide6 import QtCore, QtGui, QtWidgets
    from PySide6.QtCore import Signal
    from PySide6.QtGui import QShortcut
else:
    try:
        from python_qt_binding import QtCore, QtGui, QtWidgets
    except ImportError:
        from PySide6 import QtCore, QtGui, QtWidgets
    Signal = QtCore.Signal
    # Qt6 moved it.
    QShortcut = getattr(QtGui, "QShortcut", None) or QtWidgets.QShortcut

Qt = QtCore.Qt

__all__ = [
    "QShortcut", "Qt", "QtCore", "QtGui", "QtWidgets", "Signal", "bind_key", "place_of",
    "status_label",
    "to_qimage",
]  # fmt: skip


def place_of(event: QtGui.QMouseEvent | QtGui.QWheelEvent) -> tuple[float, float]:
    """Return where an event was in its widget, in logical pixels with fractions."""
    # Qt5's mouse events say localPos.
    at = event.position() if hasattr(event, "position") else event.localPos()  # type: ignore[union-attr]
    return at.x(), at.y()


def to_qimage(image_rgb: NDArray[np.uint8]) -> QtGui.QImage:
    """Return a picture (H x W x 3, RGB, 0 to 255) as an image of its own memory."""
    height, width = image_rgb.shape[:2]
    data = np.ascontiguousarray(image_rgb).tobytes()
    return QtGui.QImage(
        data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888
    ).copy()  # fmt: skip


def bind_key(owner: QtWidgets.QWidget, keys: str, call: object) -> QtGui.QShortcut:
    """Call `call` when `keys` are pressed in the owner or a part of it; return the shortcut."""
    shortcut = QShortcut(QtGui.QKeySequence(keys), owner)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(call)
    return shortcut


def status_label(name: str) -> QtWidgets.QLabel:
    """Return a label for a line of plain words, which a person may copy."""
    label = QtWidgets.QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setAccessibleName(name)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
