"""The notation of wordings: one pattern stands for several wordings of a question."""

from __future__ import annotations

import re
from itertools import product

Wordings = dict[str, tuple[str, ...]]

_GROUP = re.compile(r"\(([^()]*)\)")


def spelled_out(*patterns: str) -> tuple[str, ...]:
    """Return the wordings of the patterns, each once: "(Name|Identify) this." gives two."""
    wordings = []
    for pattern in patterns:
        pieces = _GROUP.split(pattern)  # texts and, between them, groups
        choices = [piece.split("|") if k % 2 else [piece] for k, piece in enumerate(pieces)]
        wordings += ["".join(chosen) for chosen in product(*choices)]
    return tuple(dict.fromkeys(wordings))
