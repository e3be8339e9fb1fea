"""Questions for the text in a region, shared by all data sets of printed and written text."""

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
    """Return a question for the text in a region; the key chooses the wording.

    `size` is (width, height) of the image in pixels. Raises SkipError for an empty text and
    RegionError for a region outside the image.
    """
    return RecordTurn(draw(QUESTIONS, *key), clean(text), (region.clipped(*size),), "read")
