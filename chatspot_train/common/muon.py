"""Muon for the hidden matrices of a transformer and AdamW for all other weights, as one optimizer.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): the momentum of a
hidden matrix is orthogonalised before the step. Step sizes are scaled to AdamW's (Liu et al., "Muon
is Scalable for LLM Training", 2025), so both share one learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from chatspot_train.common.bf16 import multiplies_bf16

ADAM_BETAS = (0.9, 0.98)


class Float32Muon(Muon):
    """Muon in float32; torch's always computes in bfloat16.

    On a CPU without bfloat16 instructions torch's takes 15 times as long (docs/LOG.md).
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with Nesterov momentum; step sizes are scaled to AdamW's."""
        loss = _loss(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault(
                    "momentum_buffer", torch.zeros_like(weight.grad)
                )
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(
                    weight.grad.lerp(momentum, group["momentum"]),
                    group["ns_coefficients"], group["ns_steps"], group["eps"],
                )  # fmt: skip
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-0.2 * group["lr"] * max(weight.shape) ** 0.5)
        return loss


@torch.enable_grad()
def _loss(closure: Callable[[], float] | None) -> float | None:
    """Return the loss of a step's closure, if there is one."""
    return closure() if closure is not None else None


def orthogonal(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Bring the singular values near 1 with Jordan et al.'s quintic Newton-Schulz steps."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=eps)
    a, b, c = coefficients
    for _ in range(steps):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * (gram @ gram)) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


class MuonAndAdamW(Optimizer):
    """Muon and AdamW stepped together; schedulers see the parameter groups of both."""

    def __init__(self, muon: Muon, adam: AdamW) -> None:
        self.parts: list[Optimizer] = [muon, adam]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Use the optimizers' own groups, so that a scheduler's learning rates reach them."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with each."""
        loss = _loss(closure)
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return both optimizers' states."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load both optimizers' states, as state_dict() returned them."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share()


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the trainable weights of the linear layers under a `layers` list."""
    found: dict[int, nn.Parameter] = {}
    for name, module in model.named_modules():
        if ".layers." in f".{name}." and isinstance(module, nn.Linear):
            weight = cast(nn.Parameter, module.weight)
            found[id(weight)] = weight
    return [weight for weight in found.values() if weight.requires_grad]


def muon_and_adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> MuonAndAdamW:
    """Return Muon for the hidden matrices and AdamW for the rest, without decay for 1-D weights."""
    hidden = hidden_matrices(model)
    known = {id(weight) for weight in hidden}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    adam = AdamW(
        [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=learning_rate,
        betas=ADAM_BETAS,
    )
    kind = Muon if multiplies_bf16() else Float32Muon
    muon = kind(
        hidden, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )  # fmt: skip
    return MuonAndAdamW(muon, adam)
