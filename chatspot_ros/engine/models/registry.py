"""The table of model families. Each class was read in transformers 5.23.

A new family is a file beside this one and a line in `FAMILIES`.
"""

from __future__ import annotations

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models import qwen_vl
from chatspot_ros.engine.models.base import Family
from chatspot_ros.engine.models.florence2 import Florence2
from chatspot_ros.engine.models.internvl import InternVL
from chatspot_ros.engine.models.kosmos2 import Kosmos2
from chatspot_ros.engine.models.molmo2 import Molmo2
from chatspot_ros.engine.models.paligemma import PaliGemma

# model_type of the checkpoint's config -> its family; any other type is fed as `Family` does.
FAMILIES: dict[str, type[Family]] = {
    "internvl": InternVL,
    "kosmos-2": Kosmos2,
    "paligemma": PaliGemma,
    "molmo2": Molmo2,
    "florence2": Florence2,
    **dict.fromkeys(qwen_vl.MODEL_TYPES, qwen_vl.Qwen),
}


def find_family(loaded: Loaded) -> Family:
    """Return the family of a loaded model. Raises ModelLoadError for one without image token."""
    return FAMILIES.get(loaded.model.config.model_type, Family)(loaded)
