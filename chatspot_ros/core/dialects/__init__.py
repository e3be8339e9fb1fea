"""How a model family writes regions as text, and how its text is read back.

The numbers refer to the model's picture, so every dialect works with a `geometry.Fit`.
"""

from chatspot_ros.core.dialects.base import (
    BoxesOnly,
    Dialect,
    SpokenRegion,
    phrase_before,
    region_from_units,
)
from chatspot_ros.core.dialects.chatspot import ChatSpotDialect, ShikraDialect
from chatspot_ros.core.dialects.location_tokens import (
    Florence2Dialect,
    Kosmos2Dialect,
    PaliGemmaDialect,
)
from chatspot_ros.core.dialects.molmo import MolmoDialect
from chatspot_ros.core.dialects.qwen_json import PixelJsonDialect
from chatspot_ros.core.dialects.tagged_boxes import InternVLDialect, QwenBoxDialect

__all__ = [
    "BoxesOnly",
    "ChatSpotDialect",
    "Dialect",
    "Florence2Dialect",
    "InternVLDialect",
    "Kosmos2Dialect",
    "MolmoDialect",
    "PaliGemmaDialect",
    "PixelJsonDialect",
    "QwenBoxDialect",
    "ShikraDialect",
    "SpokenRegion",
    "phrase_before",
    "region_from_units",
]
