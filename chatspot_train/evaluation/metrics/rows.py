"""What several suites share: reading files entry by entry, and rows made of parts.

A row's parts say what each question adds to it: a numerator and a denominator, the row being the
sum of the first over the sum of the second. Accuracy has (right, 1); precision (right and said,
said); F1 (2 * right, said + true). Two models are compared by resampling their parts in pairs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.errors import ChatspotError, shorten
from chatspot_train.evaluation.intervals import Row, share
from chatspot_train.evaluation.suite import Predicted, Suite, need

DRAWS = 1000
_AT_A_TIME = 100
Part = Mapping[str, tuple[float, float]]  # unit (a question's key) -> numerator, denominator
Parts = Mapping[str, Part]  # row -> its part
T = TypeVar("T")


class JudgingSuite(Suite, Protocol):
    """A suite that can say of each answer whether it is right."""

    def right(self, predictions: Sequence[Predicted]) -> list[bool]:
        """Whether each answer is right, by its truth."""


class PartedSuite(Protocol):
    """A suite whose rows are sums over questions."""

    def parts(self, predictions: Sequence[Predicted]) -> Parts:
        """What each question adds to each row."""


class MalformedDataError(ChatspotError):
    """A data set's file is not in the layout that its suite reads."""


def read_json(path: Path, wants: str) -> Any:
    """Read a JSON file. Raises MissingDataError or MalformedDataError."""
    try:
        return json.loads(need(path, wants).read_text(encoding="utf-8"))
    except ValueError as error:
        raise malformed(path, str(error), wants) from error


def read_json_lines(path: Path, wants: str) -> list[Any]:
    """Read one JSON value a line. Raises MissingDataError or MalformedDataError, with the line."""
    text = need(path, wants).read_text(encoding="utf-8")
    found = []
    # Not splitlines(): a JSON string may hold U+2028 and its like.
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                found.append(json.loads(line))
        except ValueError as error:
            raise malformed(path, f"line {number}: {error}", wants) from error
    return found


def malformed(path: Path, problem: str, wants: str) -> MalformedDataError:
    """Return the error to raise for a file in another layout."""
    return MalformedDataError(
        f"a file of the data set is not as it should be: {problem}", value=path, remedy=wants
    )


def checked(entry: Any, names: Sequence[str], path: Path, wants: str) -> dict[str, Any]:
    """Return the entry. Raises MalformedDataError unless it is an object with all those fields."""
    missing = [name for name in names if not isinstance(entry, dict) or name not in entry]
    if missing:
        raise malformed(path, f"no {', '.join(missing)} in {shorten(entry)}", wants)
    found: dict[str, Any] = entry
    return found


def one_picture_at_a_time(entries: Iterable[tuple[str, T]]) -> Iterator[T]:
    """Yield the entries so that those of one picture (the text before each) follow each other."""
    groups: dict[str, list[T]] = {}
    for picture, entry in entries:
        groups.setdefault(picture, []).append(entry)
    for group in groups.values():
        yield from group


def scored(suite: PartedSuite, predictions: Sequence[Predicted]) -> dict[str, Row]:
    """Every row of these answers with its interval. Raises ValueError for no answers."""
    if not predictions:
        raise ValueError("there are no answers to score")
    return rows_of(suite.parts(predictions))


def rows_of(parts: Parts) -> dict[str, Row]:
    """Every row with its 95 % interval; see `row_of`."""
    return {name: row_of(part) for name, part in parts.items()}


def row_of(part: Part, draws: int = DRAWS, seed: int = 0) -> Row:
    """The sum of numerators over that of denominators, with a 95 % interval.

    `n` counts the questions that have a denominator; with none the value is 0 and says nothing. A
    share has Wilson's interval, everything else one by the bootstrap over questions.
    """
    values = np.array(list(part.values()), float).reshape(-1, 2)
    asked = values[values[:, 1] > 0]
    if not len(asked):
        return {"value": 0.0, "n": 0, "low": 0.0, "high": 1.0}
    if np.isin(asked[:, 0], (0, 1)).all() and (asked[:, 1] == 1).all():
        return share([bool(value) for value in asked[:, 0]])
    sums = np.concatenate(list(resampled(values, draws, seed)))
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.nanpercentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    total = values.sum(0)
    return {
        "value": float(total[0] / total[1]), "n": len(asked), "low": float(low), "high": float(high)
    }  # fmt: skip


def resampled(values: NDArray[np.float64], draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Sum `values` (questions x columns) over questions drawn with replacement, `draws` times.

    Yields arrays (some draws x columns). All columns of a draw are of the same questions.
    """
    rng = np.random.default_rng(seed)
    count = len(values)
    for first in range(0, draws, _AT_A_TIME):
        some = min(_AT_A_TIME, draws - first)
        yield rng.multinomial(count, np.full(count, 1 / count), size=some) @ values
