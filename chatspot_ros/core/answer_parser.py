"""Answers: the text of a model, with the state, steps and regions that are read from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.json_schema import JsonSchema
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks import TASKS, TaskContext
from chatspot_ros.core.tasks import Step as Step

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Answer:
    """One answer: the model's text, and what was read from it.

    `regions` are those of the question, `grounded` those that the answer names (pixels, label = the
    phrase). `confidence` is in [0, 1]. `truncated`: the text was cut off; the pair or step at its
    end is left out. `uncertain`: the text has not the form of its task, or the confidence is low;
    look again before acting on it. `looked_twice`: the region was shown to the model once more,
    larger. `print_lines` is the print in it, as the reader of print read it. `sources` are the
    places of the notes used (`fridge.md:12`), `passages` their texts, in the same order. `json` is
    the text where it follows the question's schema, else empty; `choice_probabilities` are those of
    the question's choices, in [0, 1], together 1, empty without any. `task` is the one that was
    used, `id` the answer's name; only a node sets them.
    """

    text: str
    regions: tuple[Region, ...] = ()
    state: dict[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    grounded: tuple[Region, ...] = ()
    confidence: float = 0.0
    truncated: bool = False
    uncertain: bool = False
    looked_twice: bool = False
    print_lines: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()
    json: str = ""
    choice_probabilities: tuple[float, ...] = ()
    task: str = ""
    id: str = ""


def clean(text: str) -> str:
    """Return a text without control characters and outer spaces."""
    # A message's text ends at a NUL, and no control character means anything in an answer.
    return _CONTROL.sub("", text).strip()


def read(
    text: str,
    *,
    task: str,
    regions: Iterable[Region],
    fit: Fit,
    dialect: Dialect,
    skills: Iterable[str],
    confidence: float,
    truncated: bool,
    min_confidence: float = 0.0,
    none: Sequence[str] = (),
    box_scores: Sequence[float] = (),
    min_box_score: float = 0.0,
    schema: JsonSchema | None = None,
) -> Answer:
    """Read a model's text as the answer to a question of a task.

    `skills` are the only actions that a step may have; empty allows free text. `none` are the
    model's own answers for a thing that is not there. A text of another
    form leaves its field empty and sets `uncertain`, as does a `confidence` below `min_confidence`.
    `box_scores` (0 to 1) say how sure the regions of the text are, in order: one below
    `min_box_score` is not in `grounded`, and sets `uncertain`. `schema` is what JSON has to follow;
    its text stays as it is. Never raises.
    """
    text, record = clean(text), TASKS.get(task, TASKS[""])
    found = [] if record.needs_schema else dialect.find(text, fit)
    # The last one of a cut text may not be whole.
    scores = list(box_scores)[: len(found)]
    scores += [1.0] * (len(found) - len(scores))
    grounded = tuple(
        replace(spoken.region_px, label=spoken.phrase)
        for spoken, score in zip(found, scores, strict=True) if score >= min_box_score
    )  # fmt: skip
    uncertain = not text or confidence < min_confidence
    uncertain |= not record.needs_schema and dialect.doubts(text, found)
    context = TaskContext(dialect, tuple(skills), none=tuple(none), schema=schema)
    parsed = record.parse(text, grounded, truncated, context)
    return Answer(
        text=text if record.needs_schema else dialect.words(text) or text,
        regions=tuple(regions),
        state=parsed.state,
        steps=parsed.steps,
        json=parsed.json,
        grounded=grounded,
        confidence=min(max(confidence, 0.0), 1.0),
        truncated=truncated,
        uncertain=bool(uncertain or not parsed.readable or len(grounded) < len(found)),
    )
