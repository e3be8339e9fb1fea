"""Measure a model by a suite and the suite's companions, and write the report."""

from __future__ import annotations

from pathlib import Path

from chatspot_train.evaluation.metrics.intervals import Row
from chatspot_train.evaluation.report import prefixed, summary, write_report
from chatspot_train.evaluation.runner import CachingAnswerer, evaluate
from chatspot_train.evaluation.suite import Answerer, Report, Suite

DATA = "data"  # in a result folder, for a suite that makes its own


def measure_suite(
    suite: Suite, answerer: Answerer, data: Path, limit: int, seed: int, out: Path,
    *, fresh: bool = False,
) -> dict[str, Row]:  # fmt: skip
    """Return all rows; write them with the report and the predictions into `out`.

    A companion's rows are named `prefix/row`, its predictions are in `out/prefix`. `fresh`: kept
    answers are dropped. Raises MissingDataError, OtherModelError, RenderError.
    """
    folder = out / DATA if suite.makes_data else data
    own = evaluate(suite, answerer, folder, limit, seed, out, fresh)
    companions = suite.companions(folder, limit)
    shared = CachingAnswerer(answerer)
    reports = {
        prefix: evaluate(one, one.answerer() or shared, folder, 0, seed, out / prefix, fresh)
        for prefix, one in companions.items()
    }
    rows = dict(own.rows)
    for prefix, report in reports.items():
        rows |= prefixed(report, prefix)
    if companions:
        reports = {"summary": Report({}, summary(reports, companions)), suite.name: own, **reports}
    title = f"{answerer.name}: {suite.name}"
    write_report(out, suite.name, title, rows, reports or {suite.name: own})
    return rows
