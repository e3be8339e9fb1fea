"""The category of a free-text answer: by words, or by CLIP's text embeddings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, CLIPTextModelWithProjection

from chatspot_ros.errors import ModelLoadError
from chatspot_train.evaluation.metrics.text import normal

TEXTS_AT_ONCE = 256
# Synonyms of COCO's categories, in the singular.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "person": ("man", "woman", "boy", "girl", "child", "kid", "baby", "toddler", "lady", "guy",
               "human", "pedestrian", "player", "skier", "surfer", "skateboarder", "snowboarder",
               "rider", "crowd", "batter", "pitcher", "catcher", "umpire", "people"),
    "bicycle": ("bike",),
    "car": ("automobile", "sedan", "suv", "taxi", "cab", "minivan", "vehicle"),
    "motorcycle": ("motorbike", "scooter", "moped"),
    "airplane": ("plane", "aeroplane", "aircraft", "jet", "airliner"),
    "bus": ("coach", "double decker"),
    "train": ("locomotive", "tram", "subway"),
    "truck": ("lorry", "pickup", "van"),
    "boat": ("ship", "canoe", "kayak", "sailboat", "yacht", "ferry", "vessel"),
    "traffic light": ("stoplight", "traffic signal", "stop light"),
    "fire hydrant": ("hydrant",),
    "bird": ("duck", "goose", "seagull", "gull", "pigeon", "parrot", "swan", "owl", "chicken"),
    "cat": ("kitten", "kitty"),
    "dog": ("puppy",),
    "horse": ("pony", "foal"),
    "sheep": ("lamb", "ram", "ewe"),
    "cow": ("bull", "calf", "ox", "cattle"),
    "bear": ("polar bear", "bear cub"),
    "backpack": ("rucksack", "knapsack"),
    "umbrella": ("parasol",),
    "handbag": ("purse", "bag", "tote"),
    "tie": ("necktie", "bow tie", "bowtie"),
    "suitcase": ("luggage", "baggage"),
    "skis": ("pair of skis",),
    "sports ball": ("ball", "football", "soccer ball", "tennis ball", "baseball", "basketball",
                    "volleyball"),
    "skateboard": ("longboard",),
    "tennis racket": ("racket", "racquet", "tennis racquet"),
    "bottle": ("flask",),
    "wine glass": ("glass of wine", "goblet"),
    "cup": ("mug", "glass", "coffee cup", "teacup", "tumbler"),
    "bowl": ("basin",),
    "sandwich": ("burger", "hamburger", "cheeseburger"),
    "hot dog": ("hotdog", "sausage in a bun"),
    "donut": ("doughnut",),
    "cake": ("cupcake", "birthday cake"),
    "chair": ("armchair", "stool", "seat"),
    "couch": ("sofa", "loveseat", "settee"),
    "potted plant": ("plant", "houseplant", "pot plant", "flowerpot"),
    "bed": ("mattress",),
    "dining table": ("table", "desk"),
    "toilet": ("commode", "urinal"),
    "tv": ("television", "monitor", "tv screen", "flat screen", "screen"),
    "laptop": ("notebook computer", "laptop computer", "macbook"),
    "mouse": ("computer mouse",),
    "remote": ("remote control", "controller", "game controller"),
    "cell phone": ("phone", "cellphone", "mobile phone", "smartphone", "iphone", "mobile"),
    "microwave": ("microwave oven",),
    "oven": ("stove", "cooker"),
    "sink": ("washbasin", "wash basin"),
    "refrigerator": ("fridge", "freezer"),
    "scissors": ("pair of scissors", "shears"),
    "teddy bear": ("teddy", "stuffed animal", "stuffed bear", "plush toy"),
    "hair drier": ("hair dryer", "hairdryer", "blow dryer"),
}  # fmt: skip
_SINGULARS = {"men": "man", "women": "woman", "children": "child", "knives": "knife",
              "mice": "mouse", "geese": "goose", "calves": "calf", "oxen": "ox"}  # fmt: skip
_FILLERS = {"a", "an", "the", "this", "that", "is", "it", "there", "of", "in", "on", "and", "with"}


class CategoryMatcher(Protocol):
    """A deterministic map from answers to categories."""

    @property
    def name(self) -> str:
        """The matcher's name, for reports."""

    def match(self, answers: Sequence[str], categories: Sequence[str]) -> list[int | None]:
        """Return the index of each answer's category, or None."""


