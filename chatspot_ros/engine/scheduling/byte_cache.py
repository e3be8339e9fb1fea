"""A cache bounded in bytes, least recently used out first; and the hash of a picture.

No torch, no ROS. Used by one thread at a time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from chatspot_ros.core.geometry import RgbImage

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")
MEGABYTE = 1_000_000


def content_key(image_rgb: RgbImage, *made_for: str) -> bytes:
    """Return a hash (BLAKE2b, 128 bits) of a picture's shape and pixels and of `made_for`.

    `image_rgb` is uint8 H x W x 3.
    """
    digest = hashlib.blake2b(repr((image_rgb.shape, made_for)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image_rgb).data)
    return digest.digest()


@dataclass
class _Entry(Generic[ValueT]):
    value: ValueT
    nbytes: int
    users: int = 0


class ByteCache(Generic[KeyT, ValueT]):
    """Keeps values up to a number of bytes; values in use stay whatever their size."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        # Least recently used first.
        self._entries: OrderedDict[KeyT, _Entry[ValueT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: KeyT) -> bool:
        return key in self._entries

    @property
    def nbytes(self) -> int:
        """The bytes of all values; any thread may ask."""
        return sum(entry.nbytes for entry in list(self._entries.values()))

    def get(self, key: KeyT) -> ValueT | None:
        """Return a value and mark it as used; None without one."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: KeyT, value: ValueT, nbytes: int) -> None:
        """Store a value in place of its key's earlier one.

        A value larger than the limit is dropped at the next `make_room`.
        """
        self._entries.pop(key, None)
        self.make_room(nbytes)
        self._entries[key] = _Entry(value, nbytes)

    @contextmanager
    def using(self, key: KeyT) -> Iterator[ValueT]:
        """Keep a stored value during the context. Raises KeyError without one."""
        entry = self._entries[key]
        self._entries.move_to_end(key)
        entry.users += 1
        try:
            yield entry.value
        finally:
            entry.users -= 1
            self.make_room(0)

    def make_room(self, nbytes: int) -> None:
        """Drop unused values, the least recently used first, until `nbytes` more fit."""
        surplus = self.nbytes + nbytes - self.max_bytes
        for key in [key for key, entry in self._entries.items() if not entry.users]:
            if surplus <= 0:
                return
            surplus -= self._entries.pop(key).nbytes
