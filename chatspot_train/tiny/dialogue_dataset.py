"""Dialogues about rendered kitchens as token sequences, the loss on the answers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from chatspot_ros.core.dialects import ChatSpotDialect
from chatspot_ros.core.geometry import Fit, PictureGeometry, fit
from chatspot_ros.core.prompts import PromptStyle, build
from chatspot_ros.core.regions import Region
from chatspot_ros.core.task_router import route
from chatspot_sim.asking import KitchenQuestion, clear_things
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS, plural
from chatspot_sim.questions import KINDS, draw_dialogue
from chatspot_sim.truth import Truth
from chatspot_sim.wordings import TRAIN
from chatspot_train.common.labels import IGNORE
from chatspot_train.data.image_augment import recolour
from chatspot_train.tiny.crops import draw_view, view
from chatspot_train.tiny.images import resized, to_pixels

DIALECT = ChatSpotDialect()
# How often each kind of question is asked.
WEIGHTS = {
    "name": 8,
    "follow_up": 2,
    "part": 1.2,
    "colour": 4,
    "state": 2.5,
    "yes_no": 0.7,
    "read": 10,
    "count": 10,
    "relation": 0.6,
    "describe": 2,
    "scene": 0.8,
    "is_there": 4,
    "locate": 8,
    "plan": 1,
}  # fmt: skip
# A point says least of what is meant, so it is practised most.
MORE_POINTS = 0.4
# Detectors' boxes are off: of such questions a share ROUGH has boxes off by up to ROUGHEST times.
ROUGH = 0.35
ROUGHEST = 4.0
ROUGH_KINDS = ("name", "colour", "state")
# Drawn as they come, three of four counts are "1" and six of seven things sought are there; a model
# that always says so is mostly right and learns no more. So much of those is asked.
KEPT_SINGLE = 0.8
KEPT_PRESENT = 0.7
LENGTH_STEP = 32  # tokens
MOST = 3  # things of a kind; more count the same for the auxiliary loss


@dataclass(frozen=True)
class Packed:
    """One packed picture: tokens, labels, and for the auxiliary losses which regions are meant.

    `places` are the positions of each asked region's last token; `covers` says for each which
    patches it covers (P values in [0, 1]), `names` which kind of thing is meant (IGNORE where that
    is not one thing). `sought` are the positions of the tokens that open an answered box, and of
    those before them, `sought_covers` what those boxes cover, `sought_boxes` the boxes themselves
    (x1, y1, x2, y2 as fractions of the picture). `counts` says how many things of each
    kind the picture shows (none, one, two, more; IGNORE where it is unclear). `mentions` are the
    positions of words for a kind of thing in questions about the whole picture, `mentioned` the
    numbers of those kinds.
    """

    tokens: list[int]
    labels: list[int]
    places: list[int]
    covers: list[NDArray[np.float32]]
    sought: list[int] = field(default_factory=list)
    sought_covers: list[NDArray[np.float32]] = field(default_factory=list)
    sought_boxes: list[list[float]] = field(default_factory=list)
    names: list[int] = field(default_factory=list)
    mentions: list[int] = field(default_factory=list)
    mentioned: list[int] = field(default_factory=list)
    counts: NDArray[np.int64] = field(default_factory=lambda: np.full(len(THING_KINDS), IGNORE))


def answer_text(question: KitchenQuestion, geometry: Fit) -> str:
    """The answer as the model shall say it; a place is said as the phrase asked for and its box.

    Said without the phrase, the box's first coordinate came out wrong most often: it had to follow
    from the token on which the place is looked up.
    """
    if question.box_xyxy_px is None:
        return question.answer
    x1, y1, x2, y2 = question.box_xyxy_px
    return f"{question.phrase} {DIALECT.say(Region.box(x1, y1, x2, y2), geometry)}".strip()


def draw_turns(
    truth: Truth, labels: NDArray[np.uint8] | None, rng: np.random.Generator, count: int
) -> list[KitchenQuestion]:
    """About `count` questions of all kinds on one picture, in a random order."""
    kinds = list(KINDS)
    weights = np.array([WEIGHTS[kind] for kind in kinds], float)
    weights /= weights.sum()
    turns: list[KitchenQuestion] = []
    for _ in range(3 * count):
        if len(turns) >= count:
            break
        kind = str(rng.choice(kinds, p=weights))
        shape = "point" if rng.random() < MORE_POINTS else ""
        rough = kind in ROUGH_KINDS and rng.random() < ROUGH
        noise = float(rng.uniform(1, ROUGHEST)) if rough else 1.0
        drawn = draw_dialogue(truth, kind, rng, TRAIN, labels=labels, noise=noise, shape=shape)
        drawn = drawn or []
        if drawn and rng.random() < _kept(drawn[-1]):
            turns += drawn
    return turns


def _kept(question: KitchenQuestion) -> float:
    """The share of such questions that are asked: less where nearly all have the same answer."""
    if question.kind == "count" and question.answer == "1":
        return KEPT_SINGLE
    if question.kind == "locate" and question.box_xyxy_px is not None:
        return KEPT_PRESENT
    return 1.0


def prompt(question: KitchenQuestion, geometry: Fit) -> str:
    """The user's turn as text."""
    size = geometry.image_wh
    regions = [region.clipped(*size) for region in question.regions]
    task = question.task or route(question.question)
    return build(question.question, regions, task, geometry, DIALECT, PromptStyle.TAGS)


