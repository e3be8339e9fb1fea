"""A layout that goes on in the next row where a row is full."""

from __future__ import annotations

from chatspot_ros.operators.window.qt import QtCore, QtWidgets

_GAP = 4


class FlowLayout(QtWidgets.QLayout):
    """Widgets from left to right, in as many rows as they need."""

    def __init__(self) -> None:
        """Start without widgets."""
        super().__init__()
        self._items: list[QtWidgets.QLayoutItem] = []
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QtWidgets.QLayoutItem) -> None:
        """Add an item at the end (QLayout)."""
        self._items.append(item)

    def count(self) -> int:
        """Return the number of items (QLayout)."""
        return len(self._items)

    def itemAt(self, index: int) -> QtWidgets.QLayoutItem:
        """Return an item, or None (QLayout)."""
        return self._items[index] if 0 <= index < len(self._items) else None  # type: ignore[return-value]

    def takeAt(self, index: int) -> QtWidgets.QLayoutItem:
        """Remove and return an item, or None (QLayout)."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None  # type: ignore[return-value]

    def hasHeightForWidth(self) -> bool:
        """Return that the rows depend on the width (QLayout)."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height of all rows at a width (QLayout)."""
        return self._lay(QtCore.QRect(0, 0, width, 0), is_trial=True)

    def setGeometry(self, rect: QtCore.QRect) -> None:
        """Lay the items into a rectangle (QLayout)."""
        super().setGeometry(rect)
        self._lay(rect, is_trial=False)

    def sizeHint(self) -> QtCore.QSize:
        """Return the smallest size: rows come as they must (QLayout)."""
        return self.minimumSize()

    def minimumSize(self) -> QtCore.QSize:
        """Return the size of the largest item (QLayout)."""
        size = QtCore.QSize()
        for item in self._items:
            size = size.expandedTo(item.minimumSize())
        return size

    def _lay(self, rect: QtCore.QRect, *, is_trial: bool) -> int:
        """Place the items, each in the middle of its row's height; return the height of all."""
        y = rect.y()
        for row in self._rows(rect.width()):
            height = max(item.sizeHint().height() for item in row)
            x = rect.x()
            for item in row:
                size = item.sizeHint()
                if not is_trial:
                    top = y + (height - size.height()) // 2
                    width = min(size.width(), rect.width())
                    item.setGeometry(QtCore.QRect(x, top, width, size.height()))
                x += size.width() + _GAP
            y += height + _GAP
        return max(y - _GAP - rect.y(), 0)

    def _rows(self, width: int) -> list[list[QtWidgets.QLayoutItem]]:
        rows: list[list[QtWidgets.QLayoutItem]] = []
        left = 0
        for item in (one for one in self._items if not one.isEmpty()):
            needed = item.sizeHint().width()
            if not rows or needed > left:
                rows.append([])
                left = width
            rows[-1].append(item)
            left -= needed + _GAP
        return rows
