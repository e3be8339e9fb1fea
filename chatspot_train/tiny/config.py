"""The settings of a chatspot-tiny training run, read from YAML and checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from chatspot_train.common.stage_config import StageSettings, StrictModel


class DataSettings(StrictModel):
    """Rendered kitchens: how many of the training and validation splits, moments of each.

    `side` is the side in pixels of the stored pictures: larger than the model's, so that a crop
    still shows print. `first_kitchen` is the number of the first training kitchen.
    """

    folder: Path
    train_kitchens: int = Field(gt=0)
    val_kitchens: int = Field(gt=0)
    moments: int = Field(default=4, gt=0)
    side: int = Field(default=448, gt=0)
    first_kitchen: int = Field(default=0, ge=0)


class VisionShape(StrictModel):
    """The CLIP vision tower: square pictures of `image_size` pixels, `patch_size` patches.

    `detail_widths` gives it a detail path of so many channels
    (chatspot_ros.chatspot_tiny.modeling_vision); `things` tells the language model besides what the
    detector on that path sees.
    """

    image_size: int = 400
    patch_size: int = 20
    hidden_size: int = 256
    layers: int = 6
    heads: int = 4
    mlp_size: int = 1024
    detail_widths: tuple[int, int, int, int] | None = None
    things: bool = False

    @model_validator(mode="after")
    def _seen(self) -> VisionShape:
        if self.things and self.detail_widths is None:
            raise ValueError("things are seen on the detail path: give its detail_widths too")
        return self


class LanguageShape(StrictModel):
    """The Llama language model."""

    hidden_size: int = 256
    layers: int = 5
    heads: int = 4
    mlp_size: int = 704
    rope_theta: float = 500.0
    vocabulary: int = 1200


class TinySettings(StrictModel):
    """A whole run: `out` gets a folder for each stage and the exported model.

    `measured_kitchens`: on how many unseen kitchens the exported model is measured for its card.
    `start`: the folder of an exported model to go on from, of the same widths; its pictures and
    patches may be of another size, and its language model may have fewer layers. `pages`: the share
    of the vision stage's pictures that are pages of print
    (chatspot_train.tiny.synthetic_text_pages), `cards` that of the detail stage's with cards pasted
    onto them (chatspot_train.tiny.synthetic_text_cards). Without `vision_stage` or `detail_stage`
    the tower or its detail path stays as it is in `start`. `keep`: how much a detail stage that
    goes on from `start` asks the path to say what it said there, in any light, so that the language
    model need not learn it anew. `detector`: the folder of the detector on the detail path of
    `start`, where the language model is to be told what it sees and that model has no detector's
    heads itself. `views`: in how many versions the dialogues show a training picture, itself and
    parts of it.
    """

    recipe: Literal["tiny"] = "tiny"
    out: Path
    measured_kitchens: int = Field(default=0, ge=0)
    start: Path | None = None
    detector: Path | None = None
    data: DataSettings
    vision: VisionShape = VisionShape()
    language: LanguageShape = LanguageShape()
    pages: float = Field(default=0.0, ge=0, lt=1)
    cards: float = Field(default=0.0, ge=0, le=1)
    keep: float = Field(default=0.0, ge=0)
    vision_stage: StageSettings | None = None
    detail_stage: StageSettings | None = None
    text_stage: StageSettings
    dialogue_stage: StageSettings
    turns: int = Field(default=10, gt=0)
    views: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> TinySettings:
        if self.start is None and self.vision_stage is None:
            raise ValueError("vision_stage is needed where there is no start to take a tower from")
        if self.start is None and self.detail_stage is None and self.vision.detail_widths:
            raise ValueError("detail_stage is needed where there is no start to take a path from")
        if self.keep and (self.start is None or self.detail_stage is None):
            raise ValueError("keep is for a detail_stage that goes on from a start: give both")
        return self

    @classmethod
    def read(cls, file: Path) -> TinySettings:
        """Read a YAML file. pydantic.ValidationError names every wrong or unknown key."""
        return cls.model_validate(yaml.safe_load(file.read_text()))
