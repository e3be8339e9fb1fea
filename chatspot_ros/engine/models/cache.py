"""A shared prefix of a key-value cache."""

from __future__ import annotations

import copy

from transformers import DynamicCache


def share_cache(cache: DynamicCache, length: int) -> DynamicCache:
    """Return a cache that continues the first `length` tokens of another, left unchanged.

    Nothing is copied: a dynamic layer replaces its tensors when it grows or is cropped.
    """
    shared = copy.copy(cache)
    shared.layers = [copy.copy(layer) for layer in cache.layers]
    surplus = cache.get_seq_length() - length
    if surplus:
        shared.crop(-surplus)
    return shared
