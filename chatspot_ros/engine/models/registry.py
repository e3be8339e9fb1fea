"""The table of model families. Each class was read in transformers 5.23.

A new family is a file beside this one and a line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import Family
from chatspot_ros.engine.models.florence2 import Florence2
from chatspot_ros.engine.models.gemma import Gemma3, Gemma4
from chatspot_ros.engine.models.idefics3 import Idefics3
from chatspot_ros.engine.models.internvl import InternVL
from chatspot_ros.engine.models.kosmos2 import Kosmos2
from chatspot_ros.engine.models.molmo2 import Molmo2
from chatspot_ros.engine.models.paligemma import PaliGemma
from chatspot_ros.engine.models.pixtral import Pixtral
from chatspot_ros.engine.models.qwen_vl import Qwen
from chatspot_ros.errors import ModelLoadError

# model_type of the checkpoint's config.json -> its family.
FAMILIES: dict[str, type[Family]] = {
    "llava": Family,
    "llava_onevision": Family,
    "qwen2_vl": Qwen,
    "qwen2_5_vl": Qwen,
    "qwen3_vl": Qwen,
    "qwen3_vl_moe": Qwen,
    "qwen3_5": Qwen,
    "qwen3_5_moe": Qwen,
    "internvl": InternVL,
    "gemma3": Gemma3,
    "gemma4": Gemma4,
    "idefics3": Idefics3,
    "smolvlm": Idefics3,
    "mistral3": Pixtral,
    "kosmos-2": Kosmos2,
    "paligemma": PaliGemma,
    "molmo2": Molmo2,
    "florence2": Florence2,
}


def family_of(config: Mapping[str, Any]) -> type[Family]:
    """Return the family of a config.json.

    Raises ModelLoadError for a class that no family feeds: settings alone would feed it wrongly.
    """
    name, vision = str(config.get("model_type")), config.get("vision_config")
    if name == "llava" and isinstance(vision, Mapping) and vision.get("model_type") == "pixtral":
        return Pixtral
    if name not in FAMILIES:
        raise ModelLoadError(
            "the engine does not know how pictures enter models of this class",
            value=f"model_type '{name}'",
            remedy=f"use a model of type {', '.join(sorted(FAMILIES))}, or add its family "
            "(docs/models.md)",
        )
    return FAMILIES[name]


def find_family(loaded: Loaded) -> Family:
    """Return the family of a loaded model. Raises ModelLoadError where none can feed it."""
    return family_of(loaded.model.config.to_dict())(loaded)
