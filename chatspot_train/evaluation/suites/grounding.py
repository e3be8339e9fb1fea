"""Grounded answers: phrases with boxes, counted as Grounding-Bench does.

A predicted pair (phrase, box) matches a true one if their boxes' IoU is above 0.5 and their phrases
match; a maximum one-to-one matching counts. Precision is the share of predicted pairs that are
matched, recall the share of true ones, over all questions.

Phrases match if all words of one are in the other, without case, punctuation, articles and plural
s: a model's phrase may be longer ("There is a red mug") or shorter ("mug"). Grounding-Bench lets a
language model judge phrases; another judge may be given. A phrase that matches none of the picture
is hallucinated, wherever its box is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from chatspot_ros.core.boxes import ious, xywh_to_xyxy
from chatspot_ros.core.regions import BoxXyxy
from chatspot_train.evaluation.dataset_files import (
    first_there,
    malformed,
    need_some,
    read_json,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts, rows_of
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    NoAnswersError,
    Option,
    Prediction,
    Report,
    Suite,
    markdown,
    need,
)
from chatspot_train.evaluation.suites.coco_pictures import (
    COCO_VAL,
    OWN_FILES,
    WANTS_OWN,
    CocoFiles,
)

OVERLAP = 0.5
ROWS = ("precision", "recall", "f1", "hallucinated")
QUESTION = "Describe the whole image in detail."
SUFFIX = "Say where each thing is."
# As its README and its own reader name them (UX-Decoder/LLaVA-Grounding), then earlier names.
CONVERSATIONS = (
    "coco/annotations/grounded_visual_chat_data.json",
    "llava/annotations/grounded_visual_chat_data.json",
    "llava/annotations/merged_v3_fixed.json",
)
INSTANCES = (
    "coco/annotations/instances_train2017_gvc.json",
    "coco/annotations/instances_train2017_instruct_grounding_fix_v3.json",
)
IMAGES = ("coco/train2017", "coco/train2014")
_ARTICLES = {"a", "an", "the", "this", "that", "these", "those", "some", "its", "his", "her",
             "their"}  # fmt: skip
_MARKED = re.compile(r"<g_s>(.*?)<g_e>\s*<seg>", re.DOTALL)
_NOISE = re.compile(r"<image>|\(with grounding\)", re.IGNORECASE)
_SHORTEST_PLURAL = 4
Pair = tuple[str, BoxXyxy]
SamePhrase = Callable[[str, str], bool]


def words_of(phrase: str) -> frozenset[str]:
    """Return the words of a phrase in the singular, without articles."""
    plain = unicodedata.normalize("NFKC", phrase).casefold()
    return frozenset(_singular(word) for word in re.findall(r"\w+", plain) if word not in _ARTICLES)


def _singular(word: str) -> str:
    plural = len(word) >= _SHORTEST_PLURAL and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if plural else word


def same_phrase(a: str, b: str) -> bool:
    """True if all words of one phrase are in the other; a phrase without words matches none."""
    one, other = words_of(a), words_of(b)
    return bool(one) and bool(other) and (one <= other or other <= one)


def matched(said: Sequence[Pair], true: Sequence[Pair], same: SamePhrase = same_phrase) -> int:
    """Return the size of a maximum matching of pairs (phrase, (x1, y1, x2, y2) px)."""
    alike = np.array([[same(p, q) for q, _ in true] for p, _ in said], bool)
    near = ious([box for _, box in said], [box for _, box in true]) > OVERLAP
    fits = alike.reshape(near.shape) & near
    rows, columns = linear_sum_assignment(fits, maximize=True)
    return int(fits[rows, columns].sum())


@register
class GroundingSuite(Suite):
    """The first question of each conversation in LLaVA-Grounding's layout.

    `conversations` has `id`, `conversations` with `<g_s> phrase <g_e> <seg>` in the answers, and
    `gd_ls`: for each `<seg>` the ids of its annotations (or null); `instances` is a COCO file with
    those annotations; `images` are folders of pictures. The first existing file of each is read.
    `suffix` is added to each question; `same` judges phrases. Of own `files` of COCO's form each
    picture is to be described, with all its things.
    """

    name = "grounding"
    headline: ClassVar[Mapping[str, str]] = {
        "precision": "phrases with boxes, precision",
        "recall": "phrases with boxes, recall",
        "f1": "phrases with boxes, F1",
        "hallucinated": "phrases with boxes that no thing has, for each description",
    }
    options: ClassVar[tuple[Option, ...]] = OWN_FILES
    prefix: ClassVar[str] = ""

    def __init__(
        self,
        conversations: tuple[str, ...] = CONVERSATIONS,
        instances: tuple[str, ...] = INSTANCES,
        images: tuple[str, ...] = IMAGES,
        suffix: str = SUFFIX,
        same: SamePhrase = same_phrase,
        files: CocoFiles = COCO_VAL,
    ) -> None:
        self.conversations, self.instances, self.images = conversations, instances, images
        self.suffix, self.same, self.files = suffix, same, files

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite. Raises SuiteOptionError for own annotations without their pictures."""
        return cls(files=CocoFiles.from_options(options))

    @classmethod
    def kitchen_variants(cls, data: Path) -> dict[str, Suite]:
        """See Suite."""
        return {
            cls.name: cls(
                conversations=("conversations.json",),
                instances=("annotations/instances_val2017.json",),
                images=("val2017",),
                suffix="",
            )
        }

    @property
    def wants(self) -> str:
        """See Suite."""
        files = f"{self.conversations[0]} and {self.instances[0]}"
        return (f"give --data a folder with {files} in the layout of UX-Decoder/LLaVA-Grounding, "
                f"and COCO's pictures in {self.images[0]}/")  # fmt: skip

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; conversations without a grounded answer, pictures without things are left
        out."""
        if self.files.own:
            yield from self._own_items(limit, seed)
            return
        path = first_there(data, self.conversations, self.wants)
        boxes, pictures = self._coco(first_there(data, self.instances, self.wants))
        grounded = []
        for number, entry in enumerate(read_json(path, self.wants)):
            try:
                question, pairs = first_turn(entry, boxes)
                picture = pictures[int(entry["id"])]
            except (KeyError, ValueError, TypeError, IndexError) as error:
                problem = f"entry {number}: {type(error).__name__} {error}"
                raise malformed(path, problem, self.wants) from error
            if pairs:
                grounded.append((f"{entry['id']}/{number}", picture, question, pairs))
        need_some(grounded, path, self.wants)
        for key, picture, question, pairs in sample(grounded, limit, seed):
            image = first_there(data, (f"{one}/{picture}" for one in self.images), self.wants)
            turn = AskedTurn(f"{question} {self.suffix}".strip(), task="describe")
            yield Item(key, image, (turn,), {"pairs": pairs})

    def _own_items(self, limit: int, seed: int) -> Iterator[Item]:
        path, images = self.files.find(Path(), WANTS_OWN)
        coco = read_json(path, WANTS_OWN)
        boxes, pictures = self._coco(path)
        pairs: dict[int, list[list[Any]]] = {}
        try:
            names = {int(one["id"]): str(one["name"]) for one in coco["categories"]}
            for one in coco["annotations"]:
                if not one.get("iscrowd"):
                    phrase = names[int(one["category_id"])].replace("_", " ")
                    pair = [phrase, list(boxes[int(one["id"])])]
                    pairs.setdefault(int(one["image_id"]), []).append(pair)
        except (KeyError, ValueError, TypeError) as error:
            raise malformed(path, f"{type(error).__name__} {error}", WANTS_OWN) from error
        need_some(list(pairs), path, WANTS_OWN)
        for number, truth in sample(sorted(pairs.items()), limit, seed):
            turn = AskedTurn(f"{QUESTION} {self.suffix}".strip(), task="describe")
            image = need(images / pictures[number], WANTS_OWN)
            yield Item(str(number), image, (turn,), {"pairs": truth})

    def _coco(self, path: Path) -> tuple[dict[int, BoxXyxy], dict[int, str]]:
        """Return boxes (x1, y1, x2, y2) px by annotation id, files by image id."""
        coco = read_json(path, self.wants)
        try:
            boxes = {int(one["id"]): _corners(one["bbox"]) for one in coco["annotations"]}
            return boxes, {int(one["id"]): str(one["file_name"]) for one in coco["images"]}
        except (KeyError, ValueError, TypeError) as error:
            raise malformed(path, f"{type(error).__name__} {error}", self.wants) from error

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite."""
        parts: dict[str, dict[str, tuple[float, float]]] = {row: {} for row in ROWS}
        for p in predictions:
            true: list[Pair] = [(phrase, _box(box)) for phrase, box in p.truth["pairs"]]
            said: list[Pair] = list(zip(p.phrases, p.boxes_xyxy_px, strict=True))
            hits = matched(said, true, self.same)
            parts["precision"][p.key] = (hits, len(said))
            parts["recall"][p.key] = (hits, len(true))
            parts["f1"][p.key] = (2 * hits, len(said) + len(true))
            made_up = sum(not any(self.same(a, b) for b, _ in true) for a, _ in said)
            parts["hallucinated"][p.key] = (made_up, 1)
        return {f"{self.prefix}{row}": found for row, found in parts.items()}

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Grounded precision, recall and F1 with their counts."""
        if not predictions:
            raise NoAnswersError
        parts = self.parts(predictions)
        rows = rows_of(parts)
        told = [parts[f"{self.prefix}{row}"].values() for row in ("precision", "recall")]
        hits = int(sum(one[0] for one in told[0]))
        said, true = (int(sum(one[1] for one in each)) for each in told)
        table = markdown(
            ["grounding", "precision", "recall", "F1", "made up", "matched", "said", "true"],
            [["all", *(rows[f"{self.prefix}{name}"]["value"] for name in ROWS), hits, said, true]],
        )
        return Report(rows, table)


def first_turn(entry: dict[str, Any], boxes: dict[int, BoxXyxy]) -> tuple[str, list[list[Any]]]:
    """Return the first question and the [phrase, [x1, y1, x2, y2]] pairs of its answer, px.

    Raises KeyError, IndexError, TypeError or ValueError where the entry is of another form.
    """
    asked, answered = entry["conversations"][:2]
    question = " ".join(_NOISE.sub(" ", asked["value"]).split())
    phrases = [" ".join(phrase.split()) for phrase in _MARKED.findall(answered["value"])]
    grounds = entry.get("gd_ls") or [None] * len(phrases)
    return question, [
        [phrase, list(boxes[one])]
        for k, phrase in enumerate(phrases)
        for one in grounds[k] or ()
    ]  # fmt: skip


def _corners(bbox: Sequence[float]) -> BoxXyxy:
    return _box(xywh_to_xyxy(bbox))


def _box(values: Sequence[float]) -> BoxXyxy:
    x1, y1, x2, y2 = map(float, values)
    return x1, y1, x2, y2
