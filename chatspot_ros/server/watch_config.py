"""The watch list as a person writes it: which things are asked about, what, and how often. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.errors import RequestError
from chatspot_ros.server import request_validation
from chatspot_ros.server.request import Query
from chatspot_ros.server.settings import Settings


class WatchEntry(BaseModel):
    """One question of the list, and what it is asked about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # What the detector calls the things; upper and lower case are the same.
    labels: tuple[str, ...] = Field(min_length=1)
    # Empty: the question that the task brings along.
    question: str = ""
    # As in RegionQuery.
    task: str = ""
    # A thing is asked about at most this often.
    every_s: float = Field(gt=0, le=86_400, allow_inf_nan=False)
    # So many answers in a row must say the same before it is taken to be so.
    confirm: int = Field(1, ge=1, le=10)

    @field_validator("labels")
    @classmethod
    def _fold(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if not all(label.strip() for label in labels):
            raise ValueError("a label is empty")
        return tuple(label.strip().casefold() for label in labels)

    def wants(self, region: Region) -> bool:
        """Whether a detection is one of the things to ask about."""
        return region.label.strip().casefold() in self.labels


_ENTRIES = TypeAdapter(tuple[WatchEntry, ...])


def parse_watch_list(data: Any, source: str, settings: Settings) -> tuple[WatchEntry, ...]:
    """Read a watch list, as YAML has it, out of the file `source`.

    Raises:
        RequestError: it is no list of entries, or an entry asks what cannot be asked.
    """
    try:
        entries = _ENTRIES.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _unusable(place, first["msg"], source) from error
    for index, entry in enumerate(entries):
        try:
            request_validation.check(Query(entry.question, task=entry.task), settings)
        except RequestError as error:
            raise _unusable(str(index), str(error), source) from error
        if REGION_MARK in entry.question or "<box>" in entry.question:
            raise _unusable(
                f"{index}.question", "regions in the question; it is asked of each thing", source
            )
    return entries


def _unusable(place: str, what: str, source: str) -> RequestError:
    return RequestError(
        f"the watch list cannot be used: {place}: {what}",
        value=source,
        remedy="write a list of entries such as `- {labels: [fridge], task: state, every_s: 5}`; "
        "see config/watch.yaml",
    )
