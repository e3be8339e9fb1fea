"""Muon for the matrices inside a transformer, AdamW for all the rest, as one optimizer.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): a hidden matrix's
momentum is made orthogonal before it is applied. Step sizes are scaled to AdamW's (Liu et al.,
"Muon is Scalable for LLM Training", 2025), so both share one learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

ADAM_BETAS = (0.9, 0.98)


class MuonAndAdamW(Optimizer):
    """Steps both optimizers; schedulers see the parameter groups of both."""

    def __init__(self, muon: Muon, adam: AdamW) -> None:
        self.parts: list[Optimizer] = [muon, adam]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """A scheduler's new learning rate in a group here must be the group's there."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Both optimizers' states."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Both optimizers' states, as state_dict() gave them."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share()


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights of all linear layers inside repeated blocks: those under a `layers` list."""
    found: dict[int, nn.Parameter] = {}
    for name, module in model.named_modules():
        if ".layers." in f".{name}." and isinstance(module, nn.Linear):
            weight = cast(nn.Parameter, module.weight)
            found[id(weight)] = weight
    return [weight for weight in found.values() if weight.requires_grad]


def muon_and_adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> MuonAndAdamW:
    """Muon on the model's hidden matrices, AdamW on what is left (biases and norms undecayed)."""
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
    muon = Muon(
        hidden, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )  # fmt: skip
    return MuonAndAdamW(muon, adam)
