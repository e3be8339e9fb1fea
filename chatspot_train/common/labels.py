"""Token labels of the losses."""

from __future__ import annotations

IGNORE = -100  # a label that no loss counts: the default `ignore_index` of torch's cross entropy
