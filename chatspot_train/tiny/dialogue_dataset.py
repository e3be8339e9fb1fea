"""Dialogues about rendered kitchens as token sequences; the loss counts the answers only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from chatspot_ros.core.geometry import Fit, PictureGeometry, fit
from chatspot_ros.core.regions import Region
from chatspot_sim.asking import KitchenQuestion, clear_things
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS, plural
from chatspot_sim.truth import Truth
from chatspot_train.common.labels import IGNORE
from chatspot_train.data.image_augment import recolour
from chatspot_train.tiny.crops import crop_kitchen, crop_window
from chatspot_train.tiny.dialogue_sampling import draw_turns, turn_texts
from chatspot_train.tiny.images import resize, to_pixels

LENGTH_STEP = 32  # tokens
MAX_COUNT = 3  # things of one kind; larger counts are the same class of the auxiliary loss
_LISTS = (
    "region_ends", "region_masks", "region_kinds", "box_starts", "box_masks", "boxes",
    "kind_words", "word_kinds",
)  # fmt: skip


@dataclass(frozen=True)
class EncodedDialogue:
    """The turns about one image: tokens, labels, and targets of the auxiliary losses.

    `region_ends`: position of the last token of each region in a question; `region_masks`: the
    patches that it covers (P values in [0, 1]); `region_kinds`: the kind of thing in it, IGNORE
    where that is not one thing. `box_starts`: positions of the token that opens a box in an answer
    and of the token before it; `box_masks`: the patches that the box covers; `boxes`: the box
    (x1, y1, x2, y2 as fractions of the image). `kind_words`: positions of words for a kind of thing
    in questions about the whole image; `word_kinds`: the kinds' numbers. `kind_counts`: how many
    things of each kind the image shows (0, 1, 2 or MAX_COUNT for more; IGNORE where unclear).
    """

    tokens: list[int]
    labels: list[int]
    region_ends: list[int] = field(default_factory=list)
    region_masks: list[NDArray[np.float32]] = field(default_factory=list)
    region_kinds: list[int] = field(default_factory=list)
    box_starts: list[int] = field(default_factory=list)
    box_masks: list[NDArray[np.float32]] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    kind_words: list[int] = field(default_factory=list)
    word_kinds: list[int] = field(default_factory=list)
    kind_counts: NDArray[np.int64] = field(
        default_factory=lambda: np.full(len(THING_KINDS), IGNORE)
    )


def count_kinds(truth: Truth) -> NDArray[np.int64]:
    """Count the visible things of each kind, up to MAX_COUNT.

    A kind is IGNORE where one of its things is too small or too hidden to ask about.
    """
    clear = {t.id for t in clear_things(truth)}
    counts = np.zeros(len(THING_KINDS), np.int64)
    for k, kind in enumerate(THING_KINDS):
        things = truth.of_kind(kind)
        unclear = any(t.id not in clear for t in things)
        counts[k] = IGNORE if unclear else min(len(things), MAX_COUNT)
    return counts


def _region_kind(turn: KitchenQuestion) -> int:
    """Return the number of the kind of thing in the question's one region, else IGNORE."""
    if len(turn.regions) != 1 or turn.kind == "part":
        return IGNORE
    kind = turn.thing.rsplit("_", 1)[0]
    return THING_KINDS.index(kind) if kind in THING_KINDS else IGNORE


def _kind_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[int, int]:
    """Map each token that is a whole word for a kind, singular or plural, to the kind's number."""
    found: dict[int, int] = {}
    for k, kind in enumerate(THING_KINDS):
        for word in (kind, plural(kind)):
            tokens = tokenizer.encode(f" {word}", add_special_tokens=False)
            if len(tokens) == 1:
                found[tokens[0]] = k
    return found


class DialogueEncoder:
    """Encodes the questions about one image as one token sequence.

    `patches` is the number of image tokens, `max_tokens` the longest sequence.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, patches: int, max_tokens: int) -> None:
        self.tokenizer, self.patches, self.max_tokens = tokenizer, patches, max_tokens
        self.image_token = tokenizer.convert_tokens_to_ids("<image>")
        self.region_start = tokenizer.convert_tokens_to_ids("<box>")
        self.region_end = tokenizer.convert_tokens_to_ids("</box>")
        self.side = int(np.sqrt(patches))
        self.kind_tokens = _kind_tokens(tokenizer)

    def encode(self, turns: Sequence[KitchenQuestion], geometry: Fit) -> EncodedDialogue:
        """Return tokens with one `<image>` token per patch; turns that do not fit are left out."""
        found = EncodedDialogue([], [])
        texts = turn_texts(turns, geometry, "<image>\n")
        for turn, (user_text, model_text) in zip(turns, texts, strict=True):
            user = self.tokenizer.encode(user_text, add_special_tokens=False)
            if not found.tokens:
                at = user.index(self.image_token)
                user = user[:at] + [self.image_token] * self.patches + user[at + 1 :]
            answer = self.tokenizer.encode(model_text, add_special_tokens=False)
            if len(found.tokens) + len(user) + len(answer) > self.max_tokens:
                break
            self._add_targets(found, turn, user, answer, geometry)
            found.tokens.extend(user + answer)
            found.labels.extend([IGNORE] * len(user) + answer)
        return found

    def _add_targets(
        self, found: EncodedDialogue, turn: KitchenQuestion, user: list[int], answer: list[int],
        geometry: Fit,
    ) -> None:  # fmt: skip
        """Add the auxiliary targets of a turn whose tokens follow those in `found`."""
        first = len(found.tokens)
        ends = [first + k for k, token in enumerate(user) if token == self.region_end]
        found.region_ends.extend(ends)
        found.region_masks.extend(self._mask(one, geometry) for one in turn.regions[: len(ends)])
        found.region_kinds.extend([_region_kind(turn)] * len(ends))
        if not turn.regions:
            words = [k for k, token in enumerate(user) if token in self.kind_tokens]
            found.kind_words.extend(first + k for k in words)
            found.word_kinds.extend(self.kind_tokens[user[k]] for k in words)
        if turn.box_xyxy_px is not None and self.region_start in answer:
            opening = first + len(user) + answer.index(self.region_start)
            box = Region.box(*turn.box_xyxy_px)
            corners = [float(v) for corner in geometry.to_unit(box.points_px) for v in corner]
            found.box_starts.extend([opening - 1, opening])
            found.box_masks.extend([self._mask(box, geometry)] * 2)
            found.boxes.extend([corners, corners])

    def _mask(self, region: Region, geometry: Fit) -> NDArray[np.float32]:
        """Return which patches the region's box covers, at least the one under its centre."""
        units = np.array(geometry.to_unit(region.points_px))
        (x1, y1), (x2, y2) = units.min(0) * self.side, units.max(0) * self.side
        edge = np.arange(self.side, dtype=np.float32)
        across = np.clip(np.minimum(x2, edge + 1) - np.maximum(x1, edge), 0, 1)
        down = np.clip(np.minimum(y2, edge + 1) - np.maximum(y1, edge), 0, 1)
        mask = (down[:, None] * across[None] > 0.3).astype(np.float32)
        middle = np.clip([(y1 + y2) / 2, (x1 + x2) / 2], 0, self.side - 1).astype(int)
        mask[middle[0], middle[1]] = 1.0
        return mask.ravel()


