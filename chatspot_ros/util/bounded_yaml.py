"""Reads YAML files that stay small when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 4_000_000
# Values of a file, each counted as often as it is named. The largest file of this project has 401.
MAX_VALUES = 100_000


def load_yaml(path: Path) -> Any:
    """Return the contents of a YAML file in UTF-8, without Python objects.

    Raises:
        OSError, UnicodeDecodeError: the file cannot be read.
        yaml.YAMLError: no YAML, more than MAX_BYTES, or more than MAX_VALUES values once its
            aliases are written out: 462 bytes of anchors can stand for millions.
    """
    if path.stat().st_size > MAX_BYTES:
        raise yaml.YAMLError(f"the file has more than {MAX_BYTES} bytes")
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _count(node, {})
        return yaml.safe_load(text)
    except RecursionError as error:
        raise yaml.YAMLError("the file is nested too deeply") from error


def _count(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Return the number of values of a node with its aliases written out."""
    if id(node) not in known:
        known[id(node)] = MAX_VALUES  # until it is known: a node within itself never ends
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [one for pair in node.value for one in pair]
        known[id(node)] = 1 + sum(_count(child, known) for child in children)
    if known[id(node)] > MAX_VALUES:
        raise yaml.YAMLError(f"the file has more than {MAX_VALUES} values")
    return known[id(node)]
