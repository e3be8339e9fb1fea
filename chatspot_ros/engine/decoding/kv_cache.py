"""The KV cache of a packed batch, which grows in place behind a scene's prefix."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

# The tensors of a layer; recurrent and convolutional layers have no keys and values.
_STATES = ("keys", "values", "conv_states", "recurrent_states")


class GrowingLayer(DynamicLayer):
    """One layer's keys and values in longer buffers, so that growing copies nothing.

    `keys` and `values` are views, (1, heads, columns, head size).
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, layer: Any) -> None:
        """Start from another layer's columns, in its buffers, without free room."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device = layer.keys.dtype, layer.keys.device
        self.is_initialized = True
        self._keys_buffer, self._values_buffer = layer.keys, layer.values
        self.keys, self.values = layer.keys, layer.values

    def resize(self, index: torch.Tensor, room: int) -> None:
        """Keep only the columns of `index` (rising), with room for `room` more."""
        index = index.to(self.keys.device)
        for name in ("keys", "values"):
            old = getattr(self, name)
            shape = (*old.shape[:-2], len(index) + room, old.shape[-1])
            buffer = old.new_empty(shape)
            if len(index) == old.shape[-2]:
                buffer[..., : len(index), :].copy_(old)
            else:
                torch.index_select(old, -2, index, out=buffer[..., : len(index), :])
            setattr(self, f"_{name}_buffer", buffer)
            setattr(self, name, buffer[..., : len(index), :])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append columns, for which there must be room; return all keys and values."""
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        if end > self._keys_buffer.shape[-2]:
            raise IndexError(f"{end} columns do not fit into {self._keys_buffer.shape[-2]}")
        self._keys_buffer[..., begin:end, :] = key_states
        self._values_buffer[..., begin:end, :] = value_states
        self.keys = self._keys_buffer[..., :end, :]
        self.values = self._values_buffer[..., :end, :]
        return self.keys, self.values


@dataclass(frozen=True)
class TurnCache:
    """KV-cache entries of earlier turns: token ids, and their keys and values.

    `layers` has (keys, values) of each layer, (1, heads, tokens, head size). They are valid only
    behind the picture that they were computed on.
    """

    ids: tuple[int, ...]
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def nbytes(self) -> int:
        """The bytes of the tensors."""
        return sum(one.nbytes for pair in self.layers for one in pair)

    def known(self, ids: list[int]) -> int:
        """Return the length of the common prefix with a conversation, less than all of it."""
        count = 0
        for mine, asked in zip(self.ids, ids[:-1], strict=False):
            if mine != asked:
                break
            count += 1
        return count


class PackedCache:
    """The cache of a packed batch: a scene's prefix, and behind it columns that come and go.

    The prefix exists once: meanwhile the scene's own cache is a view of the same memory.
    """

    def __init__(self, home: DynamicCache) -> None:
        """`home` is the scene's cache, of plain growing layers (see `can_grow`)."""
        self._home = home
        self.prefix = home.get_seq_length()
        self.capacity = self.prefix
        self.cache = copy.copy(home)
        self.cache.layers = [GrowingLayer(layer) for layer in home.layers]

    @staticmethod
    def can_grow(cache: DynamicCache) -> bool:
        """Return whether all layers keep every column; sliding or shared ones do not."""
        layers: list[Any] = list(cache.layers) if type(cache) is DynamicCache else []
        return bool(layers) and all(
            type(layer) is DynamicLayer and bool(layer.is_initialized) for layer in layers
        )

    @property
    def nbytes(self) -> int:
        """The bytes of the buffers, with the prefix and the free room."""
        return sum(layer._keys_buffer.nbytes + layer._values_buffer.nbytes for layer in self._all)

    @property
    def _all(self) -> list[GrowingLayer]:
        layers: list[Any] = list(self.cache.layers)
        return layers

    def resize(self, kept: torch.Tensor, room: int) -> None:
        """Keep the prefix and the `kept` columns behind it (counted from 0), with `room` more."""
        index = torch.cat([torch.arange(self.prefix), self.prefix + kept])
        self.capacity = len(index) + room
        homes: list[Any] = list(self._home.layers)
        for layer, scene_layer in zip(self._all, homes, strict=True):
            layer.resize(index, room)
            scene_layer.keys = layer.keys[..., : self.prefix, :]
            scene_layer.values = layer.values[..., : self.prefix, :]

    def insert(self, memory: TurnCache, count: int) -> None:
        """Append the first `count` columns of earlier turns."""
        self.append(
            [(keys[..., :count, :], values[..., :count, :]) for keys, values in memory.layers]
        )

    def append(self, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Append columns, (keys, values) of each layer; there must be room for them."""
        for layer, (keys, values) in zip(self._all, layers, strict=True):
            layer.update(keys, values)

    def copy_out(self, columns: torch.Tensor, ids: tuple[int, ...]) -> TurnCache:
        """Copy columns (counted from the prefix's end) that hold `ids`."""
        index = self.prefix + columns
        return TurnCache(ids, tuple(
            (layer.keys.index_select(-2, index.to(layer.keys.device)),
             layer.values.index_select(-2, index.to(layer.values.device)))
            for layer in self._all
        ))  # fmt: skip

    def leave(self) -> None:
        """Give the scene's cache its own memory again, so that the columns can be freed."""
        if self.capacity > self.prefix:
            homes: list[Any] = list(self._home.layers)
            for layer in homes:
                layer.keys, layer.values = layer.keys.clone(), layer.values.clone()


def tensor_bytes(value: Any) -> int:
    """Return the bytes of the tensors in a cache, a model's output, or a container of such."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, DynamicCache):
        return sum(tensor_bytes([getattr(layer, name, None) for name in _STATES])
                   for layer in value.layers)  # fmt: skip
    if isinstance(value, Mapping):
        return sum(map(tensor_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(tensor_bytes, value))
    return 0
