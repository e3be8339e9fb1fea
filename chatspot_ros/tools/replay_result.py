"""The result of a replay: answers before and after, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region


@dataclass(frozen=True)
class Said:
    """The parts of an answer that are compared: text, state, steps, places."""

    text: str
    state: dict[str, str] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    grounded: tuple[str, ...] = ()
    confidence: float = 0.0
    uncertain: bool = False


@dataclass(frozen=True)
class Compared:
    """One question with the recorded answer and the answer of the other model.

    `differs` names the different parts: text, state, steps, grounded. `skipped` is the reason why
    the question was not asked; then `now` is None.
    """

    number: int
    question: str
    task: str
    regions: tuple[Region, ...]
    stamp_ns: int
    before: Said | None
    now: Said | None = None
    differs: tuple[str, ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class Replayed:
    """All questions of a bag in their order, and the models that answered."""

    bag: str
    models_before: tuple[str, ...]
    model: str
    rows: tuple[Compared, ...]
    pictures: dict[int, RgbImage] = field(default_factory=dict, compare=False)

    def count(self, what: str) -> int:
        """Return the number of rows with a verdict: `same`, `different` or `skipped`."""
        return sum(verdict(row) == what for row in self.rows)


def verdict(row: Compared) -> str:
    """Return `skipped`, `different` or `same`."""
    return "skipped" if row.skipped else "different" if row.differs else "same"
