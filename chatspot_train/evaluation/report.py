"""The output of an evaluation: rows on the console; results.json, report.md and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot
from rich.console import Console
from rich.table import Table

from chatspot_train.evaluation.metrics.intervals import Row
from chatspot_train.evaluation.suite import Report, Suite, markdown


def prefixed(report: Report, prefix: str) -> dict[str, Row]:
    """Return the report's rows, named `prefix/row`."""
    return {f"{prefix}/{name}": row for name, row in report.rows.items()}


def summary(reports: Mapping[str, Report], suites: Mapping[str, Suite]) -> str:
    """Return the headline rows of reports by prefix, in Markdown."""
    lines = [
        [f"`{prefix}`", meaning, row["value"], interval(row), int(row["n"])]
        for prefix, report in reports.items()
        for name, meaning in suites[prefix].headline.items()
        if (row := report.rows.get(name)) is not None
    ]
    return markdown(("suite", "what", "value", "95 %", "n"), lines)


def headline_table(rows: Mapping[str, Row], headline: Mapping[str, str]) -> str:
    """Return the rows of one suite's headline with their meaning, in Markdown."""
    lines = [
        [f"`{name}`", headline[name], row["value"], interval(row), int(row["n"])]
        for name, row in rows.items()
        if name in headline
    ]
    return markdown(("row", "what", "value", "95 %", "n"), lines)


def interval(row: Row) -> str:
    """Return the row's 95 % interval as text; `-` if it has none."""
    known = "low" in row and "high" in row
    return f"{row['low']:.3f} to {row['high']:.3f}" if known else "-"


def print_rows(rows: Mapping[str, Row], paper: Mapping[str, float] | None = None) -> None:
    """Print rows with the paper's values, if there are any."""
    columns = ("row", "value", "95 %", "n", *(("paper",) if paper else ()))
    table = Table(*columns)
    for name, row in rows.items():
        cells = [name, f"{row['value']:.3f}", interval(row), str(int(row["n"]))]
        if paper:
            cells.append(f"{paper[name]:.3f}" if name in paper else "-")
        table.add_row(*cells)
    Console().print(table)


def write_report(
    out: Path, suite: str, title: str, rows: Mapping[str, Row], reports: Mapping[str, Report]
) -> None:
    """Write `results.json` (the suite's name and its rows), `report.md` (a section for each report)
    and the plots into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    results = {"suite": suite, "rows": dict(rows)}
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    lines = [f"# {title}"]
    for name, report in reports.items():
        lines += ["", f"## {name}", "", report.table]
        for file, figure in report.plots.items():
            plot = file if len(reports) == 1 else f"{name}-{file}"
            figure.savefig(out / plot, dpi=110)
            pyplot.close(figure)
            lines += ["", f"![{name}]({plot})"]
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
