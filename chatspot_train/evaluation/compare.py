"""Compare two models: questions in pairs, differences with intervals, a page of what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chatspot_ros.errors import ChatspotError
from chatspot_train.evaluation.comparison_page import Card, write_page
from chatspot_train.evaluation.metrics.intervals import Part, Parts, Row, resampled
from chatspot_train.evaluation.runner import PREDICTIONS, read_predictions
from chatspot_train.evaluation.suite import JudgingSuite, Prediction, Suite, markdown, need

DRAWS = 10_000


class CompareError(ChatspotError):
    """Two result folders that cannot be compared."""


@dataclass(frozen=True)
class Comparison:
    """`rows` with both values (`a`, `b`), the difference b - a (`value`) and its interval.

    `pairs` questions are in both folders, `only_a` and `only_b` in one; `differ` have different
    answers, `scored` of them different scores.
    """

    rows: dict[str, Row]
    pairs: int
    only_a: int
    only_b: int
    differ: int
    scored: int

    @property
    def table(self) -> str:
        """The rows in Markdown."""
        columns = ("n", "a", "b", "value", "low", "high")
        lines = [[name, *(row[key] for key in columns)] for name, row in self.rows.items()]
        return markdown(["row", "n", "a", "b", "b - a", "low", "high"], lines)


def compare(
    a: Path, b: Path, out: Path, suite: Suite, *, draws: int = DRAWS, seed: int = 0
) -> Comparison:
    """Compare two result folders of a suite; write comparison.html and .json into `out`.

    Questions are paired by key and wording.

    Raises:
        MissingDataError: a folder has no predictions.jsonl.
        CompareError: the folders have no question in common.
    """
    mine, other = ({p.key: p for p in _kept(suite, folder)} for folder in (a, b))
    keys = [k for k, p in mine.items() if k in other and other[k].question == p.question]
    if not keys:
        raise CompareError(
            "no question was asked of both models", value=f"{a} and {b}",
            remedy="evaluate both with the same suite, limit and seed",
        )  # fmt: skip
    pa, pb = [mine[key] for key in keys], [other[key] for key in keys]
    parts_a, parts_b = suite.parts(pa), suite.parts(pb)
    scored = _differently_scored(suite, pa, pb, parts_a, parts_b)
    cards = [Card(x, y, x.key in scored) for x, y in zip(pa, pb, strict=True) if _differ(x, y)]
    cards.sort(key=lambda card: not card.scored)
    found = Comparison(
        differences(parts_a, parts_b, draws, seed), len(keys), len(mine) - len(keys),
        len(other) - len(keys), len(cards), sum(card.scored for card in cards),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    names = (a.name, b.name) if a.name != b.name else (str(a), str(b))
    write_page(out, names, suite.name, found, cards)
    kept = {"a": str(a), "b": str(b), "suite": suite.name, "pairs": len(keys), "rows": found.rows}
    (out / "comparison.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return found


def _kept(suite: Suite, folder: Path) -> list[Prediction]:
    predictions = read_predictions(need(folder / PREDICTIONS, "evaluate that model"))
    return suite.judged(predictions, folder)


def differences(a: Parts, b: Parts, draws: int = DRAWS, seed: int = 0) -> dict[str, Row]:
    """Return each common row with both values, b - a and its 95 % interval, by `draws` bootstrap
    samples of the questions, the same for both models and all rows."""
    names = [name for name in a if name in b and _counted(a[name]) and _counted(b[name])]
    units = list(dict.fromkeys(unit for name in names for unit in (*a[name], *b[name])))
    if not units:
        return {}
    nothing = (0.0, 0.0)
    columns = [
        [(*a[name].get(unit, nothing), *b[name].get(unit, nothing)) for unit in units]
        for name in names
    ]
    values = np.array(columns, float)  # rows x units x (numerator, denominator) of a, of b
    flat = values.transpose(1, 0, 2).reshape(len(units), -1)
    drawn = np.concatenate(list(resampled(flat, draws, seed))).reshape(draws, len(names), 4)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = drawn[:, :, 2] / drawn[:, :, 3] - drawn[:, :, 0] / drawn[:, :, 1]
    low, high = np.nanpercentile(spread, [2.5, 97.5], axis=0)
    rows: dict[str, Row] = {}
    for k, name in enumerate(names):
        top_a, of_a, top_b, of_b = values[k].sum(0)
        first, second = float(top_a / of_a), float(top_b / of_b)
        counted = int(((values[k][:, 1] > 0) | (values[k][:, 3] > 0)).sum())
        rows[name] = {"a": first, "b": second, "value": second - first, "n": counted,
                      "low": float(low[k]), "high": float(high[k])}  # fmt: skip
    return rows


def _counted(part: Part) -> bool:
    return any(count > 0 for _, count in part.values())


def _differ(a: Prediction, b: Prediction) -> bool:
    return (a.text, a.boxes_xyxy_px) != (b.text, b.boxes_xyxy_px)


def _differently_scored(
    suite: Suite, a: Sequence[Prediction], b: Sequence[Prediction], parts_a: Parts, parts_b: Parts
) -> set[str]:
    if isinstance(suite, JudgingSuite):
        # The truth may be unknown, as for a detector's boxes.
        with suppress(ValueError):
            verdicts = zip(a, suite.right(a), suite.right(b), strict=True)
            return {one.key for one, of_a, of_b in verdicts if of_a != of_b}
    return {x.key for x in a if dict(_scores(parts_a, x.key)) != dict(_scores(parts_b, x.key))}


def _scores(parts: Mapping[str, Part], key: str) -> Iterator[tuple[str, Any]]:
    return ((name, part[key]) for name, part in parts.items() if key in part)
