"""What a projection gets of a picture: a vector of the vision tower for each patch, on a grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Modules between the vision tower and the language model.
PROJECTIONS = ("multi_modal_projector", "merger")


def find_projection(model: nn.Module) -> nn.Module:
    """Return the module between the vision tower and the language model. Raises LookupError."""
    found: list[nn.Module] = [
        one for name, one in model.named_modules() if name.split(".")[-1] in PROJECTIONS
    ]  # fmt: skip
    if len(found) != 1:
        raise LookupError(f"the model has {len(found)} projections, one is needed")
    return found[0]


@contextmanager
def seen_patches(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the projection gets inside the block: tensors of pictures x patches x channels.

    Raises LookupError for a model without one projection.
    """
    found: list[Tensor] = []
    handle = find_projection(model).register_forward_pre_hook(
        lambda _, inputs: found.append(inputs[0].detach())
    )
    try:
        yield found
    finally:
        handle.remove()


def on_grid(patches: Tensor, picture_wh: tuple[int, int]) -> Tensor:
    """Return a picture's patches (patches x channels) as rows x columns x channels.

    The patches are square and cover the picture (width, height) row by row. Raises ValueError where
    their number does not fit.
    """
    width, height = picture_wh
    count = len(patches)
    columns = max(1, round((count * width / height) ** 0.5))
    rows = count // columns
    if rows * columns != count:
        raise ValueError(f"{count} patches are no grid on a picture of {width} x {height} pixels")
    return torch.reshape(patches, (rows, columns, -1))
