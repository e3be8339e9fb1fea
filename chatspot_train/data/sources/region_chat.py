"""RegionChat: dialogues about regions, as `chatspot_train.data.region_chat` writes them.

One JSON object a line: `{"image", "width", "height", "id", "turns": [{"question", "answer",
"regions": [[[x, y], ...], ...]}]}`, all in pixels; a turn may also have `task` and
`answer_regions`. Your own dialogues can have the same form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Job, Source
from chatspot_train.data.sources.json_reader import Schema, json_lines
from chatspot_train.data.sources.registry import register

Outline = tuple[tuple[float, float], ...]


class _Turn(Schema):
    question: str
    answer: str
    regions: tuple[Outline, ...] = ()
    task: str = ""
    answer_regions: tuple[Outline, ...] = ()

    def read(self, size: tuple[int, int]) -> RecordTurn:
        """Return the turn. Raises RegionError where a region is outside an image of this size."""
        asked, answered = (
            tuple(Region(points).clipped(*size) for points in outlines)
            for outlines in (self.regions, self.answer_regions)
        )
        return RecordTurn(self.question.strip(), self.answer.strip(), asked, self.task, answered)


class _Dialogue(Schema):
    id: str
    image: str
    width: int
    height: int
    turns: tuple[_Turn, ...]


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    """Keep or drop a whole dialogue: later turns depend on earlier ones."""
    dialogue = _Dialogue.model_validate(raw)
    size = job.pictures.size(dialogue.image, (dialogue.width, dialogue.height))
    turns = [turn.read(size) for turn in dialogue.turns]
    yield SOURCE.record(dialogue.id, dialogue.image, size, turns)


SOURCE = Source(
    name="region_chat",
    licence="RegionChat: the terms of the pictures it was written about, and of the model that "
    "wrote it",
    tags=("region level", "detailed"),
    annotations="the .jsonl that chatspot_train.data.region_chat wrote",
    entries=json_lines,
    convert=_convert,
)
register(SOURCE)
