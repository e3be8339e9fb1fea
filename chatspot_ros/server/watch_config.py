"""The watch list: which things to ask about, which question, how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from chatspot_ros.core.regions import REGION_MARK, Region, stray_tag
from chatspot_ros.core.skills import read_states
from chatspot_ros.errors import ModelLoadError, RequestError
from chatspot_ros.server import request_validation
from chatspot_ros.server.request import Query
from chatspot_ros.server.settings import Settings
from chatspot_ros.server.watch_conditions import Condition, check_states, parse_condition
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_ros.util.resources import share_folder

# Without at_least_every_s, what looks the same is asked about so many times less often.
_STILL_TIMES = 12


class WatchEntry(BaseModel):
    """One question of the list, and the things to ask it about."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    # The detector's labels of the things, in any case.
    labels: tuple[str, ...] = Field(min_length=1)
    # Empty: the task's own question.
    question: str = ""
    # The task, as in RegionQuery.
    task: str = ""
    # The shortest time between two questions about one thing, in seconds.
    every_s: float = Field(gt=0, le=86_400, allow_inf_nan=False)
    # The longest time between two questions about one thing whose pixels have not changed, in
    # seconds. None: twelve times every_s.
    at_least_every_s: float | None = Field(default=None, gt=0, le=604_800, allow_inf_nan=False)
    # The share of a thing's width and height around its box, on each side, that is looked at too.
    margin: float = Field(default=0.1, ge=0, le=2, allow_inf_nan=False)
    # The number of equal answers in a row that confirm a state.
    confirm: int = Field(default=1, ge=1, le=10)
    # What is told on ~/events.
    when: tuple[Condition, ...] = ()

    @property
    def still_s(self) -> float:
        """The time after which it is asked again whatever the pixels say, in seconds."""
        longest_s = self.at_least_every_s
        return _STILL_TIMES * self.every_s if longest_s is None else longest_s

    @property
    def looks(self) -> bool:
        """True: pixels that have not changed save a question."""
        return self.still_s > self.every_s

    @field_validator("labels")
    @classmethod
    def _fold(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if not all(label.strip() for label in labels):
            raise ValueError("a label is empty")
        return tuple(label.strip().casefold() for label in labels)

    @field_validator("when", mode="before")
    @classmethod
    def _parse(cls, when: Any) -> tuple[Condition, ...]:
        texts = [when] if isinstance(when, str) else when
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a condition is a text, such as `door changes to open for 2 s`")
        return tuple(parse_condition(text) for text in dict.fromkeys(texts))

    @model_validator(mode="after")
    def _check(self) -> WatchEntry:
        if self.still_s < self.every_s:
            raise ValueError(
                f"at_least_every_s ({self.still_s:g}) is less than every_s ({self.every_s:g})"
            )
        if self.when and self.task not in ("", "state"):
            raise ValueError(f"`when` needs the task state (got {self.task}): others say no state")
        return self

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
    states = _possible_states(settings)
    for index, entry in enumerate(entries):
        try:
            for condition in entry.when:
                check_states(condition, states)
        except ValueError as error:
            raise _unusable(f"{index}.when", str(error), source) from error
        try:
            request_validation.check(Query(entry.question, task=entry.task), settings)
        except RequestError as error:
            raise _unusable(str(index), str(error), source) from error
        if REGION_MARK in entry.question or stray_tag(entry.question):
            raise _unusable(
                f"{index}.question", "regions in the question; it is asked of each thing", source
            )
    return entries


def _possible_states(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the only states that answers can have; {}: any."""
    if not settings.constrain_answers:
        return {}
    try:
        return read_states(settings.states_file)
    except ModelLoadError:
        return {}  # the model is not loaded with it, and says why


def _unusable(place: str, what: str, source: str) -> RequestError:
    return RequestError(
        f"the watch list cannot be used: {place}: {what}",
        value=source,
        remedy="write a list of entries such as `- {labels: [fridge], task: state, every_s: 5}`; "
        "see config/watch.yaml",
    )
