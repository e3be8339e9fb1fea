"""What an evaluation leaves in its folder: results.json, report.md, plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot

from chatspot_train.suites.base import Report
from chatspot_train.suites.scores import Row


def prefixed(report: Report, prefix: str) -> dict[str, Row]:
    """The report's rows as `prefix/row`."""
    return {f"{prefix}/{name}": row for name, row in report.rows.items()}


def write_report(
    out: Path, title: str, rows: Mapping[str, Row], reports: Mapping[str, Report]
) -> None:
    """Write `results.json`, `report.md` (a section for each report) and the plots into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps({"rows": dict(rows)}, indent=1) + "\n")
    lines = [f"# {title}"]
    for name, report in reports.items():
        lines += ["", f"## {name}", "", report.table]
        for file, figure in report.plots.items():
            plot = file if len(reports) == 1 else f"{name}-{file}"
            figure.savefig(out / plot, dpi=110)
            pyplot.close(figure)
            lines += ["", f"![{name}]({plot})"]
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
