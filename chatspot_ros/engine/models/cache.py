"""A shared prefix of a key-value cache."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

# Layers that replace their tensors when they grow, and change none in place.
_REPLACING = (DynamicLayer, DynamicSlidingWindowLayer, DummyLayer)


def share_cache(cache: DynamicCache, length: int) -> DynamicCache:
    """Return a cache that continues the first `length` tokens of another, left unchanged.

    Keys and values are not copied: their layers replace their tensors when they grow or are
    cropped. The states of recurrent and convolutional layers, which are overwritten in place, are.
    """
    shared = copy.copy(cache)
    shared.layers = [_branch(layer) for layer in cache.layers]
    surplus = cache.get_seq_length() - length
    if surplus:
        shared.crop(-surplus)
    return shared


def _branch(layer: Any) -> Any:
    branch = copy.copy(layer)
    if type(layer) not in _REPLACING:
        for name, value in vars(layer).items():
            setattr(branch, name, _copied(value))
    return branch


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value
