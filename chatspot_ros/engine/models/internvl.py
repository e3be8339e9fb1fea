"""InternVL: marks around the picture, tiles."""

from __future__ import annotations

from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.engine.models.base import Family


class InternVL(Family):
    """InternVL: marks stand around the picture, which may be cut into tiles."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded)
        self.before = str(getattr(loaded.tokenizer, "start_image_token", "<img>"))
        self.after = str(getattr(loaded.tokenizer, "end_image_token", "</img>"))
