"""A stand-in for foxglove_msgs.msg: its classes with the published fields, and no others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(slots=True)
class Point2:
    x: float = 0.0
    y: float = 0.0


@dataclass(slots=True)
class Color:
    r: float = 0.0
    g: float = 0.0
    b: float = 0.0
    a: float = 0.0


@dataclass(slots=True)
class CircleAnnotation:
    timestamp: Any = None
    position: Any = None
    diameter: float = 0.0
    thickness: float = 0.0
    fill_color: Any = None
    outline_color: Any = None


@dataclass(slots=True)
class PointsAnnotation:
    LINE_LOOP: ClassVar[int] = 2
    timestamp: Any = None
    type: int = 0
    points: list[Any] = field(default_factory=list)
    outline_color: Any = None
    outline_colors: list[Any] = field(default_factory=list)
    fill_color: Any = None
    thickness: float = 0.0


@dataclass(slots=True)
class TextAnnotation:
    timestamp: Any = None
    position: Any = None
    text: str = ""
    font_size: float = 0.0
    text_color: Any = None
    background_color: Any = None


@dataclass(slots=True)
class ImageAnnotations:
    timestamp: Any = None
    circles: list[Any] = field(default_factory=list)
    points: list[Any] = field(default_factory=list)
    texts: list[Any] = field(default_factory=list)
