"""Plots of a feedback analysis: effects with intervals, the graph, unhappiness by factor."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence

import networkx as nx
import numpy as np
from matplotlib.figure import Figure

from chatspot_train.feedback.effects import Effect
from chatspot_train.feedback.graph import CONTEXT, FACTORS, HIDDEN, UNHAPPY, make_graph
from chatspot_train.feedback.log_table import Flags, Table

_PARTS = 5  # of a number, in the plot of shares
_PLACES = {
    "part_of_day": (0.2, 2.6), "camera": (0.2, 0.9), "task": (1.9, 3.4), "model": (1.3, 2.7),
    "light": (1.3, 1.6), "region_share": (2.2, 0.0), "sharpness": (2.35, 1.0),
    "seconds": (3.2, 3.4), "quality": (3.5, 1.9), "confidence": (4.6, 1.0), UNHAPPY: (4.6, 2.7),
    "rating": (5.6, 3.3), "follow_up": (5.6, 2.1),
}  # fmt: skip


def effects_plot(effects: Sequence[Effect]) -> Figure:
    """Plot the adjusted change with its interval, and the plain one, of every effect."""
    shown = list(reversed(effects))
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(shown)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(shown))
    change = np.array([one.change for one in shown])
    spread = np.array([[one.change - one.low for one in shown],
                       [one.high - one.change for one in shown]])  # fmt: skip
    axes.axvline(0, color="grey", linewidth=1)
    axes.errorbar(100 * change, rows + 0.1, xerr=100 * spread, fmt="o", capsize=3,
                  label="adjusted, with 95 % interval")  # fmt: skip
    axes.plot([100 * one.plain for one in shown], rows - 0.15, "x", color="tab:red",
              label="plain difference")  # fmt: skip
    axes.set_yticks(rows, [_safe(name(one)) for one in shown])
    axes.set(xlabel="change of the share of unhappy answers, in points", ylim=(-0.7, len(rows)))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.25 if len(rows) < 4 else 1.15), ncols=2)
    return figure


def graph_plot() -> Figure:
    """Draw the assumed causal graph."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    graph = make_graph()
    colours = {**dict.fromkeys(FACTORS, "#cfe3f7"), **dict.fromkeys(CONTEXT, "#e6e6e6"),
               **dict.fromkeys(HIDDEN, "#ffffff"), UNHAPPY: "#f7cfcf"}  # fmt: skip
    edges = list(graph.edges)
    shades = ["#c4c4c4" if cause in CONTEXT else "#555555" for cause, _ in edges]
    nx.draw_networkx_edges(graph, _PLACES, edges, ax=axes, node_size=2600, edge_color=shades,
                           arrowsize=12, connectionstyle="arc3,rad=0.06")  # fmt: skip
    for node, (x, y) in _PLACES.items():
        axes.text(x, y, node.replace("_", " "), ha="center", va="center",
                  bbox={"boxstyle": "round,pad=0.4", "facecolor": colours.get(node, "#f3ecd2"),
                        "edgecolor": "#555555",
                        "linestyle": "--" if node in HIDDEN else "-"})  # fmt: skip
    axes.set_axis_off()
    axes.margins(0.12)
    return figure


def shares_plot(table: Table, outcome: Flags) -> Figure:
    """Plot the share of unhappy answers over each number, by fifths, as it is in the log."""
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    for axes, (factor, x) in zip(
        figure.subplots(1, len(table.numbers), sharey=True), table.numbers.items(), strict=True
    ):
        parts = np.array_split(np.argsort(x, kind="stable"), _PARTS)
        middles = [f"{in_unit(factor, float(np.median(x[part]))):.3g}" for part in parts]
        axes.plot([100 * outcome[part].mean() for part in parts], marker="o")
        axes.set_xticks(range(_PARTS), middles)
        axes.set(xlabel=UNITS[factor])
        axes.margins(y=0.15)
    figure.axes[0].set(ylim=(0, figure.axes[0].get_ylim()[1]), ylabel="unhappy, %")
    return figure


UNITS = {
    "light": "light (0 to 1)", "sharpness": "sharpness", "region_share": "share of the image",
    "seconds": "seconds",
}  # fmt: skip


def in_unit(factor: str, value: float) -> float:
    """Return a table's number in the unit of the log."""
    if factor == "light":
        return value
    return float(np.expm1(value) if factor == "sharpness" else np.exp(value))


def name(effect: Effect) -> str:
    """Return what changes, in words: `light from 0.21 to 0.74`, `task read`."""
    if effect.level:
        return f"{effect.factor} {effect.level}"
    low, high = (in_unit(effect.factor, end) for end in effect.ends)
    return f"{effect.factor.replace('_', ' ')} from {low:.3g} to {high:.3g}"


def data_uri(figure: Figure) -> str:
    """Return a figure as a PNG for a page."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font does not have
        figure.savefig(file, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _safe(text: str) -> str:
    """Return a text without the marks that begin a formula."""
    return text.replace("$", r"\$")
