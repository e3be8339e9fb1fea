"""Places in JSON as models write it: cut off, with single quotes, other keys, or as bare lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chatspot_ros.core.regions import Point

_NUMBER = r"-?\d++(?:\.\d*+)?"
# Possessive, so that no run of spaces is tried twice.
_COMMA = r"\s*+,\s*+"
_END = r"\s*+,?\s*+\]"
_LIST = rf"\[\s*+{_NUMBER}(?:{_COMMA}{_NUMBER})++{_END}"
_LISTS = rf"\[\s*+{_LIST}(?:{_COMMA}{_LIST})*+{_END}"
_KEY = r"(?:(?:bbox|box|point)(?:_2d|es|s)?|bounding_box(?:es)?(?:_2d)?|coordinates)"
_QUOTED = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
_OBJECT = re.compile(rf"\{{(?:[^{{}}\"']|{_QUOTED})*\}}")
_PLACE = re.compile(rf"[\"']?\b(?P<key>{_KEY})\b[\"']?\s*:\s*(?P<lists>{_LISTS}|{_LIST})", re.I)
_LABEL = re.compile(rf"[\"']?\b(?:label|name|object|category)\b[\"']?\s*:\s*({_QUOTED})", re.I)
_POINTS = re.compile(
    r"<(?P<tag>points?)\b(?P<settings>[^<>]*?)/?>(?:(?P<said>[^<]*)</(?P=tag)>)?", re.I
)
_XY = re.compile(rf'\bx(\d*)="\s*({_NUMBER})"\s+y\1="\s*({_NUMBER})"')
_ALT = re.compile(r'\balt="([^"]*)"')
_FENCED = r"\s*+(?:```\w*\s*+)?{}\s*+(?:```)?\s*+"
# A list in a sentence may be anything; an answer of lists alone is of places.
_ONLY_LISTS = re.compile(_FENCED.format(rf"(?:{_LISTS}|{_LIST}(?:\s*+,?\s*+{_LIST})*)"))
_EMPTY = re.compile(_FENCED.format(r"\[\s*+(?:\{\s*+\}\s*+)?\]"))
_MENTION = re.compile(rf"[\"']{_KEY}[\"']\s*:|_2d\b|<points?\b", re.I)
# Longer answers are no lists of places, and a pattern could be slow on them.
_MOST_CHARS = 100_000


@dataclass(frozen=True)
class Place:
    """A box (two corners) or a point (one), in the answer's own numbers; text[start:end] holds it.

    `label` is its name there, empty: none.
    """

    corners: tuple[Point, ...]
    label: str
    start: int
    end: int


def places(text: str) -> list[Place]:
    """Return all places of a text with the right count of numbers, none negative, in order."""
    text = text[:_MOST_CHARS]
    if _ONLY_LISTS.fullmatch(text):
        return [one for match in re.finditer(_LIST, text)
                for one in _of_lists(match[0], 4, "", match.start(), match.end())]  # fmt: skip
    found = [*_in_objects(text), *_in_tags(text)]
    return sorted(found, key=lambda place: place.start)


def mentions(text: str) -> bool:
    """Return whether a text contains the markup of places, well-formed or not."""
    return bool(_MENTION.search(text) or _ONLY_LISTS.fullmatch(text[:_MOST_CHARS]))


def is_empty(text: str) -> bool:
    """Return whether a text is an empty list."""
    return _EMPTY.fullmatch(text[:_MOST_CHARS]) is not None


def _in_objects(text: str) -> Iterator[Place]:
    for match in _OBJECT.finditer(text):
        label = _LABEL.search(match[0])
        said = label[1][1:-1].replace('\\"', '"').replace("\\'", "'") if label else ""
        for place in _PLACE.finditer(match[0]):
            count = 2 if place["key"].lower().startswith("point") else 4
            yield from _of_lists(place["lists"], count, said, match.start(), match.end())


def _of_lists(lists: str, count: int, label: str, start: int, end: int) -> Iterator[Place]:
    for one in re.findall(r"[^\[\]]*\d[^\[\]]*", lists):
        numbers = [float(word) for word in re.findall(_NUMBER, one)]
        if len(numbers) == count and min(numbers) >= 0:
            corners = tuple(zip(numbers[::2], numbers[1::2], strict=True))
            yield Place(corners, label, start, end)


def _in_tags(text: str) -> Iterator[Place]:
    """Yield the points of `<point x="12" y="34" alt="mug">mug</point>`."""
    for match in _POINTS.finditer(text):
        alt = _ALT.search(match["settings"])
        label = (match["said"] or (alt[1] if alt else "")).strip()
        for _, x, y in _XY.findall(match["settings"]):
            yield Place(((float(x), float(y)),), label, match.start(), match.end())
