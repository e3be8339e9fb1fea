"""Paint regions over a picture in a view: outlines of equal width at every zoom, and numbers."""

from __future__ import annotations

from collections.abc import Iterable

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.images.annotate import Colour
from chatspot_ros.operators.drawing import Drawn
from chatspot_ros.operators.picture_view import PictureView
from chatspot_ros.operators.window.qt import Qt, QtCore, QtGui

_WIDE, _THIN = 2.5, 1.5
_CROSS = 9.0
_PADDING = 4.0
_WHITE = QtGui.QColor(255, 255, 255)
_SHADE = QtGui.QColor(0, 0, 0, 150)


def paint_drawn(painter: QtGui.QPainter, view: PictureView, drawn: Iterable[Drawn]) -> None:
    """Paint the regions with their colours and numbers."""
    for one in drawn:
        colour = QtGui.QColor(*one.colour)
        paint_outline(painter, view, one.region, colour, _WIDE)
        _paint_tag(painter, view, one.region, str(one.number), colour, bold=True)


def paint_unfinished(
    painter: QtGui.QPainter, view: PictureView, region: Region, colour: Colour
) -> None:
    """Paint the box being dragged, or the corners of a polygon."""
    paint_outline(painter, view, region, QtGui.QColor(*colour), _THIN, Qt.PenStyle.DashLine)
    if region.kind is RegionKind.POINT or region.stroke:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(*colour))
        for corner in region.points_px:
            painter.drawEllipse(_point(view, corner), 3.0, 3.0)
        painter.setBrush(Qt.BrushStyle.NoBrush)


def paint_detections(
    painter: QtGui.QPainter, view: PictureView, detections: Iterable[Region], hovered: Region | None
) -> None:
    """Paint detections faintly; the one under the pointer is clear and has its label."""
    for one in detections:
        is_hovered = one is hovered
        ink = QtGui.QColor(255, 255, 255, 230 if is_hovered else 110)
        paint_outline(painter, view, one, ink, 1.0, shade=QtGui.QColor(0, 0, 0, 70))
        if is_hovered and one.label:
            _paint_tag(painter, view, one, one.label, _WHITE)


def paint_grounded(painter: QtGui.QPainter, view: PictureView, places: Iterable[Region]) -> None:
    """Paint the places that the answers name, with the phrase that names each."""
    for one in places:
        paint_outline(painter, view, one, _WHITE, _THIN, Qt.PenStyle.DashLine)
        if one.label:
            _paint_tag(painter, view, one, one.label, _WHITE, below=True)


def paint_cursor(painter: QtGui.QPainter, view: PictureView, at_px: tuple[float, float]) -> None:
    """Paint the cross that the arrow keys move."""
    at = _point(view, at_px)
    for ink, width in ((QtGui.QColor(0, 0, 0), 4.0), (_WHITE, 1.5)):
        painter.setPen(_pen(ink, width))
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            near, far = 4.0, 14.0
            painter.drawLine(
                QtCore.QPointF(at.x() + dx * near, at.y() + dy * near),
                QtCore.QPointF(at.x() + dx * far, at.y() + dy * far),
            )


def paint_outline(
    painter: QtGui.QPainter,
    view: PictureView,
    region: Region,
    ink: QtGui.QColor,
    width: float,
    style: Qt.PenStyle = Qt.PenStyle.SolidLine,
    shade: QtGui.QColor = _SHADE,
) -> None:
    """Paint a region's outline dark and wider below, then in its colour: seen on any picture."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, line, how in ((shade, width + 2, Qt.PenStyle.SolidLine), (ink, width, style)):
        painter.setPen(_pen(colour, line, how))
        if region.kind is RegionKind.POINT:
            at = _point(view, region.points_px[0])
            painter.drawEllipse(at, _CROSS, _CROSS)
            for dx, dy in ((_CROSS, 0.0), (0.0, _CROSS)):
                painter.drawLine(
                    QtCore.QPointF(at.x() - dx, at.y() - dy),
                    QtCore.QPointF(at.x() + dx, at.y() + dy),
                )
        elif region.kind is RegionKind.STROKE:
            painter.drawPolyline(_polygon(view, region))
        elif region.kind is RegionKind.POLYGON:
            painter.drawPolygon(_polygon(view, region))
        else:
            painter.drawRect(_bounds(view, region))


def _pen(ink: QtGui.QColor, width: float, style: Qt.PenStyle = Qt.PenStyle.SolidLine) -> QtGui.QPen:
    pen = QtGui.QPen(ink, width, style)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return pen


def _point(view: PictureView, at_px: tuple[float, float]) -> QtCore.QPointF:
    return QtCore.QPointF(*view.to_view(at_px))


def _polygon(view: PictureView, region: Region) -> QtGui.QPolygonF:
    return QtGui.QPolygonF([_point(view, corner) for corner in region.points_px])


def _bounds(view: PictureView, region: Region) -> QtCore.QRectF:
    """Return the bounds of a region in the view; those of the picture for the whole image."""
    if region.kind is RegionKind.IMAGE:
        x2, y2 = view.image_wh
        box: tuple[float, float, float, float] = (0.0, 0.0, float(x2), float(y2))
    else:
        box = region.box_xyxy_px
    return QtCore.QRectF(_point(view, box[:2]), _point(view, box[2:]))


def _paint_tag(
    painter: QtGui.QPainter,
    view: PictureView,
    region: Region,
    text: str,
    ground: QtGui.QColor,
    *,
    bold: bool = False,
    below: bool = False,
) -> None:
    """Paint a text on its colour at a corner of the region, inside the view."""
    font = QtGui.QFont(painter.font())
    font.setBold(bold)
    painter.setFont(font)
    metrics = QtGui.QFontMetricsF(font)
    room = view.view_wh[0] * 0.6
    text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
    height = metrics.height() + _PADDING / 2
    width = max(metrics.horizontalAdvance(text) + 2 * _PADDING, height)
    bounds = _bounds(view, region)
    if region.kind is RegionKind.POINT:
        bounds = bounds.adjusted(_CROSS, -_CROSS, _CROSS, -_CROSS)
    left = min(max(bounds.left(), 0.0), max(view.view_wh[0] - width, 0.0))
    top = bounds.bottom() if below else bounds.top() - height
    if top < 0 or top + height > view.view_wh[1]:
        top = bounds.bottom() - height if below else bounds.top()
    top = min(max(top, 0.0), max(view.view_wh[1] - height, 0.0))
    tag = QtCore.QRectF(left, top, width, height)
    painter.setPen(_pen(_SHADE, 1.0))
    painter.setBrush(ground)
    painter.drawRoundedRect(tag, 3.0, 3.0)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    is_light = ground.lightnessF() > 0.45 or ground.green() > 140
    painter.setPen(QtGui.QColor(0, 0, 0) if is_light else _WHITE)
    painter.drawText(tag, text, QtGui.QTextOption(Qt.AlignmentFlag.AlignCenter))
    font.setBold(False)
    painter.setFont(font)
