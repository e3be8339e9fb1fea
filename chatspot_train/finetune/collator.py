"""Encode records and their pictures as training inputs, with the node's own prompts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from chatspot_ros.core.crops import region_to_look_at
from chatspot_ros.core.geometry import Fit, RgbImage
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.tasks import States
from chatspot_ros.engine.api import Turn
from chatspot_ros.engine.models.image_inputs import crop_inputs, image_inputs
from chatspot_ros.errors import ChatspotError
from chatspot_train.common.labels import IGNORE
from chatspot_train.data.records import (
    PictureError,
    Record,
    RecordError,
    RecordTurn,
    check_size,
)
from chatspot_train.finetune.model import Start
from chatspot_train.finetune.packing import Branch, join, pack


class Encoder:
    """Encodes records for one model; `longest` is in tokens, with those of the image."""

    def __init__(
        self,
        start: Start,
        longest: int,
        skills: Iterable[str] = (),
        states: States | None = None,
        *,
        packed: bool = False,
        look_twice: float = 0.0,
        show_print: float = 0.0,
    ) -> None:
        """`skills` and `states` as the node gives them to the model; see PromptBuilder. The others
        as in InstructSettings."""
        self._start, self._chat, self.longest = start, start.chat(), longest
        self._builder = PromptBuilder(start.spec, skills, states, self._chat.control_strings)
        self._silent = self._chat.silent_ids
        self._packed, self._look_twice, self._show_print = packed, look_twice, show_print
        self.pad = int(start.tokenizer.pad_token_id)
        takes = inspect.signature(start.model.forward).parameters
        self._takes_token_types = "mm_token_type_ids" in takes

    def example(
        self, record: Record, image_rgb: RgbImage, rng: np.random.Generator | None = None
    ) -> dict[str, Any]:
        """Return token ids, labels (of answers only) and image inputs of one record.

        `image_rgb` is uint8 H x W x 3, RGB, of the record's size; `rng` draws which turns are
        looked at twice, None: always the same ones. Last turns that do not fit are left out.
        Raises RecordError where the first turn does not fit, a region or question has no prompt,
        or an answer holds control tokens; PictureError where the picture does not fit.
        """
        height, width = image_rgb.shape[:2]
        check_size(record, width, height)
        try:
            fit, inputs = image_inputs(image_rgb, self._start.spec, self._start.image_processor)
        except (ValueError, ArithmeticError, cv2.error) as error:
            raise PictureError(f"the picture does not fit the model: {error}") from error
        tokens = count_image_tokens(self._start.model.config, inputs)
        name = f"{record.source}/{record.id}"
        if self._packed:
            rng = np.random.default_rng(0) if rng is None else rng
            branches = [self._branch(turn, image_rgb, fit, tokens, rng) for turn in record.turns]
            return {**self._pack(branches, tokens, inputs), "name": name}
        turns: tuple[Turn, ...] = ()
        for turn in record.turns:
            turns = (*turns, self.say(turn, fit, turns[-1].task if turns else ""))
        for count in range(len(turns), 0, -1):
            ids, learned = self._chat.example(turns[:count], tokens)
            if len(ids) <= self.longest:
                break
        else:
            raise RecordError(f"its first turn takes {len(ids)} tokens of {self.longest}")
        self._check_tokens(ids, learned, tokens, count)
        labels = [i if said else IGNORE for i, said in zip(ids, learned, strict=True)]
        return {
            "input_ids": torch.tensor(ids), "labels": torch.tensor(labels), "inputs": inputs,
            "name": name,
        }  # fmt: skip

    def _branch(
        self, turn: RecordTurn, image_rgb: RgbImage, fit: Fit, image_tokens: int,
        rng: np.random.Generator,
    ) -> tuple[list[int], Branch]:  # fmt: skip
        """Return a turn as a conversation behind the picture: the ids up to the picture's end, and
        the rest. Raises RecordError."""
        said = self.say(turn, fit)
        if turn.print_lines and rng.random() < self._show_print:
            lines = self._builder.print_text(turn.print_lines)
            said = replace(said, user_text=f"{lines}{said.user_text}")
        region = region_to_look_at([one.clipped(*fit.image_wh) for one in turn.regions])
        cut, more = None, 0
        if region is not None and rng.random() < self._look_twice:
            cut = crop_inputs(image_rgb, region, self._start.spec, self._start.image_processor)
            more = count_image_tokens(self._start.model.config, cut)
            shown = self._chat.picture_text(more)
            said = replace(said, user_text=f"{shown}{said.user_text}")
        ids, learned = self._chat.example((said,), image_tokens)
        self._check_tokens(ids, learned, image_tokens + more, 1)
        end = ids.index(self._start.image_token_id) + image_tokens
        return ids[:end], Branch(ids[end:], learned[end:], cut)

    def _pack(
        self, branches: list[tuple[list[int], Branch]], image_tokens: int, inputs: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the turns behind their picture, as many as fit. Raises RecordError."""
        shared = branches[0][0]
        kept: list[Branch] = []
        length = len(shared)
        for _, branch in branches:
            length += len(branch.ids)
            if length > self.longest:
                break
            kept.append(branch)
        if not kept:
            raise RecordError(f"its first turn takes {length} tokens of {self.longest}")
        return pack(shared, inputs, kept)

    def _check_tokens(
        self, ids: list[int], learned: list[bool], image_tokens: int, answers: int
    ) -> None:
        """Raise RecordError where the words of a conversation hold tokens of the picture or ends.

        The prompt builder breaks control strings open; this sees what the tokenizer made of it.
        """
        ends = sum(said and i in self._silent for i, said in zip(ids, learned, strict=True))
        if ids.count(self._start.image_token_id) != image_tokens or ends > answers:
            raise RecordError("its words hold control tokens of the model")

    def say(self, turn: RecordTurn, fit: Fit, previous: str = "") -> Turn:
        """Return the turn as the node's engine writes the question and reads the answer; `previous`
        is the task of the turn before.

        Raises RecordError where the model has no prompt for the task, or a region is unusable.
        """
        try:
            regions = [region.clipped(*fit.image_wh) for region in turn.regions]
            answered = [region.clipped(*fit.image_wh) for region in turn.answer_regions]
            task = self._builder.task(turn.question, turn.task, previous)
            return Turn(
                self._builder.user_text(turn.question, regions, task, fit),
                self._builder.answer_text(turn.answer, answered, task, fit),
                task,
            )
        except ChatspotError as error:
            raise RecordError(str(error)) from error

    def collate(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Stack examples, padded on the right; `names` are those of their records.

        `dropped` are the Drops that they replace.
        """
        if self._packed:
            return {
                **join(examples, self.pad), "names": [example["name"] for example in examples],
                "dropped": [drop for one in examples for drop in one.get("dropped", ())],
            }  # fmt: skip
        longest = max(len(example["input_ids"]) for example in examples)

        def padded(key: str, fill: int) -> Tensor:
            out = torch.full((len(examples), longest), fill)
            for row, example in enumerate(examples):
                out[row, : len(example[key])] = example[key]
            return out

        ids = padded("input_ids", self.pad)
        lengths = torch.tensor([len(example["input_ids"]) for example in examples])
        batch: dict[str, Any] = {
            "input_ids": ids,
            "labels": padded("labels", IGNORE),
            "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
            "names": [example["name"] for example in examples],
            "dropped": [drop for example in examples for drop in example.get("dropped", ())],
        }
        for key in examples[0]["inputs"]:
            batch[key] = torch.cat(
                [torch.as_tensor(example["inputs"][key]) for example in examples]
            )
        if self._takes_token_types:
            batch["mm_token_type_ids"] = (ids == self._start.image_token_id).int()
        return batch


def count_image_tokens(config: Any, inputs: dict[str, Any]) -> int:
    """Return the number of image tokens that the language model reads for one image."""
    vision = config.vision_config
    if "image_grid_thw" in inputs:
        merge = int(vision.spatial_merge_size)
        return int(torch.as_tensor(inputs["image_grid_thw"]).prod()) // merge**2
    height, width = torch.as_tensor(inputs["pixel_values"]).shape[-2:]
    cells = math.floor(height / vision.patch_size) * math.floor(width / vision.patch_size)
    full = getattr(config, "vision_feature_select_strategy", "default") == "full"
    has_class = str(vision.model_type).startswith("clip")
    return cells + int(full and has_class)
