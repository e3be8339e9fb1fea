"""Adjustment sets follow from the graph by the backdoor criterion."""

from __future__ import annotations

import networkx as nx
import pytest

from chatspot_train.feedback.graph import (
    CONTEXT,
    FACTORS,
    HIDDEN,
    UNHAPPY,
    NotIdentifiedError,
    adjustment_set,
    make_graph,
)


@pytest.mark.parametrize("factor", FACTORS)
def test_every_factor_is_identified_and_its_consequences_are_left_alone(factor: str) -> None:
    graph = make_graph()
    found = adjustment_set(graph, factor)
    assert not found & (nx.descendants(graph, factor) | {factor, *HIDDEN})
    assert set(CONTEXT) <= found  # both change every factor, or what changes it


def test_confidence_is_no_cause() -> None:
    graph = make_graph()
    assert not nx.has_path(graph, "confidence", UNHAPPY)
    assert all("confidence" not in adjustment_set(graph, one) for one in FACTORS)


@pytest.mark.parametrize(
    ("edges", "wanted"),
    [
        ({"w": ("x", UNHAPPY), "x": (UNHAPPY,)}, {"w"}),
        ({"x": ("m",), "m": (UNHAPPY,)}, set()),  # a step between is not adjusted for
        ({"x": ("c", UNHAPPY), UNHAPPY: ("c",)}, set()),  # nor what both change
        ({"w": ("x",), "x": (UNHAPPY,)}, {"w"}),
    ],
)
def test_textbook_graphs(edges: dict[str, tuple[str, ...]], wanted: set[str]) -> None:
    assert adjustment_set(make_graph(edges), "x") == wanted


def test_an_open_path_is_not_passed_over() -> None:
    graph = make_graph({"quality": ("x", UNHAPPY), "x": (UNHAPPY,)})
    with pytest.raises(NotIdentifiedError, match="x"):
        adjustment_set(graph, "x")


def test_a_graph_has_no_cycle() -> None:
    with pytest.raises(ValueError, match="cycle"):
        make_graph({"a": ("b",), "b": ("a",)})
