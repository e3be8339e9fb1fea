"""Several questions behind one picture in one row, as the engine's packed batches read them.

Each turn of a record is a conversation of its own: its tokens attend to the picture and to each
other, not to other turns, and are counted from the end of the picture (docs/adr/0007). With a
second look the region's cut is a picture of its own at the beginning of the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling

from chatspot_train.common.labels import IGNORE

PICTURES, OWNERS = "pictures", "owners"
PADDING = -1


@dataclass(frozen=True)
class Branch:
    """A turn behind the shared picture: ids, which of them the model says, its cut's tensors."""

    ids: list[int]
    said: list[bool]
    cut: dict[str, Any] | None = None


def pack(
    shared: Sequence[int], picture: dict[str, Any], branches: Sequence[Branch]
) -> dict[str, Any]:
    """Return one row of tokens with labels, positions, owners, and its pictures in their order.

    The owner of a token is 0 for the picture's part and from 1 on a turn's number.
    """
    ids, labels = list(shared), [IGNORE] * len(shared)
    places, owners = list(range(len(shared))), [0] * len(shared)
    for number, branch in enumerate(branches, 1):
        ids += branch.ids
        labels += [i if said else IGNORE for i, said in zip(branch.ids, branch.said, strict=True)]
        places += range(len(shared), len(shared) + len(branch.ids))
        owners += [number] * len(branch.ids)
    return {
        "input_ids": torch.tensor(ids), "labels": torch.tensor(labels),
        "position_ids": torch.tensor(places), OWNERS: torch.tensor(owners),
        PICTURES: [picture, *(one.cut for one in branches if one.cut is not None)],
    }  # fmt: skip


def join(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, Any]:
    """Return several records' rows, padded on the right to one length, records x tokens.

    Padding attends to itself alone.
    """
    longest = max(len(row["input_ids"]) for row in rows)
    fills = {"input_ids": pad, "labels": IGNORE, "position_ids": 0, OWNERS: PADDING}
    batch: dict[str, Any] = {
        key: torch.stack([
            F.pad(row[key], (0, longest - len(row[key])), value=fill) for row in rows
        ])
        for key, fill in fills.items()
    }  # fmt: skip
    batch[PICTURES] = stack([picture for row in rows for picture in row[PICTURES]])
    return batch


def stack(pictures: Sequence[dict[str, Any]]) -> list[tuple[list[int], dict[str, Tensor]]]:
    """Return pictures of one shape as a batch, with their numbers in the sequence."""
    batches: dict[Any, list[int]] = {}
    for number, picture in enumerate(pictures):
        shapes = tuple((key, torch.as_tensor(value).shape) for key, value in picture.items())
        batches.setdefault(shapes, []).append(number)
    return [
        (numbers, {key: torch.cat([torch.as_tensor(pictures[n][key]) for n in numbers])
                   for key in pictures[numbers[0]]})
        for numbers in batches.values()
    ]  # fmt: skip


def attention_mask(owners: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the additive mask, records x 1 x tokens x tokens: 0 where a row's token attends."""
    theirs, mine = owners[:, None, :], owners[:, :, None]
    seen = (mine == theirs) | ((theirs == 0) & (mine != PADDING))
    mask = torch.zeros(seen.shape, dtype=dtype, device=owners.device)
    return mask.masked_fill_(~seen.tril_(), torch.finfo(dtype).min)[:, None]


def packed_outputs(model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the logits before each answer token, tokens x vocabulary, and those tokens.

    `inputs` are what `join` returned. Only these logits are computed: they are a fifth of all.
    """
    plain: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    seen: dict[int, Tensor] = {}
    for numbers, batch in inputs[PICTURES]:
        found = plain.get_image_features(**batch, return_dict=True).pooler_output
        seen.update(zip(numbers, found, strict=True))
    features = [seen[number] for number in sorted(seen)]
    # The class says one tensor, LLaVA's own code a list of them.
    seen_all = BaseModelOutputWithPooling(pooler_output=cast(Any, features))
    hidden = plain.model(
        input_ids=inputs["input_ids"],
        position_ids=inputs["position_ids"],
        attention_mask=attention_mask(inputs[OWNERS], features[0].dtype),
        mm_encoder_outputs={"image": seen_all},
        use_cache=False,
    ).last_hidden_state
    wanted = inputs["labels"][:, 1:]
    asked = wanted != IGNORE
    return plain.get_output_embeddings()(hidden[:, :-1][asked]).float(), wanted[asked]


def packed_loss(model: nn.Module, inputs: dict[str, Any], items: Tensor | int | None) -> Tensor:
    """Return the cross-entropy of the answer tokens over `items` tokens, by default these."""
    logits, wanted = packed_outputs(model, inputs)
    return F.cross_entropy(logits, wanted, reduction="sum") / (
        len(wanted) if items is None else items
    )
