"""Boxes in thousandths between tags, as Qwen2-VL and InternVL write them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatspot_ros.core.dialects.base import SpokenRegion, phrase_before, region_from_units
from chatspot_ros.core.geometry import Fit

GRID = 1000
# One number of a box, in a grammar.
NUMBER_RULE = '([0-9] [0-9]? [0-9]? | "1000")'


def spoken_boxes(
    groups: Iterator[tuple[re.Match[str], list[list[float]]]], text: str, fit: Fit
) -> Iterator[SpokenRegion]:
    """Yield the regions of matches with a group `ref`, each with its boxes in thousandths."""
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
            if len(box) == 4 and all(number <= GRID for number in box):
                x1, y1, x2, y2 = (number / GRID for number in box)
                region = region_from_units([(x1, y1), (x2, y2)], fit, tolerance=1 / GRID)
                if region is not None:
                    yield SpokenRegion(region, match.start(), match.end(), phrase)