def turn_texts(
    turns: Sequence[KitchenQuestion], geometry: Fit, first: str
) -> list[tuple[str, str]]:
    """(what the user says, what the model says) as the chat template writes them."""
    return [
        (f"USER: {first if k == 0 else ''}{prompt(turn, geometry)} ASSISTANT:",
         f" {answer_text(turn, geometry)}</s>")
        for k, turn in enumerate(turns)
    ]  # fmt: skip


def thing_counts(truth: Truth) -> NDArray[np.int64]:
    """How many things of each kind are seen: 0, 1, 2 or MOST; IGNORE where one of them is too small
    or hidden to be asked about."""
    clear = {t.id for t in clear_things(truth)}
    counts = np.zeros(len(THING_KINDS), np.int64)
    for k, kind in enumerate(THING_KINDS):
        things = truth.of_kind(kind)
        unclear = any(t.id not in clear for t in things)
        counts[k] = IGNORE if unclear else min(len(things), MOST)
    return counts


def _meant(turn: KitchenQuestion) -> int:
    """The number of the kind of thing that a question's one region shows; else IGNORE."""
    if len(turn.regions) != 1 or turn.kind == "part":
        return IGNORE
    kind = turn.thing.rsplit("_", 1)[0]
    return THING_KINDS.index(kind) if kind in THING_KINDS else IGNORE


def _kind_words(tokenizer: PreTrainedTokenizerFast) -> dict[int, int]:
    """Of each token that is a whole word for a kind of thing, one or many, the kind's number."""
    found: dict[int, int] = {}
    for k, kind in enumerate(THING_KINDS):
        for word in (kind, plural(kind)):
            tokens = tokenizer.encode(f" {word}", add_special_tokens=False)
            if len(tokens) == 1:
                found[tokens[0]] = k
    return found


class Packer:
    """Turns questions on one picture into one token sequence."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, patches: int, longest: int) -> None:
        self.tokenizer, self.patches, self.longest = tokenizer, patches, longest
        self.image = tokenizer.convert_tokens_to_ids("<image>")
        self.start_of_region = tokenizer.convert_tokens_to_ids("<box>")
        self.end_of_region = tokenizer.convert_tokens_to_ids("</box>")
        self.side = int(np.sqrt(patches))
        self.kind_words = _kind_words(tokenizer)

    def pack(self, turns: Sequence[KitchenQuestion], geometry: Fit) -> Packed:
        """Tokens with one `<image>` token per patch; turns that do not fit are left out."""
        tokens: list[int] = []
        labels: list[int] = []
        places: list[int] = []
        covers: list[NDArray[np.float32]] = []
        names: list[int] = []
        mentions: list[int] = []
        mentioned: list[int] = []
        sought: list[int] = []
        sought_covers: list[NDArray[np.float32]] = []
        sought_boxes: list[list[float]] = []
        texts = turn_texts(turns, geometry, "<image>\n")
        for turn, (said, answered) in zip(turns, texts, strict=True):
            user = self.tokenizer.encode(said, add_special_tokens=False)
            if not tokens:
                where = user.index(self.image)
                user = user[:where] + [self.image] * self.patches + user[where + 1 :]
            answer = self.tokenizer.encode(answered, add_special_tokens=False)
            if len(tokens) + len(user) + len(answer) > self.longest:
                break
            ends = [len(tokens) + k for k, token in enumerate(user) if token == self.end_of_region]
            places += ends
            covers += [self._cover(region, geometry) for region in turn.regions[: len(ends)]]
            names += [_meant(turn)] * len(ends)
            if not turn.regions:
                words = [k for k, token in enumerate(user) if token in self.kind_words]
                mentions += [len(tokens) + k for k in words]
                mentioned += [self.kind_words[user[k]] for k in words]
            if turn.box_xyxy_px is not None and self.start_of_region in answer:
                opening = len(tokens) + len(user) + answer.index(self.start_of_region)
                x1, y1, x2, y2 = turn.box_xyxy_px
                box = Region.box(x1, y1, x2, y2)
                corners = [float(v) for corner in geometry.to_unit(box.points_px) for v in corner]
                sought += [opening - 1, opening]
                sought_covers += [self._cover(box, geometry)] * 2
                sought_boxes += [corners, corners]
            tokens += user + answer
            labels += [IGNORE] * len(user) + answer
        return Packed(
            tokens, labels, places, covers, sought, sought_covers, sought_boxes, names,
            mentions, mentioned,
        )  # fmt: skip

    def _cover(self, region: Region, geometry: Fit) -> NDArray[np.float32]:
        """Which patches the region's box covers; at least the one under its middle."""
        units = np.array(geometry.to_unit(region.points_px))
        (x1, y1), (x2, y2) = units.min(0) * self.side, units.max(0) * self.side
        edge = np.arange(self.side, dtype=np.float32)
        across = np.clip(np.minimum(x2, edge + 1) - np.maximum(x1, edge), 0, 1)
        down = np.clip(np.minimum(y2, edge + 1) - np.maximum(y1, edge), 0, 1)
        cover = (down[:, None] * across[None] > 0.3).astype(np.float32)
        middle = np.clip([(y1 + y2) / 2, (x1 + x2) / 2], 0, self.side - 1).astype(int)
        cover[middle[0], middle[1]] = 1.0
        return cover.ravel()


