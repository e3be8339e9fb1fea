"""Linear layers on a CPU with their weights in the blocked layout that its kernels read.

torch's own float32 products (MKL) arrange a weight anew at each call, which for the few rows of a
decoding step costs as much as the product itself. oneDNN, which is part of torch, takes weights
that were arranged once.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn

# The rows that the layout is chosen for; others are computed in it as well.
_ROWS = 16
# Below this there is nothing to gain.
_LEAST_FEATURES = 64


class PackedLinear(nn.Module):
    """A linear layer, x (..., in) to x W^T + b (..., out), in float32, with a packed weight."""

    def __init__(self, linear: nn.Linear) -> None:
        """Takes over the weight of `linear` (out, in) and its bias."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:
        """A copy of the weight, (out, in)."""
        dense: Tensor = self._packed.to_dense()
        return dense

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return y

    def extra_repr(self) -> str:
        """As nn.Linear says it."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def pack(model: nn.Module) -> int:
    """Pack the float32 linear layers of a model's blocks, in their places; return how many.

    What is outside of the blocks (the last layer, which may share the embeddings' weight) and
    what is no plain nn.Linear stays. On other processors than x86 nothing is packed: not tried.
    """
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if platform.machine() not in ("x86_64", "AMD64") or not has_onednn:
        return 0
    names = [
        name
        for name, module in model.named_modules()
        if {"layers", "blocks"} & set(name.split(".")) and _gains(module)
    ]
    for name in names:
        parent, _, child = name.rpartition(".")
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        setattr(model.get_submodule(parent), child, PackedLinear(linear))
    if names:
        _leave_the_file(model)
    return len(names)


def _leave_the_file(model: nn.Module) -> None:
    """Copy what is left of a checkpoint's mapped file, which stays in memory whole until nothing
    refers to it."""
    for tensor in (*model.parameters(), *model.buffers()):
        if type(tensor.data) is Tensor:
            tensor.data = tensor.data.clone()


def _gains(module: nn.Module) -> bool:
    """Whether it is a linear layer that is large enough, its weight plain float32 numbers on the
    CPU: a quantised one is a tensor of its own kind."""
    if type(module) is not nn.Linear:
        return False
    weight = module.weight
    plain = type(weight) is nn.Parameter and type(weight.data) is Tensor
    on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    return plain and on_cpu and min(module.in_features, module.out_features) >= _LEAST_FEATURES
