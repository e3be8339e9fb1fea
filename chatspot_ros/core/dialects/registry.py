"""All dialects by their names in a model's settings."""

from __future__ import annotations

from chatspot_ros.core.dialects.base import Dialect
from chatspot_ros.core.dialects.chatspot import ChatSpotDialect
from chatspot_ros.core.dialects.florence2 import Florence2Dialect
from chatspot_ros.core.dialects.internvl import InternVLDialect
from chatspot_ros.core.dialects.kosmos2 import Kosmos2Dialect
from chatspot_ros.core.dialects.molmo import MolmoDialect
from chatspot_ros.core.dialects.paligemma import PaliGemmaDialect
from chatspot_ros.core.dialects.qwen_box import QwenBoxDialect
from chatspot_ros.core.dialects.qwen_json import PixelJsonDialect
from chatspot_ros.core.dialects.shikra import ShikraDialect

DIALECTS: dict[str, Dialect] = {
    "chatspot": ChatSpotDialect(),
    "shikra": ShikraDialect(),
    "pixel_json": PixelJsonDialect(),
    "grid_json": PixelJsonDialect(grid=1000, name="grid_json"),
    "box_2d": PixelJsonDialect(
        grid=1000, name="box_2d", box_key="box_2d", point_key="point", y_first=True
    ),
    "qwen_box": QwenBoxDialect(),
    "internvl": InternVLDialect(),
    "kosmos2": Kosmos2Dialect(),
    "florence2": Florence2Dialect(),
    "paligemma": PaliGemmaDialect(),
    "molmo1": MolmoDialect(version=1),
    "molmo2": MolmoDialect(),
}
