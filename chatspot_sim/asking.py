"""A question about a kitchen picture, and how its thing, region and wording are drawn."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.regions import Region
from chatspot_sim.stranger_wordings import Sense, fitting, sense
from chatspot_sim.truth import Box, Thing, Truth
from chatspot_sim.wordings import Wordings

MIN_SIDE = 0.035  # of the picture's side: no question is about a smaller thing


@dataclass(frozen=True)
class KitchenQuestion:
    """One question. `box_xyxy_px` is the true box of a `locate` question, `phrase` the name that
    the question gives to the thing."""

    kind: str
    question: str
    task: str
    regions: tuple[Region, ...]
    answer: str
    box_xyxy_px: Box | None = None
    thing: str = ""
    phrase: str = ""


def clear_things(truth: Truth) -> list[Thing]:
    """Return the things that are large and visible enough for a question."""
    least_w, least_h = MIN_SIDE * truth.width, MIN_SIDE * truth.height
    return [
        t for t in truth.things
        if t.box_xyxy_px[2] - t.box_xyxy_px[0] >= least_w
        and t.box_xyxy_px[3] - t.box_xyxy_px[1] >= least_h
        and t.visible_fraction >= 0.35
    ]  # fmt: skip


@dataclass
class Asker:
    """Draw the parts of questions about one picture.

    `labels` (H x W, thing numbers from 1) lets points fall on a thing's real pixels; without it
    they fall inside its outline. `noise` scales the errors of regions: 1 as in training, 0 exact.
    `shape` fixes the kind of region ("box", "point", "polygon"); empty: drawn.
    """

    truth: Truth
    rng: np.random.Generator
    wordings: Wordings
    labels: NDArray[np.integer] | None = None
    noise: float = 1.0
    shape: str = ""

    def word(self, kind: str, **names: str) -> str:
        return self.worded(kind, **names)[0]

    def worded(self, kind: str, values: Collection[str] = (), **names: str) -> tuple[str, Sense]:
        """Draw a wording that fits a thing in a state of these values; return it with its sense."""
        choices = fitting(kind, self.wordings[kind], values)
        wording = choices[int(self.rng.integers(len(choices)))]
        text = wording
        for key, value in names.items():
            text = text.replace("{" + key + "}", value)
        return text, sense(kind, wording)

    def asked_things(self) -> list[Thing]:
        """Return `clear_things` of the picture."""
        return clear_things(self.truth)

    def pick(self, things: list[Thing]) -> Thing | None:
        return things[int(self.rng.integers(len(things)))] if things else None

    def region(self, thing: Thing, shape: str = "") -> Region:
        """Draw a box, point or polygon on the thing, with errors as `noise` sets them."""
        shape = shape or self.shape or str(self.rng.choice(["box", "box", "point", "polygon"]))
        if shape == "point":
            return Region.point(*self._inner_point(thing))
        if shape == "polygon":
            x1, y1, x2, y2 = thing.box_xyxy_px
            spread = 0.02 * self.noise * np.array([x2 - x1, y2 - y1])
            points = np.array(thing.polygon_px) + self.rng.normal(0, 1, (1, 2)) * spread
            return Region.polygon([tuple(p) for p in self._inside(points)])
        return self.box_region(thing.box_xyxy_px)

    def box_region(self, box: Box) -> Region:
        x1, y1, x2, y2 = box
        scale = 0.05 * self.noise * float(self.rng.random())
        spread = scale * np.array([[x2 - x1, y2 - y1]])
        corners = np.array([[x1, y1], [x2, y2]]) + self.rng.normal(0, 1, (2, 2)) * spread
        (a, b), (c, d) = self._inside(corners)
        if c - a < 2 or d - b < 2:
            return Region.box(x1, y1, x2, y2)
        return Region.box(a, b, c, d)

    def _inside(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(points, 0, [self.truth.width, self.truth.height])

    def _inner_point(self, thing: Thing) -> tuple[float, float]:
        if self.labels is not None:
            number = self.truth.things.index(thing) + 1
            rows, columns = np.nonzero(self.labels == number)
            if len(rows):
                k = int(self.rng.integers(len(rows)))
                height, width = self.labels.shape
                return (
                    (columns[k] + 0.5) * self.truth.width / width,
                    (rows[k] + 0.5) * self.truth.height / height,
                )
        outline = np.array(thing.polygon_px, np.float32)
        low, high = outline.min(0), outline.max(0)
        for _ in range(200):
            x, y = (float(v) for v in self.rng.uniform(low, high))
            if cv2.pointPolygonTest(outline, (x, y), True) > 1:
                return x, y
        return float(outline[:, 0].mean()), float(outline[:, 1].mean())
