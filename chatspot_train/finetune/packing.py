"""Several questions behind one picture in one row, as the engine's packed batches read them.

Each turn of a record is a conversation of its own: its tokens attend to the picture and to each
other, not to other turns, and are counted from the end of the picture (docs/adr/0007). With a
second look the region's cut is a picture of its own at the beginning of the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling

from chatspot_train.common.labels import IGNORE

PICTURES, OWNERS = "pictures", "owners"
# The owner of the tokens that all turns see.
_SHARED = -1


@dataclass(frozen=True)
class Branch:
    """A turn behind the shared picture: ids, which of them the model says, its cut's tensors."""

    ids: list[int]
    said: list[bool]
    cut: dict[str, Any] | None = None


def pack(
    shared: Sequence[int], picture: dict[str, Any], branches: Sequence[Branch]
) -> dict[str, Any]:
    """Return one row of tokens with labels, positions, owners, and its pictures in their order."""
    ids, labels = list(shared), [IGNORE] * len(shared)
    places, owners = list(range(len(shared))), [_SHARED] * len(shared)
    for number, branch in enumerate(branches):
        ids += branch.ids
        labels += [i if said else IGNORE for i, said in zip(branch.ids, branch.said, strict=True)]
        places += range(len(shared), len(shared) + len(branch.ids))
        owners += [number] * len(branch.ids)
    return {
        "input_ids": torch.tensor(ids), "labels": torch.tensor(labels),
        "position_ids": torch.tensor(places), OWNERS: torch.tensor(owners),
        PICTURES: stack([picture, *(one.cut for one in branches if one.cut is not None)]),
    }  # fmt: skip


def stack(pictures: Sequence[dict[str, Any]]) -> list[dict[str, Tensor]]:
    """Return the pictures' tensors in their order, those of one shape that follow each other as a
    batch."""
    batches: list[list[dict[str, Any]]] = []
    for picture in pictures:
        if batches and _shapes(batches[-1][0]) == _shapes(picture):
            batches[-1].append(picture)
        else:
            batches.append([picture])
    return [
        {key: torch.cat([torch.as_tensor(one[key]) for one in batch]) for key in batch[0]}
        for batch in batches
    ]


def _shapes(picture: dict[str, Any]) -> dict[str, Any]:
    return {key: torch.as_tensor(value).shape for key, value in picture.items()}


def attention_mask(owners: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the additive mask, 1 x 1 x tokens x tokens: 0 where a row's token attends."""
    seen = (owners[:, None] == owners[None]) | (owners[None] == _SHARED)
    mask = torch.zeros(seen.shape, dtype=dtype)
    return mask.masked_fill_(~seen.tril_(), torch.finfo(dtype).min)[None, None]


def packed_outputs(model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the logits before each answer token of a packed row, and those tokens.

    `inputs` are a collated row: input_ids, position_ids and labels are 1 x tokens.
    """
    labels = inputs["labels"][0, 1:]
    asked = (labels != IGNORE).nonzero()[:, 0]
    plain: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    features = [
        one for batch in inputs[PICTURES]
        for one in plain.get_image_features(**batch, return_dict=True).pooler_output
    ]  # fmt: skip
    out = model(
        input_ids=inputs["input_ids"],
        position_ids=inputs["position_ids"],
        attention_mask=attention_mask(inputs[OWNERS][0]).to(features[0].device, features[0].dtype),
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)},
        logits_to_keep=asked,
        use_cache=False,
    )
    return out.logits[0].float(), labels[asked]


def packed_loss(model: nn.Module, inputs: dict[str, Any], items: Tensor | int | None) -> Tensor:
    """Return the cross-entropy of a packed row's answer tokens over `items` tokens, by default
    this row's."""
    logits, wanted = packed_outputs(model, inputs)
    return F.cross_entropy(logits, wanted, reduction="sum") / (
        len(wanted) if items is None else items
    )
