"""Alignment: the projection learns the words for what it is shown, and nothing else moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError, Records, RecordTurn, write_records
from chatspot_train.finetune import align as module
from chatspot_train.finetune.align import find_projection, name_embeddings, name_of, run_recipe
from chatspot_train.finetune.config import ModelSettings
from chatspot_train.finetune.model import load_start, part_of

Painted = Callable[..., dict[str, str]]


def settings(out: Path, parts: dict[str, Any], data: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"recipe": "align", "out": out, "model": parts, "data": [data], "batch": 16,
            "progress": False, **more}  # fmt: skip


def test_cuts_come_to_lie_at_their_names(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    data = painted(12)
    before = load_start(ModelSettings.model_validate(parts))
    folder = run_recipe(settings(tmp_path / "run", parts, data, steps=200, learning_rate=3e-3))
    after = load_start(ModelSettings(checkpoint=str(folder)))

    untaught = dict(before.model.named_parameters())
    moved = {
        part_of(name) for name, value in after.model.named_parameters()
        if not torch.allclose(value.float(), untaught[name].float(), atol=2e-3, rtol=2e-3)
    }  # fmt: skip
    assert moved == {"projection"}

    names: dict[str, int] = {}
    regions = [
        one for record in Records(Path(data["records"]))
        for one in module._named(record, read_picture(Path(data["images"]) / record.image), after,
                                 names)
    ]  # fmt: skip
    assert set(names) == {"red", "green", "blue"}
    middle, words = name_embeddings(after, list(names))
    right = []
    for one in regions:
        seen = find_projection(after.model)(one.cut.to(words.dtype)).mean(0) - middle
        right.append(int(F.cosine_similarity(seen[None], words).argmax()) in one.names)
    assert np.mean(right) > 0.9
    card = (folder / "README.md").read_text()
    assert "moved: projection" in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize(("answer", "name"), [
    ("refrigerator door", "refrigerator door"), ("Granny-Smith", "granny-smith"), ("Mug.", "mug"),
    ("57", ""), ("yes, door: open", ""), ("no", ""), ("there is no mug here", ""),
    ("a very long name indeed", ""), ("door: open", ""), (" ", ""),
])  # fmt: skip
def test_what_counts_as_a_name(answer: str, name: str) -> None:
    assert name_of(answer) == name


def test_records_that_name_nothing_are_refused(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    data = painted(2)
    counts = tuple(RecordTurn("How many?", "3") for _ in range(2))
    records = [replace(record, turns=counts) for record in Records(Path(data["records"]))]
    write_records(records, Path(data["records"]))
    with pytest.raises(RecordError, match="name nothing"):
        run_recipe(settings(tmp_path / "run", parts, data, steps=2))
    with pytest.raises(ValidationError):
        run_recipe(settings(tmp_path / "run", parts, data, steps=0))
