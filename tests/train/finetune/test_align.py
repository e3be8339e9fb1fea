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

from chatspot_ros.engine.models.patches import find_projection
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError, Records, RecordTurn, write_records
from chatspot_train.finetune.align import AlignSettings, name_embeddings, run_recipe
from chatspot_train.finetune.align_regions import (
    NAME,
    Vocabulary,
    name_of,
    read_shown,
    states_of,
)
from chatspot_train.finetune.config import ModelSettings
from chatspot_train.finetune.model import load_start, part_of

Painted = Callable[..., dict[str, str]]
STATES = {"red": "door: open", "green": "door: closed", "blue": "door: closed"}


def settings(out: Path, parts: dict[str, Any], data: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"recipe": "align", "out": out, "model": parts, "data": [data], "batch": 16,
            "progress": False, **more}  # fmt: skip


@pytest.mark.parametrize("learn", [["projection"], ["projection", "vision"]])
def test_cuts_come_to_lie_at_their_names(
    learn: list[str], parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    data = painted(12)
    before = load_start(ModelSettings.model_validate(parts))
    folder = run_recipe(settings(tmp_path / "run", parts, data, learn=learn, learning_rate=3e-3,
                                 vision_rate=1e-3, bf16=False, steps=200))  # fmt: skip
    after = load_start(ModelSettings(checkpoint=str(folder)))

    untaught = dict(before.model.named_parameters())
    moved = {
        part_of(name) for name, value in after.model.named_parameters()
        if not torch.allclose(value.float(), untaught[name].float(), atol=2e-3, rtol=2e-3)
    }  # fmt: skip
    assert moved == set(learn)

    vocabulary = Vocabulary()
    regions = [
        one for record in Records(Path(data["records"]))
        for one in read_shown(record, read_picture(Path(data["images"]) / record.image), after,
                              vocabulary)
    ]  # fmt: skip
    names = list(vocabulary.words[NAME])
    assert set(names) == {"red", "green", "blue"}
    middle, words = name_embeddings(after, names)
    right = []
    for one in regions:
        seen = find_projection(after.model)(one.cut.to(words.dtype)).mean(0) - middle
        nearest = int(F.cosine_similarity(seen[None], words).argmax())
        right.append((0, nearest) in one.labels)
    assert np.mean(right) > 0.9
    card = (folder / "README.md").read_text()
    assert f"moved: {', '.join(learn)}" in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize("name", ["chatspot_small_align", "chatspot_small_tower"])
def test_the_recipes_are_valid(name: str) -> None:
    found = AlignSettings.model_validate(load_yaml(Path("config/train") / f"{name}.yaml"))
    assert ("vision" in found.learn) == (name == "chatspot_small_tower")


def test_states_are_told_apart_too(parts: dict[str, Any], painted: Painted, tmp_path: Path) -> None:
    """What is red is open, whatever its name says; without these turns nothing says so."""
    data = painted(12)
    records = [
        replace(record, turns=tuple(
            one for turn in record.turns if len(turn.regions) == 1 and name_of(turn.answer)
            for one in (turn, replace(turn, task="state", answer=STATES[turn.answer]))
        ))
        for record in Records(Path(data["records"]))
    ]  # fmt: skip
    write_records(records, Path(data["records"]))
    folder = run_recipe(settings(tmp_path / "run", parts, data, steps=200, learning_rate=3e-3))
    start = load_start(ModelSettings(checkpoint=str(folder)))
    vocabulary = Vocabulary()
    shown = [one for record in records
             for one in read_shown(record, read_picture(Path(data["images"]) / record.image), start,
                                   vocabulary)]  # fmt: skip
    words = list(vocabulary.words["door"])
    assert sorted(words) == ["closed", "open"]
    middle, vectors = name_embeddings(start, words)
    right = []
    for one in shown:
        seen = find_projection(start.model)(one.cut.to(vectors.dtype)).mean(0) - middle
        nearest = int(F.cosine_similarity(seen[None], vectors).argmax())
        right.append((1, nearest) in one.labels)
    assert np.mean(right) > 0.9


@pytest.mark.parametrize(("answer", "states"), [
    ("door: open", {"door": "open"}), ("Door: open, plug: in.", {"door": "open", "plug": "in"}),
    ("open", {}), ("time: 12:30", {}), ("", {}), ("door: open, 5", {}),
])  # fmt: skip
def test_what_counts_as_a_state(answer: str, states: dict[str, str]) -> None:
    assert states_of(answer) == states


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
    for learn in (["projection"], ["vision"]):
        with pytest.raises(RecordError, match="name nothing"):
            run_recipe(settings(tmp_path / "run", parts, data, steps=2, learn=learn))
    with pytest.raises(ValidationError):
        run_recipe(settings(tmp_path / "run", parts, data, steps=0))
