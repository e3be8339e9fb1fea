"""Which questions the reader of print helps, and what it reads for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chatspot_ros.core.crops import region_to_look_at
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks.read import asks_for_print
from chatspot_ros.engine.api import Question, ShouldStop, check_stop
from chatspot_ros.engine.text_reader import TextReader
from chatspot_ros.errors import ModelLoadError

NO_READER = "the reader of print is not installed (scripts/install): the model read by itself"


class PrintReading:
    """Reads the print for questions about one region.

    The reader's models are loaded for the first question that wants them: half a second.
    """

    def __init__(self, trained: bool) -> None:
        """`trained`: the model has learned with the reader's lines, so `auto` reads."""
        self._trained = trained
        self._reader: TextReader | None = None

    def fill(
        self,
        image_rgb: RgbImage,
        questions: Sequence[Question],
        should_stop: ShouldStop | None = None,
    ) -> list[Question]:
        """Return the questions with the print of their regions, which are in the image's pixels.

        Raises RegionError: an unusable region; ModelLoadError: a question needs the reader (`on`)
        and it is not installed; what `should_stop` raises, between two regions.
        """
        width, height = image_rgb.shape[1::-1]
        filled = list(questions)
        for number, question in enumerate(questions):
            if not self._wants(question):
                continue
            check_stop(should_stop)
            region = region_to_look_at([one.clipped(width, height) for one in question.regions])
            if region is not None:
                filled[number] = self._read(image_rgb, region, question)
        return filled

    def _wants(self, question: Question) -> bool:
        if question.reader == "auto":
            return self._trained and asks_for_print(question.text, question.task)
        return question.reader == "on"

    def _read(self, image_rgb: RgbImage, region: Region, question: Question) -> Question:
        try:
            reader = self._loaded()
        except ModelLoadError:
            if question.reader == "on":
                raise
            return replace(question, notes=(*question.notes, NO_READER))
        lines = tuple(line.text for line in reader.read(image_rgb, region))
        return replace(question, print_lines=lines)

    def _loaded(self) -> TextReader:
        if self._reader is None:
            self._reader = TextReader()
        return self._reader
