"""Grounded descriptions of unseen simulated kitchens: each thing that is said, with its box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from chatspot_train.evaluation.kitchen import export_public_formats
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import Item
from chatspot_train.evaluation.suites.grounding import GroundingSuite

KITCHENS = 60


@register
class GroundingKitchenSuite(GroundingSuite):
    """One description of each kitchen of `test`; the true pairs are its clear things, with colours.

    Without a limit KITCHENS kitchens are rendered and asked about.
    """

    name = "grounding_kitchen"
    headline: ClassVar[Mapping[str, str]] = {
        f"grounding_{row}": text for row, text in GroundingSuite.headline.items()
    }
    options = ()
    prefix = "grounding_"
    makes_data = True
    wants = "nothing: its images are rendered"

    def __init__(self) -> None:
        super().__init__(
            conversations=("conversations.json",),
            instances=("annotations/instances_val2017.json",),
            images=("val2017",),
        )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        return cls()

    @classmethod
    def kitchen_variants(cls, data: Path) -> dict[str, Any]:
        """See Suite: the suite kitchen has `grounding` itself."""
        return {}

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; `limit` counts kitchens. Raises RenderError, MissingDataError."""
        yield from super().items(export_public_formats.write(data, limit or KITCHENS), 0, seed)
