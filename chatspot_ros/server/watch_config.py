"""The watch list: which things to ask about, which question, how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from chatspot_ros.core.regions import REGION_MARK, Region, stray_tag
from chatspot_ros.errors import RequestError
from chatspot_ros.server import request_validation
from chatspot_ros.server.request import Query
from chatspot_ros.server.settings import Settings
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_ros.util.resources import share_folder


class WatchEntry(BaseModel):
    """One question of the list, and the things to ask it about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The detector's labels of the things, in any case.
    labels: tuple[str, ...] = Field(min_length=1)
    # Empty: the task's own question.
    question: str = ""
    # The task, as in RegionQuery.
    task: str = ""
    # The shortest time between two questions about one thing, in seconds.
    every_s: float = Field(gt=0, le=86_400, allow_inf_nan=False)
    # The number of equal answers in a row that confirm a state.
    confirm: int = Field(1, ge=1, le=10)

    @field_validator("labels")
    @classmethod
    def _fold(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if not all(label.strip() for label in labels):
            raise ValueError("a label is empty")
        return tuple(label.strip().casefold() for label in labels)

    def wants(self, region: Region) -> bool:
        """Return True for a detection of one of the things."""
        return region.label.strip().casefold() in self.labels


_ENTRIES = TypeAdapter(tuple[WatchEntry, ...])


def read_watch_list(settings: Settings) -> tuple[WatchEntry, ...]:
    """Return the watch list of the parameter `watch`; a bare name may be a file of the package.

    Raises:
        RequestError: the file cannot be read, or is no watch list.
    """
    if not settings.watch:
        return ()
    path = Path(settings.watch).expanduser()
    if path.name == settings.watch and not path.exists():
        path = share_folder() / "config" / path
    try:
        data = load_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(
            f"the watch list cannot be read: {' '.join(str(error).split())}",
            value=str(path),
            remedy="set the parameter watch to a YAML file, or leave it empty",
        ) from error
    return parse_watch_list(data, str(path), settings)


def parse_watch_list(data: Any, source: str, settings: Settings) -> tuple[WatchEntry, ...]:
    """Validate the YAML contents of the file `source`.

    Raises:
        RequestError: they are no list of entries, or a question of an entry is not valid.
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
        if REGION_MARK in entry.question or stray_tag(entry.question):
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
