"""The live picture that a person draws on: it turns pointer and keys into gestures of a Drawing.

Left click: a point, or the detection there. Left drag: a box. Right click: a corner of a polygon.
Wheel: zoom. Middle drag, or Ctrl and left drag: pan. Ctrl and click: a point, also on a detection.
Shift: one more region, where a question was asked about those that are drawn.
"""

from __future__ import annotations

from collections.abc import Callable

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import Frame
from chatspot_ros.operators.drawing import Drawing, colour_of
from chatspot_ros.operators.picture_view import PictureView
from chatspot_ros.operators.window import painting
from chatspot_ros.operators.window.qt import (
    Qt,
    QtCore,
    QtGui,
    QtWidgets,
    Signal,
    place_of,
    to_qimage,
)

# How far a pointer may slip during a click, in view pixels.
_SLOP = 4.0
_ZOOM_STEP = 1.25
# The arrow keys move the cursor by this share of what is seen; with Ctrl by one pixel.
_STEP_SHARE = 1 / 40
_ARROWS: dict[int, tuple[int, int]] = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
# Behind and beside the picture, in every theme.
_GROUND = QtGui.QColor(32, 33, 36)
Xy = tuple[float, float]


class PictureWidget(QtWidgets.QWidget):
    """A picture with a drawing over it; `drawing` holds image pixels, this widget only shows."""

    changed = Signal()  # the regions are others now
    touched = Signal()  # a gesture begins
    escaped = Signal()
    question_wanted = Signal()  # Enter, with no polygon to end

    def __init__(self, drawing: Drawing, parent: QtWidgets.QWidget | None = None) -> None:
        """Show `drawing`; the picture comes by `show_frame`."""
        super().__init__(parent)
        self.drawing = drawing
        self.view = PictureView((1, 1), (1.0, 1.0))
        self.shows_detections = True
        self.hint = ""
        self._grounded: tuple[Region, ...] = ()
        self._image: QtGui.QImage | None = None
        self._cursor_px: Xy | None = None
        self._pointer_px: Xy | None = None
        self._pan_from: Xy | None = None
        self._has_panned = False
        self._box_by_keys = False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setMinimumSize(160, 120)
        self.setAccessibleName("picture")
        self.setAccessibleDescription(
            "Arrow keys move a cursor; Space marks a point or a detection, B begins and ends a "
            "box, C sets a corner, Enter ends a polygon, Escape clears."
        )

    # --- what is shown ---

    def sizeHint(self) -> QtCore.QSize:
        """Return the size of a usual camera's picture."""
        return QtCore.QSize(640, 480)

    def show_frame(self, frame: Frame) -> None:
        """Show a frame; the zoom stays where its size does."""
        height, width = frame.image_rgb.shape[:2]
        self._image = to_qimage(frame.image_rgb)
        self.view = self.view.of_image(width, height).of_view(self.width(), self.height())
        self.drawing.image_wh = (width, height)
        self._offer(frame.detections)
        self.update()

    def show_grounded(self, places: tuple[Region, ...]) -> None:
        """Draw back the places that the answers name."""
        self._grounded = places
        self.update()

    def show_detections(self, shown: bool, detections: tuple[Region, ...]) -> None:
        """Show detections, and let a click choose them, or not."""
        self.shows_detections = shown
        self._offer(detections)
        self.update()

    def show_hint(self, hint: str) -> None:
        """Show a line of help over the picture; nothing where it is empty."""
        if hint != self.hint:
            self.hint = hint
            self.update()

    def zoom(self, factor: float) -> None:
        """Zoom about the middle, or about the keys' cursor."""
        about = self.view.to_view(self._cursor_px) if self._cursor_px else None
        self._look(self.view.zoomed(factor, about))

    def zoom_in(self) -> None:
        """Zoom in by a step."""
        self.zoom(_ZOOM_STEP)

    def zoom_out(self) -> None:
        """Zoom out by a step."""
        self.zoom(1 / _ZOOM_STEP)

    def fit(self) -> None:
        """Show the whole picture."""
        self._look(self.view.whole())

    def _look(self, view: PictureView) -> None:
        self.view = view
        self.update()

    def _offer(self, detections: tuple[Region, ...]) -> None:
        self.drawing.detections = detections if self.shows_detections else ()

    # --- painting ---

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Paint picture, detections, places and regions."""
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), _GROUND)
        if self._image is None:
            self._paint_words(painter, self.hint or "waiting for a picture")
            painter.end()
            return
        view = self.view
        x1, y1 = view.to_view((0.0, 0.0))
        x2, y2 = view.to_view((float(view.image_wh[0]), float(view.image_wh[1])))
        smooth = QtGui.QPainter.RenderHint.SmoothPixmapTransform
        # Far in, a person counts pixels.
        painter.setRenderHint(smooth, view.scale < 6)
        painter.drawImage(QtCore.QRectF(x1, y1, x2 - x1, y2 - y1), self._image)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing, True)
        drawing = self.drawing
        hovered = drawing.detection_at(self._pointer_px) if self._pointer_px else None
        painting.paint_detections(painter, view, drawing.detections, hovered)
        painting.paint_grounded(painter, view, self._grounded)
        painting.paint_drawn(painter, view, drawing.drawn)
        if (region := drawing.unfinished) is not None:
            painting.paint_unfinished(painter, view, region, colour_of(len(drawing.regions) + 1))
        if self._cursor_px is not None and self.hasFocus():
            painting.paint_cursor(painter, view, self._cursor_px)
        if self.hint:
            self._paint_hint(painter)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(
                QtGui.QPen(self.palette().color(QtGui.QPalette.ColorRole.Highlight), 2.0)
            )
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        painter.end()

    def _paint_words(self, painter: QtGui.QPainter, words: str) -> None:
        painter.setPen(QtGui.QColor(255, 255, 255))
        box = self.rect().adjusted(20, 20, -20, -20)
        painter.drawText(
            QtCore.QRectF(box),
            words,
            QtGui.QTextOption(Qt.AlignmentFlag.AlignCenter),
        )

    def _paint_hint(self, painter: QtGui.QPainter) -> None:
        metrics = QtGui.QFontMetricsF(painter.font())
        text = metrics.elidedText(self.hint, Qt.TextElideMode.ElideRight, self.width() - 24.0)
        width, height = metrics.horizontalAdvance(text) + 12, metrics.height() + 6
        box = QtCore.QRectF(self.width() - width - 6, 6.0, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(0, 0, 0, 170))
        painter.drawRoundedRect(box, 4.0, 4.0)
        painter.setPen(QtGui.QColor(255, 255, 255))
        painter.drawText(box, text, QtGui.QTextOption(Qt.AlignmentFlag.AlignCenter))

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Fit the view to the new size."""
        self.view = self.view.of_view(self.width(), self.height())

    # --- the pointer ---

    @property
    def _slop_px(self) -> float:
        return _SLOP / self.view.scale

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Begin a click, a box, a pan, or set a corner."""
        if self._image is None:
            return
        at, button = place_of(event), event.button()
        held = event.modifiers()
        self._cursor_px, self._box_by_keys = None, False
        is_pan = button == Qt.MouseButton.LeftButton and held & Qt.KeyboardModifier.ControlModifier
        if button == Qt.MouseButton.MiddleButton or is_pan:
            self._pan_from, self._has_panned = at, False
        elif button == Qt.MouseButton.LeftButton:
            self.touched.emit()
            self.drawing.press(self.view.to_image(at))
        elif button == Qt.MouseButton.RightButton:
            self.touched.emit()
            self._tell(
                self.drawing.corner(self.view.to_image(at), self._slop_px, keep=_keeps(held))
            )
        self.update()

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Go on with a box or a pan; light up the detection below."""
        at = place_of(event)
        if self._pan_from is not None:
            right, down = at[0] - self._pan_from[0], at[1] - self._pan_from[1]
            if self._has_panned or abs(right) + abs(down) > _SLOP:
                self._has_panned, self._pan_from = True, at
                self.view = self.view.panned(right, down)
        else:
            self._pointer_px = self.view.to_image(at)
            self.drawing.move(self._pointer_px)
        self.update()

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """End a click, a box or a pan."""
        at_px, button, held = self.view.to_image(place_of(event)), event.button(), event.modifiers()
        if self._pan_from is not None and button in (
            Qt.MouseButton.MiddleButton, Qt.MouseButton.LeftButton,
        ):  # fmt: skip
            self._pan_from = None
            if not self._has_panned and button == Qt.MouseButton.LeftButton:
                # Ctrl and a click: a point, also on a detection.
                self.touched.emit()
                self.drawing.press(at_px)
                self._release(at_px, keep=_keeps(held), point=True)
        elif button == Qt.MouseButton.LeftButton:
            self._release(at_px, keep=_keeps(held))
        self.update()

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:
        """End a polygon by a double click of the right button; else it is a click as any."""
        if event.button() == Qt.MouseButton.RightButton and self.drawing.corners:
            self._tell(self.drawing.close(keep=_keeps(event.modifiers())))
            self.update()
        else:
            self.mousePressEvent(event)

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """Forget the pointer."""
        self._pointer_px = None
        self.update()

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        """Zoom about the pointer."""
        steps = event.angleDelta().y() / 120
        if self._image is not None and steps:
            self._look(self.view.zoomed(_ZOOM_STEP**steps, place_of(event)))
        event.accept()

    def _release(self, at_px: Xy, *, keep: bool, point: bool = False) -> None:
        self._tell(self.drawing.release(at_px, self._slop_px, keep=keep, point=point))

    def _tell(self, has_changed: bool) -> None:
        self.update()
        if has_changed:
            self.changed.emit()

    # --- the keys ---

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Move the cursor, draw at it, zoom, clear."""
        key, held = event.key(), event.modifiers()
        if key == Qt.Key.Key_Escape:
            self.escaped.emit()
            return
        calls: dict[int, Callable[[], None]] = {
            Qt.Key.Key_Plus: self.zoom_in,
            Qt.Key.Key_Equal: self.zoom_in,
            Qt.Key.Key_Minus: self.zoom_out,
            Qt.Key.Key_0: self.fit,
            Qt.Key.Key_Return: self._end_polygon,
            Qt.Key.Key_Enter: self._end_polygon,
            Qt.Key.Key_Backspace: self.undo,
            Qt.Key.Key_Delete: self.undo,
        }
        if key in calls:
            calls[key]()
        elif key in _ARROWS and self._image is not None:
            self._step(*_ARROWS[key], fine=bool(held & Qt.KeyboardModifier.ControlModifier))
        elif key in (Qt.Key.Key_Space, Qt.Key.Key_B, Qt.Key.Key_C) and self._image is not None:
            self._draw_by_key(key, keep=_keeps(held))
        else:
            super().keyPressEvent(event)

    def undo(self) -> None:
        """Drop the last corner or region."""
        self._tell(self.drawing.undo())

    def _end_polygon(self) -> None:
        if self.drawing.corners:
            self._tell(self.drawing.close())
        else:
            self.question_wanted.emit()

    def _step(self, right: int, down: int, *, fine: bool) -> None:
        width, height = self.view.image_wh
        seen = min(self.view.view_wh) / self.view.scale
        step = 1.0 if fine else max(1.0, round(min(seen, width, height) * _STEP_SHARE))
        x, y = self._cursor_px or self.view.to_image((self.width() / 2, self.height() / 2))
        x, y = (
            min(max(round(x + right * step), 0), width),
            min(max(round(y + down * step), 0), height),
        )
        self._cursor_px = self._pointer_px = (float(x), float(y))
        self.drawing.move(self._cursor_px)
        at = self.view.to_view(self._cursor_px)
        # The picture follows a cursor that would leave the view.
        out = [min(max(v, 0.0), size) - v for v, size in zip(at, self.view.view_wh, strict=True)]
        self._look(self.view.panned(*out) if any(out) else self.view)

    def _draw_by_key(self, key: int, *, keep: bool) -> None:
        at_px = self._cursor_px or self.view.to_image((self.width() / 2, self.height() / 2))
        self._cursor_px = at_px
        self.touched.emit()
        if key == Qt.Key.Key_C:
            self._tell(self.drawing.corner(at_px, self._slop_px, keep=keep))
        elif key == Qt.Key.Key_B and self._box_by_keys:
            self._box_by_keys = False
            self._release(at_px, keep=keep)
        else:
            self.drawing.press(at_px)
            self._box_by_keys = key == Qt.Key.Key_B
            if not self._box_by_keys:
                self._release(at_px, keep=keep)
        self.update()


def _keeps(held: Qt.KeyboardModifier) -> bool:
    return bool(held & Qt.KeyboardModifier.ShiftModifier)