class PictureDialogues(Dataset[dict[str, Any]]):
    """Packed dialogues on rendered kitchens; item k is drawn from the stream (seed, k).

    Each picture comes in `views` versions (chatspot_train.tiny.crops). With `features` (N x P x
    width, the frozen tower's output for every version, one behind the other) pictures are not
    recoloured and the features stand for them.
    """

    def __init__(
        self, folder: Path, packer: Packer, size: int, turns: int, items: int, seed: int,
        features: Tensor | None = None, views: int = 1,
    ) -> None:  # fmt: skip
        self.views = views
        self.kitchens = RenderedKitchens(folder)
        self.packer, self.size, self.turns = packer, size, turns
        self.items, self.seed, self.features = items, seed, features

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, 5, index])
        k = int(rng.integers(len(self.kitchens) * self.views))
        picture, version = divmod(k, self.views)
        rgb, truth = self.kitchens.rgb(picture), self.kitchens.truth(picture)
        labels = self.kitchens.labels(picture)
        if version:
            rgb, labels, truth = view(rgb, labels, truth, draw_view(picture, version))
        geometry = fit(
            PictureGeometry.STRETCH, (truth.width, truth.height), (self.size, self.size)
        )  # fmt: skip
        turns = draw_turns(truth, labels, rng, self.turns)
        packed = replace(self.packer.pack(turns, geometry), counts=thing_counts(truth))
        item: dict[str, Any] = {"packed": packed}
        if self.features is not None:
            item["features"] = self.features[k].float()
        else:
            item["pixel_values"] = to_pixels(recolour(resized(rgb, self.size), rng))
        return item


def collate(pad: int) -> Any:
    """A function that pads a list of items on the right and stacks them."""

    def stack(items: list[dict[str, Any]]) -> dict[str, Tensor]:
        # Batches of few different lengths: memory that fits no later batch is never given back.
        longest = max(len(item["packed"].tokens) for item in items)
        longest = -(-longest // LENGTH_STEP) * LENGTH_STEP
        tokens = torch.full((len(items), longest), pad)
        labels = torch.full((len(items), longest), IGNORE)
        rows, places, covers, names = [], [], [], []
        sought_rows, sought, sought_covers, sought_boxes = [], [], [], []
        mention_rows, mentions, mentioned = [], [], []
        for row, item in enumerate(items):
            packed = item["packed"]
            tokens[row, : len(packed.tokens)] = torch.tensor(packed.tokens)
            labels[row, : len(packed.labels)] = torch.tensor(packed.labels)
            rows += [row] * len(packed.places)
            places += packed.places
            covers += packed.covers
            names += packed.names
            mention_rows += [row] * len(packed.mentions)
            mentions += packed.mentions
            mentioned += packed.mentioned
            sought_rows += [row] * len(packed.sought)
            sought += packed.sought
            sought_covers += packed.sought_covers
            sought_boxes += packed.sought_boxes
        batch = {
            "input_ids": tokens, "labels": labels,
            "rows": torch.tensor(rows), "places": torch.tensor(places),
            "covers": torch.from_numpy(np.array(covers, np.float32)),
            "names": torch.tensor(names, dtype=torch.long),
            "mention_rows": torch.tensor(mention_rows, dtype=torch.long),
            "mentions": torch.tensor(mentions, dtype=torch.long),
            "mentioned": torch.tensor(mentioned, dtype=torch.long),
            "sought_rows": torch.tensor(sought_rows, dtype=torch.long),
            "sought": torch.tensor(sought, dtype=torch.long),
            "sought_covers": torch.from_numpy(np.array(sought_covers, np.float32)),
            "sought_boxes": torch.tensor(sought_boxes, dtype=torch.float32).reshape(-1, 4),
            "counts": torch.from_numpy(np.array([item["packed"].counts for item in items])),
        }  # fmt: skip
        for key in ("features", "pixel_values"):
            if key in items[0]:
                batch[key] = torch.stack([item[key] for item in items])
        return batch

    return stack
