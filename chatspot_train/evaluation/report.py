"""What an evaluation leaves in its folder: results.json, report.md, plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot

from chatspot_train.evaluation.intervals import Row
from chatspot_train.evaluation.suite import Report, markdown

# The rows that say most of each suite on the simulated kitchen.
_NOISES = ("0", "0.1", "0.2", "0.3")
HEADLINES = {
    "coco_region/AP": "AP of the true boxes",
    "coco_region/AP50": "AP50 of the true boxes",
    "coco_region/accuracy": "accuracy on the true boxes",
    "coco_region_simulated_detector/AP": "AP of the simulated detector's boxes",
    "coco_region_simulated_detector/AP50": "AP50 of the simulated detector's boxes",
    "coco_text/contains": "contains the text",
    "coco_text/edit_distance": "edit distance over the length, 0 is best",
    "vizwiz_grounding/contains": "contains the answer",
    "pointqa/local_box": "local, by box",
    "pointqa/local_point": "local, by point",
    "pointqa/looktwice_box": "look-twice, by box",
    "pointqa/looktwice_point": "look-twice, by point",
    "refcoco/refcoco_val_iou_over_0.5": "IoU > 0.5",
    "pope/random_accuracy": "accuracy, random",
    "pope/popular_accuracy": "accuracy, popular",
    "pope/adversarial_accuracy": "accuracy, adversarial",
    **{f"noise/accuracy_noise_{s}": f"accuracy at a box noise of {s}" for s in _NOISES},
    **{f"hallucination/hallucination_noise_{s}": f"names the neighbour, at a box noise of {s}"
       for s in _NOISES},
    "grounding/precision": "phrases with boxes, precision",
    "grounding/recall": "phrases with boxes, recall",
    "grounding/f1": "phrases with boxes, F1",
    "refusal/accuracy": "accuracy",
    "refusal/refusals": "denies what is not there",
    "refusal/false_denials": "denies what is there, 0 is best",
    "calibration/calibration_error": "expected calibration error, 0 is best",
    "calibration/threshold": "answers less sure than this are to be `uncertain`",
    "intent/intents/weighted_f1": "weighted F1 of the router",
    "intent/intents_held_out/weighted_f1": "weighted F1 of the router, on the held-out list",
}  # fmt: skip


def prefixed(report: Report, prefix: str) -> dict[str, Row]:
    """The report's rows as `prefix/row`."""
    return {f"{prefix}/{name}": row for name, row in report.rows.items()}


def summary(rows: Mapping[str, Row]) -> str:
    """The rows of HEADLINES that are there, in Markdown."""
    lines = [
        [f"`{key.split('/')[0]}`", what, rows[key]["value"], _interval(rows[key]),
         int(rows[key]["n"])]
        for key, what in HEADLINES.items() if key in rows
    ]  # fmt: skip
    return markdown(("suite", "what", "value", "95 %", "n"), lines)


def _interval(row: Row) -> str:
    known = "low" in row and "high" in row
    return f"{row['low']:.3f} to {row['high']:.3f}" if known else "-"


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
