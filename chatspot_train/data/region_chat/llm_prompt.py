"""The prompt of the language model: instructions, seed examples, one image's annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_train.data.region_chat.annotations import Annotated, Note, annotated
from chatspot_train.data.sources.conversion_report import ENTRY_ERRORS, explain


class WordingError(ChatspotError):
    """The file of instructions and seed examples is unusable."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeedTurn(_Strict):
    """A question with `<box>x1 y1 x2 y2</box>` (fractions) in its text, and its answer."""

    question: str
    answer: str


class Seed(_Strict):
    """An example: annotations in the form of Visual Genome's entries, and the dialogue."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    regions: tuple[dict[str, Any], ...] = Field(min_length=1)
    attributes: tuple[dict[str, Any], ...] = ()
    relationships: tuple[dict[str, Any], ...] = ()
    dialogue: tuple[SeedTurn, ...] = Field(min_length=1)

    def annotated(self) -> Annotated:
        """Return the seed's annotations. Raises one of ENTRY_ERRORS."""
        size = (self.width, self.height)
        return annotated("seed", "", size, self.regions, self.attributes, self.relationships)


class Wording(_Strict):
    """Instructions, examples and sampling settings.

    The prompt has at most `most_notes` region descriptions, attributes and relations each, evenly
    picked. `max_tokens` limits a reply; it and `temperature` are not sent if null.
    """

    system: str = Field(min_length=1)
    seeds: tuple[Seed, ...] = ()
    most_notes: int = Field(default=20, gt=0)
    temperature: float | None = Field(default=0.7, ge=0)
    max_tokens: int | None = Field(default=1200, gt=0)

    @classmethod
    def read(cls, file: Path) -> Wording:
        """Read a YAML file. Raises WordingError, which names what is wrong in it."""
        try:
            wording = cls.model_validate(load_yaml(file))
            for seed in wording.seeds:
                seed.annotated()
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise WordingError(
                f"the seed examples cannot be read: {error}", value=file,
                remedy="give a YAML file in the form of config/train/region_chat.yaml",
            ) from error  # fmt: skip
        except (ValidationError, *ENTRY_ERRORS) as error:
            raise WordingError(
                f"the seed examples are malformed: {': '.join(explain(error))}", value=file,
                remedy="write them in the form of config/train/region_chat.yaml",
            ) from error  # fmt: skip
        return wording

    def messages(self, picture: Annotated) -> list[ChatCompletionMessageParam]:
        """Return the messages that ask for a dialogue about one image."""
        found: list[ChatCompletionMessageParam] = [{"role": "system", "content": self.system}]
        for seed in self.seeds:
            dialogue = [turn.model_dump() for turn in seed.dialogue]
            reply = json.dumps(dialogue, ensure_ascii=False)
            found.append({"role": "user", "content": self._tell(seed.annotated())})
            found.append({"role": "assistant", "content": reply})
        found.append({"role": "user", "content": self._tell(picture)})
        return found

    def _tell(self, picture: Annotated) -> str:
        lines = [f"Picture of {picture.width} x {picture.height} pixels."]
        for title, notes in (
            ("Regions", picture.regions),
            ("Attributes", picture.attributes),
            ("Relations", picture.relations),
        ):
            if notes:
                lines.append(f"{title}:")
                lines += [f"- {_told(note, picture)}" for note in _some(notes, self.most_notes)]
        return "\n".join(lines)


def _told(note: Note, picture: Annotated) -> str:
    return note.text.format(*(_said(box, picture) for box in note.boxes))


def _said(box: Region, picture: Annotated) -> str:
    corners = ((x / picture.width, y / picture.height) for x, y in box.points_px)
    return f"<box>{' '.join(f'{value:.3f}' for corner in corners for value in corner)}</box>"


def _some(notes: Sequence[Note], most: int) -> list[Note]:
    """Return at most `most` of the notes, evenly picked, in order."""
    if len(notes) <= most:
        return list(notes)
    return [notes[k * len(notes) // most] for k in range(most)]