@dataclass(frozen=True)
class PlainTextMatcher:
    """Matches words in the singular; the first rule with a result decides.

    1. The whole answer, without articles and the like, is a category's name or synonym.
    2. The longest name or synonym (in words) in the answer; of several the first in the answer,
       then the first category.
    3. The category whose name shares the most words with the answer; of several the one with the
       fewest other words, then the first category.

    An answer that shares no word with any category has none.
    """

    name: str = "plain text"

    def match(self, answers: Sequence[str], categories: Sequence[str]) -> list[int | None]:
        """See CategoryMatcher."""
        phrases = [
            (_words(phrase), k)
            for k, category in enumerate(categories)
            for phrase in (category, *SYNONYMS.get(normal(category), ()))
        ]
        names = [_words(category) for category in categories]
        return [_by_words(_words(answer), phrases, names) for answer in answers]


def _by_words(
    said: list[str], phrases: list[tuple[list[str], int]], names: list[list[str]]
) -> int | None:
    bare = [word for word in said if word not in _FILLERS]
    for phrase, category in phrases:
        if bare and bare == [word for word in phrase if word not in _FILLERS]:
            return category
    standing = [
        (-len(phrase), _place(phrase, said), category)
        for phrase, category in phrases
        if _place(phrase, said) >= 0
    ]
    if standing:
        return min(standing)[2]
    shared = [
        (-len(set(name) & set(bare)), len(set(name) - set(bare)), k) for k, name in enumerate(names)
    ]
    most = min(shared, default=(0, 0, 0))
    return most[2] if most[0] else None


def _place(phrase: list[str], said: list[str]) -> int:
    """Return the first index of the phrase in the answer's words, or -1."""
    starts = range(len(said) - len(phrase) + 1) if phrase else ()
    return next((k for k in starts if said[k : k + len(phrase)] == phrase), -1)


def _words(text: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"\w+", normal(text))]


def _singular(word: str) -> str:
    """Return an English word without its plural ending; both sides use the same rule."""
    if word in _SINGULARS:
        return _SINGULARS[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "uses")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        return word[:-1]
    return word


class ClipMatcher:
    """Matches the nearest text embedding (cosine) of a CLIP checkpoint, as the paper does.

    Names and answers are embedded without a sentence around them; long answers are truncated. Of
    equally near categories the first counts; an empty answer has none.
    """

    def __init__(self, checkpoint: str) -> None:
        """`checkpoint` is a folder or a hub id with a CLIP text tower and its tokenizer."""
        self.checkpoint = checkpoint

    @property
    def name(self) -> str:
        """The matcher's name, for reports."""
        return f"CLIP text embeddings of {self.checkpoint}"

    def match(self, answers: Sequence[str], categories: Sequence[str]) -> list[int | None]:
        """See CategoryMatcher. Raises ModelLoadError."""
        different = sorted({answer for answer in answers if answer.strip()})
        if not different or not categories:
            return [None] * len(answers)
        near = self._embed(different) @ self._embed(categories).T
        best = dict(zip(different, near.argmax(axis=1).tolist(), strict=True))
        return [best.get(answer) for answer in answers]

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, N x D."""
        tokenizer, model = self._loaded
        parts = []
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            tokens = tokenizer(
                list(texts[first : first + TEXTS_AT_ONCE]), padding=True, truncation=True,
                max_length=model.config.max_position_embeddings, return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                parts.append(
                    model(
                        input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
                    ).text_embeds
                )
        return torch.nn.functional.normalize(torch.cat(parts), dim=-1).numpy()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            model: Any = CLIPTextModelWithProjection.from_pretrained(
                self.checkpoint, use_safetensors=True, dtype=torch.float32
            )
            tokenizer: Any = AutoTokenizer.from_pretrained(self.checkpoint, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ModelLoadError(
                f"CLIP's text tower cannot be loaded ({error})", value=self.checkpoint,
                remedy="give a folder or hub id with safetensors and a tokenizer, or leave it out "
                "to map answers by their words",
            ) from error  # fmt: skip
        return tokenizer, model.eval()
