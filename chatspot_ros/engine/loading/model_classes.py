"""Classes that transformers does not bring along, imported for the checkpoints that need them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

# A config.json's model_type -> the module whose import makes transformers know its classes.
MODULES = {
    "chatspot_detail_vision": "chatspot_ros.chatspot_tiny.modeling_vision",
    "chatspot_detail_detector": "chatspot_ros.chatspot_tiny.modeling_detector",
    "chatspot_efficientnet_lite": "chatspot_ros.chatspot_small.modeling_vision",
    "molmo2": "chatspot_ros.engine.models.molmo2_processor",
}


def import_classes(config: Mapping[str, Any]) -> None:
    """Import the modules that a config.json, or its vision_config, names by model_type."""
    for part in (config, config.get("vision_config")):
        module = MODULES.get(str(part.get("model_type"))) if isinstance(part, Mapping) else None
        if module is not None:
            importlib.import_module(module)
