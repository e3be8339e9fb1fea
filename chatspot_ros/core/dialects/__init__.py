"""Dialects: the regions of each model family as text, in both directions.

The numbers refer to the model's picture, so every dialect works with a `geometry.Fit`.
"""

from chatspot_ros.core.dialects.base import (
    BoxesOnly,
    Dialect,
    SpokenRegion,
    phrase_before,
    region_from_units,
)
from chatspot_ros.core.dialects.chatspot import ChatSpotDialect
from chatspot_ros.core.dialects.florence2 import Florence2Dialect
from chatspot_ros.core.dialects.internvl import InternVLDialect
from chatspot_ros.core.dialects.kosmos2 import Kosmos2Dialect
from chatspot_ros.core.dialects.molmo import MolmoDialect
from chatspot_ros.core.dialects.paligemma import PaliGemmaDialect
from chatspot_ros.core.dialects.qwen_box import QwenBoxDialect
from chatspot_ros.core.dialects.qwen_json import PixelJsonDialect
from chatspot_ros.core.dialects.registry import DIALECTS
from chatspot_ros.core.dialects.shikra import ShikraDialect

__all__ = [
    "DIALECTS",
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
