"""The assumed causal graph of unhappiness, and what to adjust for in it.

The graph is an assumption: it is shown on every page, and the effects hold if it does. A factor's
adjustment set follows from it by Pearl's backdoor criterion (Causality, 2nd edition, section 3.3).
"""

from __future__ import annotations

import networkx as nx

from chatspot_ros.errors import ChatspotError

UNHAPPY = "unhappy"  # seen as a bad rating, or as a follow-up
# Circumstances: they change the factors, and how people judge, but nobody can mend them.
CONTEXT = ("part_of_day", "camera")
FACTORS = ("light", "sharpness", "region_share", "task", "model", "seconds")
# Seen in no log, but between others.
HIDDEN = ("quality",)

# Cause -> its direct effects.
EDGES: dict[str, tuple[str, ...]] = {
    "part_of_day": ("light", "task", "model", "seconds", UNHAPPY),
    "camera": ("light", "sharpness", "region_share", "task", "model", "seconds", UNHAPPY),
    "task": ("region_share", "seconds", "quality"),
    "model": ("seconds", "quality"),
    "light": ("sharpness", "quality"),
    "region_share": ("sharpness", "quality"),
    "sharpness": ("quality",),
    "quality": ("confidence", UNHAPPY),
    "seconds": (UNHAPPY,),
    UNHAPPY: ("rating", "follow_up"),
}


class NotIdentifiedError(ChatspotError):
    """A graph has no observed set of variables that closes every backdoor path."""


def make_graph(edges: dict[str, tuple[str, ...]] | None = None) -> nx.DiGraph:
    """Return the graph of `edges`, by default of EDGES. Raises ValueError if it has a cycle."""
    graph = nx.DiGraph(
        (cause, effect) for cause, some in (edges or EDGES).items() for effect in some
    )
    if not nx.is_directed_acyclic_graph(graph):
        raise ValueError(f"the causal graph has a cycle: {nx.find_cycle(graph)}")
    return graph


def adjustment_set(graph: nx.DiGraph, cause: str, outcome: str = UNHAPPY) -> frozenset[str]:
    """Return the observed variables to adjust for when `cause`'s total effect is estimated.

    These are all ancestors of either one that the cause does not change. They are enough whenever
    any set of such variables is (van der Zander and others, 2014, Constructing Separators and
    Adjustment Sets in Ancestral Graphs); that is checked.

    Raises:
        NotIdentifiedError: a backdoor path stays open.
    """
    changed = nx.descendants(graph, cause)
    relevant = nx.ancestors(graph, cause) | nx.ancestors(graph, outcome)
    found = frozenset(relevant - changed - {cause, outcome} - set(HIDDEN))
    without = graph.copy()
    without.remove_edges_from(list(graph.out_edges(cause)))
    if not nx.is_d_separator(without, {cause}, {outcome}, set(found)):
        raise NotIdentifiedError(
            f"the effect of {cause} cannot be told from others",
            value=", ".join(sorted(found)),
            remedy="log a variable on the open path, or change the graph",
        )
    return found
