"""What differs between model classes: how a picture gets in, and how a prompt is read.

Everything else of the engine is the same for all. Each class was read in transformers 5.23.
"""

from __future__ import annotations

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models import molmo2_processor
from chatspot_ros.engine.models.base import Family
from chatspot_ros.engine.models.florence2 import Florence2
from chatspot_ros.engine.models.internvl import InternVL
from chatspot_ros.engine.models.kosmos2 import Kosmos2
from chatspot_ros.engine.models.molmo2 import Molmo2
from chatspot_ros.engine.models.paligemma import PaliGemma
from chatspot_ros.engine.models.qwen_vl import Qwen

molmo2_processor.register()


_BY_TYPE: dict[str, type[Family]] = {
    "internvl": InternVL,
    "kosmos-2": Kosmos2,
    "paligemma": PaliGemma,
    "molmo2": Molmo2,
    "florence2": Florence2,
}


def find_family(loaded: Loaded) -> Family:
    """How to feed a loaded model. Raises ModelLoadError for one without an image token."""
    found = _BY_TYPE.get(loaded.model.config.model_type)
    if found is None:
        three_axes = hasattr(getattr(loaded.model, "model", None), "rope_deltas")
        found = Qwen if three_axes else Family
    return found(loaded)
