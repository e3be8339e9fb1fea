"""Boxes in thousandths between tags, as Qwen2-VL and InternVL write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from chatspot_ros.core.dialects.base import SpokenRegion, phrase_before, region_from_units
from chatspot_ros.core.geometry import Fit

GRID = 1000
# One number of a box, in a grammar.
NUMBER_RULE = '([0-9] [0-9]? [0-9]? | "1000")'
# A match with a group `ref`, and its boxes in thousandths.
Group = tuple[re.Match[str], list[list[float]]]


def spoken_boxes(groups: Iterable[Group], text: str, fit: Fit) -> Iterator[SpokenRegion]:
    """Yield the regions of groups.

    Numbers above the scale that are pixels of the model's picture are read as such, for the whole
    answer, and doubtful.
    """
    groups = list(groups)
    scale, doubtful = _scale([box for _, boxes in groups for box in boxes], fit)
    last_end, phrase = 0, ""
    for match, boxes in groups:
        between = text[last_end : match.start()]
        # A phrase may have several boxes behind each other.
        if match["ref"] is not None:
            phrase = match["ref"].strip()
        elif between.strip():
            phrase = phrase_before(between)
        last_end = match.end()
        for box in boxes:
            if len(box) == 4 and max(box[::2]) <= scale[0] and max(box[1::2]) <= scale[1]:
                units = [(x / scale[0], y / scale[1]) for x, y in (box[:2], box[2:])]
                region = region_from_units(units, fit, tolerance=1 / GRID)
                if region is not None:
                    yield SpokenRegion(region, match.start(), match.end(), phrase, doubtful)


def loses_any(groups: Iterable[Group], found: int) -> bool:
    """Return whether there are more boxes in the groups than the `found` ones that were read."""
    return sum(len(boxes) for _, boxes in groups) > found


def _scale(boxes: list[list[float]], fit: Fit) -> tuple[tuple[int, int], bool]:
    whole = [box for box in boxes if len(box) == 4]
    right = max((max(box[::2]) for box in whole), default=0.0)
    bottom = max((max(box[1::2]) for box in whole), default=0.0)
    beyond = max(right, bottom) > GRID
    if beyond and right <= fit.model_wh[0] and bottom <= fit.model_wh[1]:
        return fit.model_wh, True
    return (GRID, GRID), beyond
