"""The stage in which chatspot-tiny's language model learns coordinates, before any images.

On text alone it learns the centre of a region, its bounds, and which of two regions is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from chatspot_ros.core.geometry import Fit, PictureGeometry, fit
from chatspot_ros.core.regions import Region
from chatspot_sim.wordings import TRAIN
from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.dialogue_dataset import DialogueEncoder, EncodedDialogue
from chatspot_train.tiny.dialogue_sampling import DIALECT

_UNIT: Fit = fit(PictureGeometry.STRETCH, (1000, 1000), (1000, 1000))


def _box(rng: np.random.Generator) -> tuple[float, float, float, float]:
    w, h = 1000 * rng.uniform(0.04, 0.6, 2) ** 1.2
    x, y = rng.uniform(0, 1000 - w), rng.uniform(0, 1000 - h)
    return x, y, x + w, y + h


def _polygon(rng: np.random.Generator, box: tuple[float, ...]) -> Region:
    x1, y1, x2, y2 = box
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 9))))
    xs = (x1 + x2) / 2 + (x2 - x1) / 2 * np.cos(angles)
    ys = (y1 + y2) / 2 + (y2 - y1) / 2 * np.sin(angles)
    return Region.polygon(zip(xs, ys, strict=True))


def draw_text(rng: np.random.Generator) -> tuple[str, str]:
    """Draw an exercise: (user text, model text)."""
    box = _box(rng)
    region = Region.box(*box) if rng.random() < 0.6 else _polygon(rng, box)
    x1, y1, x2, y2 = region.box_xyxy_px
    said = DIALECT.say(region, _UNIT)
    kind = rng.random()
    if kind < 0.55:
        middle = Region.point((x1 + x2) / 2, (y1 + y2) / 2)
        return f"[locate] middle {said}", DIALECT.say(middle, _UNIT)
    if kind < 0.7:
        return f"[locate] bounds {said}", DIALECT.say(Region.box(x1, y1, x2, y2), _UNIT)
    other = Region.box(*_box(rng))
    a, b = (x1 + x2) / 2, (other.box_xyxy_px[0] + other.box_xyxy_px[2]) / 2
    wording = TRAIN["relation"][int(rng.integers(len(TRAIN["relation"])))]
    for one in (said, DIALECT.say(other, _UNIT)):
        wording = wording.replace("<region>", one, 1)
    return f"[short] {wording}", "left of" if a < b else "right of"


class CoordinateDataset(Dataset[dict[str, Any]]):
    """Coordinate exercises; item k holds `exercises` from the random stream (seed, k)."""

    def __init__(self, encoder: DialogueEncoder, items: int, seed: int, exercises: int = 3) -> None:
        self.encoder, self.items, self.seed, self.exercises = encoder, items, seed, exercises

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, 6, index])
        tokens: list[int] = []
        labels: list[int] = []
        for _ in range(self.exercises):
            said, answered = draw_text(rng)
            encode = self.encoder.tokenizer.encode
            user = encode(f"USER: {said} ASSISTANT:", add_special_tokens=False)
            answer = encode(f" {answered}</s>", add_special_tokens=False)
            tokens += user + answer
            labels += [IGNORE] * len(user) + answer
        return {"dialogue": EncodedDialogue(tokens, labels)}
