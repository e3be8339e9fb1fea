"""Decoding steps of fixed shapes, replayed as CUDA graphs (docs/adr/0012).

A step of a large model launches more than a thousand small kernels, and on a GPU launching them
takes longer than running them. Keys, values, ids, positions and slots lie in buffers that never
move, and the whole step is recorded once for each shape.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

from chatspot_ros.engine.decoding.kv_cache import GrowingLayer

# Takes a function that computes into fixed tensors, returns one that replays it.
Record = Callable[[Callable[[], torch.Tensor]], Callable[[], torch.Tensor]]

_log = logging.getLogger(__name__)
# Tokens of the smallest shape; each further one has twice as many.
SHORTEST = 1024
_WARM_UPS = 3


def record_cuda_graph(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Record a function's work on the thread's current GPU; return the function that replays it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = run()

    def replay() -> torch.Tensor:
        graph.replay()
        return logits

    return replay


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values in fixed buffers, (1, heads, tokens, head size).

    New ones are written to `slots`, a tensor (new tokens,) that the caller fills.
    """

    is_compileable = True
    is_sliding = False

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.slots = keys, values, slots
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the buffers exist."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new keys and values; return all."""
        assert self.keys is not None
        assert self.values is not None
        self.keys.index_copy_(2, self.slots, key_states)
        self.values.index_copy_(2, self.slots, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length and offset of the attended columns."""
        return self.get_max_length(), 0

    def get_seq_length(self) -> int:
        """Return the capacity in tokens; the mask says which are used."""
        return self.get_max_length()

    def get_max_length(self) -> int:
        """Return the capacity in tokens."""
        assert self.keys is not None
        return int(self.keys.shape[-2])


class _Shape:
    """Steps of at most `rows` new tokens over at most `length` in all."""

    def __init__(
        self, model: Any, buffers: Sequence[tuple[torch.Tensor, torch.Tensor]], rows: int,
        length: int,
    ) -> None:  # fmt: skip
        keys = buffers[0][0]
        self.rows, self.length, self._model = rows, length, model
        self._lowest = torch.finfo(keys.dtype).min
        self._dtype = keys.dtype
        self.ids = torch.zeros(1, rows, dtype=torch.long, device=keys.device)
        self.positions = torch.zeros(1, rows, dtype=torch.long, device=keys.device)
        # The last slot takes the unused rows; it is never read.
        self.slots = torch.full((rows,), length - 1, dtype=torch.long, device=keys.device)
        self.seen = torch.zeros(rows, length, dtype=torch.bool, device=keys.device)
        self._cache = Cache(layers=[
            SlotLayer(key[:, :, :length], value[:, :, :length], self.slots)
            for key, value in buffers
        ])  # fmt: skip
        self.run: Callable[[], torch.Tensor] = self.compute

    def compute(self) -> torch.Tensor:
        """Run the model over the tensors of this shape; return logits (rows, vocabulary)."""
        hidden = ~self.seen[None, None]
        mask = torch.zeros(hidden.shape, dtype=self._dtype, device=hidden.device)
        mask = mask.masked_fill(hidden, self._lowest)
        output = self._model(
            input_ids=self.ids,
            attention_mask=mask,
            position_ids=self.positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = output.logits[0]
        return logits


class CudaGraphSteps:
    """Decodes behind a cache in steps of fixed shapes. Use it from one thread, in inference mode.

    Call `begin` with a cache, then `step` with the mask of each new token.
    """

    def __init__(
        self,
        model: Any,
        *,
        tokens: int,
        rows: Sequence[int] = (1,),
        compiler: str | None = None,
        record: Record | None = record_cuda_graph,
    ) -> None:
        """`model` is called as Runner.model is.

        At most `tokens` are attended to; a step reads at most `rows` new ones, and each of these
        numbers gets its shapes. `compiler` is a backend of torch.compile that fuses kernels first
        (`inductor`); `record` None: steps are computed anew instead of replayed.
        """
        self._model, self._tokens, self._rows = model, tokens, sorted(rows)
        self._compiler, self._record = compiler, record
        self._buffers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._shapes: list[_Shape] = []
        self._shape: _Shape | None = None
        self._give_way: Callable[[], None] | None = None
        self.length = self._begun = 0

    @property
    def rows(self) -> int:
        """The largest number of new tokens in a step; 0 while no shape is recorded."""
        return max((shape.rows for shape in self._shapes), default=0)

    def prepare(self, cache: Any) -> bool:
        """Make and record all shapes for caches like this one; return whether that succeeded.

        A failure is logged: the shapes are then made without the compiler, then not at all.
        """
        if not _is_plain(cache):
            _log.warning("steps are not recorded: this model keeps more than keys and values")
            return False
        for compiler in dict.fromkeys((self._compiler, None)):
            try:
                self._shapes = self._make(cache, compiler)
                return True
            except Exception as error:  # any error of a compiler or driver: it only costs time
                _log.warning(
                    "decoding goes on %s: %s: %s",
                    "without the compiler" if compiler else "without recorded steps",
                    type(error).__name__, str(error).splitlines()[0] if str(error) else "",
                )  # fmt: skip
        self._shapes, self._buffers = [], []
        return False

    def begin(
        self,
        cache: DynamicCache,
        more: int,
        rows: int = 1,
        give_way: Callable[[], None] | None = None,
    ) -> bool:
        """Copy a cache into the buffers; return whether a shape has room for `more` tokens.

        The previous user's `give_way` is called first: its `written` columns are lost afterwards.
        """
        if rows > self.rows or not _is_plain(cache):
            return False
        begun = int(cache.get_seq_length())
        # One slot is for the unused rows.
        fitting = [one for one in self._shapes if one.rows >= rows and one.length > begun + more]
        if not fitting:
            return False
        if self._give_way is not None:
            self._give_way()
        self._shape = shape = min(fitting, key=lambda one: (one.length, one.rows))
        self._give_way = give_way
        self.length = self._begun = begun
        layers: list[Any] = list(cache.layers)
        for (keys, values), layer in zip(self._buffers, layers, strict=True):
            keys[:, :, :begun].copy_(layer.keys)
            values[:, :, :begun].copy_(layer.values)
        shape.seen.zero_()
        shape.slots.fill_(shape.length - 1)
        return True

    def written(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return each layer's keys and values (1, heads, tokens, head size) that the steps have
        added to the cache's; the next steps overwrite them."""
        return [
            (keys[:, :, self._begun : self.length], values[:, :, self._begun : self.length])
            for keys, values in self._buffers
        ]

    def end(self) -> None:
        """Release the buffers: the written columns are not needed any more."""
        self._shape = self._give_way = None

    def step(self, ids: Sequence[int], positions: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Read new tokens behind all others; return the logits behind each, (new, vocabulary).

        `positions` (new,) count from the first token of the conversation; `seen` (new, tokens) is
        True where a new token attends, the new ones included. The next call overwrites the logits.
        """
        shape = self._shape
        if shape is None:
            raise RuntimeError("recorded steps were not begun")
        new, end = len(ids), self.length + len(ids)
        if new > shape.rows or end >= shape.length:
            raise ValueError(f"{new} of {end} tokens do not fit into {shape.rows}, {shape.length}")
        shape.ids[0, :new] = torch.tensor(list(ids), device=shape.ids.device)
        shape.positions[0, :new] = positions.to(shape.positions.device)
        shape.slots.fill_(shape.length - 1)
        shape.slots[:new] = torch.arange(self.length, end, device=shape.slots.device)
        shape.seen[:new, :end] = seen.to(shape.seen.device)
        self.length = end
        return shape.run()[:new]

    def _make(self, cache: Any, compiler: str | None) -> list[_Shape]:
        lengths = [min(SHORTEST, self._tokens)]
        while lengths[-1] < self._tokens:
            lengths.append(min(2 * lengths[-1], self._tokens))
        if not self._buffers:
            self._buffers = [
                tuple(one.new_zeros(*one.shape[:2], lengths[-1], one.shape[-1])
                      for one in (layer.keys, layer.values))
                for layer in cache.layers
            ]  # fmt: skip
        shapes = []
        for length in lengths:
            for rows in self._rows:
                shape = _Shape(self._model, self._buffers, rows, length)
                if compiler is not None:
                    shape.run = torch.compile(
                        shape.compute, backend=compiler, fullgraph=True, dynamic=False
                    )
                    shape.run()
                if self._record is not None:
                    shape.run = self._record(shape.run)
                shapes.append(shape)
        return shapes


def _is_plain(cache: Any) -> bool:
    """Return whether a cache holds only keys and values, those of every token.

    Qwen's also holds the position shift of its picture, which a recording would freeze.
    """
    if type(cache) is not DynamicCache or vars(cache).keys() - vars(DynamicCache()).keys():
        return False
    layers: list[Any] = list(cache.layers)
    return bool(layers) and all(
        type(layer) in (DynamicLayer, GrowingLayer) and layer.is_initialized for layer in layers
    )
