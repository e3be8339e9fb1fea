"""How text in a region is asked for, in all data sets of printed and written text."""

from __future__ import annotations

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import RecordTurn
from chatspot_train.data.sources.base import draw
from chatspot_train.data.sources.json_reader import clean

QUESTIONS = (
    "What does <region> say?",
    "Read <region>.",
    "What is written in <region>?",
    "Which text do you see in <region>?",
    "Read out the text in <region>.",
    "What words are in <region>?",
    "Please read what stands in <region>.",
)


def reading_turn(text: str, region: Region, size: tuple[int, int], *key: object) -> RecordTurn:
    """Return a question for the text in a region, in words drawn by the key.

    `size` is (width, height) of the picture in pixels. Raises SkipError for an empty text and
    RegionError for a region that is not in the picture.
    """
    return RecordTurn(draw(QUESTIONS, *key), clean(text), (region.clipped(*size),), "read")
