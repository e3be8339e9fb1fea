"""Plots of a confidence's calibration."""

from __future__ import annotations

from matplotlib.figure import Figure

from chatspot_train.evaluation.metrics.calibration import (
    Threshold,
    Values,
    bins,
    calibration_error,
    risk_area,
    risk_curve,
)


def reliability_plot(confidence: Values, right: Values) -> Figure:
    """Plot accuracy over mean confidence by bin; the size of a point shows its count."""
    count, sure, accuracy = bins(confidence, right)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="as it should be")
    filled = count > 0
    sizes = 15 + 300 * count[filled] / count.sum()
    axes.scatter(sure[filled], accuracy[filled], s=sizes, label=f"{len(right)} answers")
    axes.set(xlabel="mean confidence", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title(f"calibration error {calibration_error(confidence, right):.3f}")
    axes.legend()
    return figure


def risk_plot(confidence: Values, right: Values, target: float, chosen: Threshold | None) -> Figure:
    """Plot risk over coverage, with the target and the threshold."""
    _, coverage, risk = risk_curve(confidence, right)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(coverage, risk, marker=".")
    axes.axhline(target, color="grey", linestyle="--", label="target")
    if chosen:
        said = f"confidence {chosen.confidence:.3f}"
        axes.plot([chosen.coverage], [chosen.risk], "o", color="tab:red", label=said)
    axes.set(xlabel="coverage", ylabel="risk", xlim=(0, 1.02), ylim=(0, None))
    axes.set_title(f"area {risk_area(confidence, right):.3f}")
    axes.legend()
    return figure