class DialogueDataset(Dataset[dict[str, Any]]):
    """Encoded dialogues about rendered kitchens; item k is drawn from the random stream (seed, k).

    `crops` is the number of versions of each image, the whole image and parts of it
    (chatspot_train.tiny.crops). `features` (N x P x width), the output of the frozen vision tower
    for the versions of the first image, then of the second, ..., replaces the pixels.
    """

    def __init__(
        self, folder: Path, encoder: DialogueEncoder, size: int, turns: int, items: int, seed: int,
        features: Tensor | None = None, crops: int = 1,
    ) -> None:  # fmt: skip
        self.crops = crops
        self.kitchens = RenderedKitchens(folder)
        self.encoder, self.size, self.turns = encoder, size, turns
        self.items, self.seed, self.features = items, seed, features

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, 5, index])
        k = int(rng.integers(len(self.kitchens) * self.crops))
        image, version = divmod(k, self.crops)
        rgb, truth = self.kitchens.rgb(image), self.kitchens.truth(image)
        labels = self.kitchens.labels(image)
        if version:
            rgb, labels, truth = crop_kitchen(rgb, labels, truth, crop_window(image, version))
        geometry = fit(
            PictureGeometry.STRETCH, (truth.width, truth.height), (self.size, self.size)
        )  # fmt: skip
        turns = draw_turns(truth, labels, rng, self.turns)
        dialogue = replace(self.encoder.encode(turns, geometry), kind_counts=count_kinds(truth))
        item: dict[str, Any] = {"dialogue": dialogue}
        if self.features is not None:
            item["features"] = self.features[k].float()
        else:
            item["pixel_values"] = to_pixels(recolour(resize(rgb, self.size), rng))
        return item


def make_collator(pad: int) -> Callable[[list[dict[str, Any]]], dict[str, Tensor]]:
    """Return a function that pads items on the right with the token `pad` and stacks them.

    The auxiliary targets of all rows are joined; `region_rows`, `box_rows` and `word_rows` name the
    row of each.
    """

    def collate(items: list[dict[str, Any]]) -> dict[str, Tensor]:
        dialogues: list[EncodedDialogue] = [item["dialogue"] for item in items]
        # Few different lengths: memory of a length that does not come again is never freed.
        longest = max(len(one.tokens) for one in dialogues)
        longest = -(-longest // LENGTH_STEP) * LENGTH_STEP
        tokens = torch.full((len(items), longest), pad)
        labels = torch.full((len(items), longest), IGNORE)
        for row, one in enumerate(dialogues):
            tokens[row, : len(one.tokens)] = torch.tensor(one.tokens)
            labels[row, : len(one.labels)] = torch.tensor(one.labels)
        joined = {name: [v for one in dialogues for v in getattr(one, name)] for name in _LISTS}
        batch = {
            "input_ids": tokens, "labels": labels,
            "region_rows": _rows([one.region_ends for one in dialogues]),
            "box_rows": _rows([one.box_starts for one in dialogues]),
            "word_rows": _rows([one.kind_words for one in dialogues]),
            "boxes": torch.tensor(joined.pop("boxes"), dtype=torch.float32).reshape(-1, 4),
            "kind_counts": torch.from_numpy(np.array([one.kind_counts for one in dialogues])),
        }  # fmt: skip
        for name, values in joined.items():
            batch[name] = (
                torch.from_numpy(np.array(values, np.float32)) if name.endswith("masks")
                else torch.tensor(values, dtype=torch.long)
            )  # fmt: skip
        for key in ("features", "pixel_values"):
            if key in items[0]:
                batch[key] = torch.stack([item[key] for item in items])
        return batch

    return collate


def _rows(values: Sequence[Sequence[int]]) -> Tensor:
    """Return the row number of every value of every row."""
    numbers = [row for row, one in enumerate(values) for _ in one]
    return torch.tensor(numbers, dtype=torch.long)
