"""Muon and AdamW as one optimizer: who trains what, and that a scheduler reaches both."""

import pytest
import torch
from torch import nn
from torch.optim import Muon
from torch.optim.lr_scheduler import LambdaLR

from chatspot_train.common import muon
from chatspot_train.common.muon import Float32Muon, hidden_matrices, muon_and_adamw


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(5, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.head = nn.Linear(4, 3)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        hidden = self.words(numbers)
        for layer in self.layers:
            hidden = layer(hidden).relu()
        return torch.as_tensor(self.head(hidden))


def test_the_matrices_inside_the_layers_are_muons() -> None:
    model = Small()
    model.layers[1].weight.requires_grad_(False)
    optimizer = muon_and_adamw(model, 0.01, 0.1)
    assert hidden_matrices(model) == [model.layers[0].weight]
    muons, decayed, undecayed = (group["params"] for group in optimizer.param_groups)
    assert [id(p) for p in muons] == [id(model.layers[0].weight)]
    assert {id(p) for p in decayed} == {id(model.words.weight), id(model.head.weight)}
    assert {p.ndim for p in undecayed} == {1}


def test_a_hidden_matrix_moves_by_an_orthogonal_step() -> None:
    model = Small()
    optimizer = muon_and_adamw(model, 0.01, 0.0)
    before = model.layers[0].weight.detach().clone()
    model(torch.arange(5)).square().mean().backward()
    optimizer.step()
    step = (model.layers[0].weight.detach() - before) / (0.01 * 0.2 * 2)
    found = torch.linalg.svdvals(step)
    rank = int((torch.linalg.svdvals(model.layers[0].weight.grad) > 1e-4).sum())
    assert rank > 1
    assert ((found[:rank] > 0.5) & (found[:rank] < 1.3)).all()


def test_a_scheduler_reaches_both_after_loading_too() -> None:
    model = Small()
    optimizer = muon_and_adamw(model, 0.01, 0.0)
    model(torch.arange(5)).square().mean().backward()
    optimizer.step()
    other = Small()
    again = muon_and_adamw(other, 0.01, 0.0)
    again.load_state_dict(optimizer.state_dict())
    schedule = LambdaLR(again, lambda _: 0.0)
    before = {name: p.detach().clone() for name, p in other.named_parameters()}
    other(torch.arange(5)).square().mean().backward()
    again.step()
    schedule.step()
    assert all(group["lr"] == 0.0 for part in again.parts for group in part.param_groups)
    for name, p in other.named_parameters():
        assert torch.equal(p, before[name]), name


@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
def test_in_float32_it_steps_as_torchs_does(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    moved = []
    for kind in (Muon, Float32Muon):
        torch.manual_seed(1)
        weight = nn.Parameter(start.clone())
        optimizer = kind([weight], lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for _ in range(3):
            weight.grad = torch.randn(shape)
            optimizer.step()
        moved.append(weight.detach() - start)
    theirs, ours = moved
    assert float(theirs.norm()) > 0.1
    assert float((ours - theirs).norm() / theirs.norm()) < 0.03  # torch's is in bfloat16
    assert not torch.equal(ours, theirs)


@pytest.mark.parametrize("multiplies", [False, True])
def test_where_bfloat16_is_slow_it_steps_in_float32(
    multiplies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "multiplies_bf16", lambda: multiplies)
    first, _ = muon_and_adamw(Small(), 0.01, 0.1).parts
    assert isinstance(first, Float32Muon) is not multiplies
