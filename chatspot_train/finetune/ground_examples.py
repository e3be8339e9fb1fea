"""What a grounding head learns from: states at the tokens that open boxes, and the true boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from chatspot_ros.core.geometry import Fit, RgbImage
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.regions import REGION_MARK, Region, RegionKind
from chatspot_ros.core.tasks.locate import LOCATE, says_none
from chatspot_ros.engine.models.image_inputs import image_inputs
from chatspot_ros.engine.models.patches import on_grid, seen_patches
from chatspot_train.data.records import Record, RecordError, RecordTurn
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.model import Start
from chatspot_train.finetune.packing import OWNERS, PICTURES, attention_mask, join

BETWEEN = ", "


@dataclass(frozen=True)
class Query:
    """A token that opens a box: the states there (layers x state_size, float16), and the boxes that
    are right (boxes x 4, x1, y1, x2, y2 in the picture's unit); none where nothing is there."""

    states: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Seen:
    """A picture: `grids` are its patches and those of its mirror image (rows x columns x channels,
    float16), with the queries about it."""

    grids: tuple[Tensor, ...]
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class PointingTurn:
    """A turn whose answer opens boxes, and for each of them the right ones, in pixels."""

    turn: RecordTurn
    right: tuple[tuple[Region, ...], ...]


def pointed(record: Record, start: Start, false_phrase: str = "") -> list[PointingTurn]:
    """Return the turns of a record that point, and those that say a thing is not there.

    The latter are asked to point too, with nothing right; so is `false_phrase`, the name of a thing
    that is not in the picture, behind the things of a description. Equal phrases of an answer share
    their boxes.
    """
    found = []
    for turn in record.turns:
        regions = turn.answer_regions
        if regions and all(one.kind is RegionKind.BOX for one in regions):
            phrases = [
                piece.strip(", ") for piece in turn.answer.split(REGION_MARK)[: len(regions)]
            ]
            right = tuple(
                tuple(box for box, name in zip(regions, phrases, strict=True) if name == phrase)
                for phrase in phrases
            )  # fmt: skip
            found.append(PointingTurn(turn, right))
            if turn.task == "describe" and not turn.regions and false_phrase:
                told = f"{turn.answer}{BETWEEN}{false_phrase} {REGION_MARK}"
                more = replace(turn, answer=told, answer_regions=(*regions, regions[-1]))
                found[-1] = PointingTurn(more, (*right, ()))
        elif turn.task == LOCATE.name and not regions and _says_none(turn.answer, start):
            anywhere = Region.box(0, 0, record.width, record.height)
            asked = replace(turn, answer=REGION_MARK, answer_regions=(anywhere,))
            found.append(PointingTurn(asked, ((),)))
    return found


def _says_none(answer: str, start: Start) -> bool:
    return says_none(answer, PromptBuilder(start.spec).context)


def names_in(record: Record) -> set[str]:
    """Return the phrases of descriptions of the whole picture that have boxes."""
    return {
        piece.strip(", ")
        for turn in record.turns
        if turn.task == "describe" and turn.answer_regions and not turn.regions
        for piece in turn.answer.split(REGION_MARK)[: len(turn.answer_regions)]
    }


def absent_name(names: Sequence[str], there: set[str], rng: np.random.Generator) -> str:
    """Draw a name of a thing that is not there: it shares all its words with none, nor the other
    way round. Empty: no name is left."""
    words = [set(name.split()) for name in there]
    left = [
        name for name in names
        if not any(set(name.split()) <= one or one <= set(name.split()) for one in words)
    ]  # fmt: skip
    return left[int(rng.integers(len(left)))] if left else ""


class Looker:
    """Reads records with a model that stands still."""

    def __init__(self, start: Start, layers: Sequence[int], opening_id: int, longest: int) -> None:
        """`layers` are the hidden states to keep; see HeadConfig."""
        self._start, self._layers, self._opening_id = start, list(layers), opening_id
        self._encoder = Encoder(start, longest, packed=True, look_twice=1.0)
        language = start.model.model.language_model
        # The states of the last layer alone are normalised; it takes one more to leave them as
        # they are.
        self._count = min(max(layers) + 1, len(language.layers))

    def look(
        self, record: Record, image_rgb: RgbImage, turns: Sequence[PointingTurn], mirrors: bool
    ) -> Seen:
        """Return a record as the head learns from it.

        Raises RecordError where a turn cannot be encoded, PictureError where the picture does not
        fit the model.
        """
        example = self._encoder.example(
            replace(record, turns=tuple(one.turn for one in turns)), image_rgb
        )
        fit, pixels = image_inputs(image_rgb, self._start.spec, self._start.image_processor)
        with torch.no_grad():
            grid, states = self._read(join([example], self._encoder.pad), pixels)
            grids = [grid]
            if mirrors:
                mirrored = np.ascontiguousarray(image_rgb[:, ::-1])
                _, other = image_inputs(mirrored, self._start.spec, self._start.image_processor)
                with seen_patches(self._start.model) as seen:
                    self._start.model.get_image_features(**other, return_dict=True)
                grids.append(_grid(seen[0][0], other))
        right = [boxes for one in turns for boxes in one.right][: len(states)]
        if len(right) != len(states):
            raise RecordError(f"{len(states)} boxes are opened for {len(right)} regions")
        queries = (
            Query(each.half(), boxes_in_unit(boxes, fit))
            for each, boxes in zip(states, right, strict=True)
        )
        return Seen(tuple(grids), tuple(queries))

    def _read(self, row: dict[str, Any], pixels: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the grid of a packed row's first picture, and the states, tokens x layers x
        state_size, at the answers' tokens that open a box."""
        model = self._start.model
        features: dict[int, Tensor] = {}
        with seen_patches(model) as seen:
            for numbers, batch in row[PICTURES]:
                found = model.get_image_features(**batch, return_dict=True).pooler_output
                features.update(zip(numbers, found, strict=True))
        firsts = [numbers[0] for numbers, _ in row[PICTURES]]
        grid = _grid(seen[firsts.index(0)][0], pixels)
        shown = [features[number] for number in sorted(features)]
        with first_layers(model, self._count):
            states = model.model(
                input_ids=row["input_ids"], position_ids=row["position_ids"],
                attention_mask=attention_mask(row[OWNERS], shown[0].dtype),
                mm_encoder_outputs={
                    "image": BaseModelOutputWithPooling(pooler_output=cast(Any, shown))
                },
                use_cache=False, output_hidden_states=True,
            ).hidden_states  # fmt: skip
        opens = (row["input_ids"][0] == self._opening_id) & (row["labels"][0] >= 0)
        return grid, torch.stack([states[k][0, opens] for k in self._layers], 1)


def _grid(patches: Tensor, pixels: dict[str, Any]) -> Tensor:
    height, width = torch.as_tensor(pixels["pixel_values"]).shape[-2:]
    return on_grid(patches, (width, height)).half()


@contextmanager
def first_layers(model: Any, count: int) -> Iterator[None]:
    """Let the language model run only its first layers inside the block."""
    language = model.model.language_model
    whole = language.layers
    language.layers = whole[:count]
    try:
        yield
    finally:
        language.layers = whole


def boxes_in_unit(regions: Sequence[Region], fit: Fit) -> Tensor:
    """Return boxes in pixels of the image as (x1, y1, x2, y2) in the unit of the model's picture,
    boxes x 4."""
    boxes = []
    for region in regions:
        (x1, y1), (x2, y2) = fit.to_unit(region.clipped(*fit.image_wh).points_px)
        boxes.append([x1, y1, x2, y2])
    return torch.tensor(boxes).reshape(-1, 4)
