"""Settings of a chatspot-tiny training run, read from YAML and checked before the run starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_train.common.stage_config import StageSettings, StrictModel


class DataSettings(StrictModel):
    """Rendered kitchens: how many training and validation kitchens, and moments of each.

    `side` is the side of the stored images in pixels: larger than the model's images, so that text
    in a crop stays readable. `first_kitchen` is the number of the first training kitchen.
    """

    folder: Path
    train_kitchens: int = Field(gt=0)
    val_kitchens: int = Field(gt=0)
    moments: int = Field(default=4, gt=0)
    side: int = Field(default=448, gt=0)
    first_kitchen: int = Field(default=0, ge=0)


class VisionShape(StrictModel):
    """The CLIP vision tower: square images of `image_size` pixels, patches of `patch_size`.

    `detail_widths` are the channels of a detail path beside the tower
    (chatspot_ros.chatspot_tiny.modeling_vision); with `things` the output of the detector on that
    path is an input of the language model too.
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
    def _check_things(self) -> VisionShape:
        if self.things and self.detail_widths is None:
            raise ValueError("things needs the detail path: give its detail_widths too")
        return self


class LanguageShape(StrictModel):
    """The Llama language model."""

    hidden_size: int = 256
    layers: int = 5
    heads: int = 4
    mlp_size: int = 704
    rope_theta: float = 500.0
    vocabulary: int = 1200


_DATA = {"train_kitchens", "moments", "side", "first_kitchen"}
_SHAPE = {"image_size", "patch_size", "hidden_size", "layers", "heads", "mlp_size"}
_INPUTS: dict[str, dict[str, Any]] = {
    "vision_stage": {"data": _DATA, "vision": _SHAPE, "pages": True, "start": True},
    "detail_stage": {"data": _DATA, "vision": True, "cards": True, "keep": True, "start": True,
                     "detector": True},
    "text_stage": {"language": True},
    "dialogue_stage": {"data": _DATA, "vision": True, "language": True, "start": True,
                       "turns": True, "views": True},
    "tokenizer": {"data": _DATA, "language": {"vocabulary"}, "dialogue_stage": {"seed"}},
}  # fmt: skip


class TinySettings(StrictModel):
    """A whole run: `out` gets a folder for each stage and the exported model.

    `measured_kitchens`: number of unseen kitchens on which the exported model is measured for its
    card. `start`: folder of an exported model of the same widths to continue from; its image and
    patch sizes may differ, and its language model may have fewer layers. `pages`: share of the
    vision stage's images that are pages of text (chatspot_train.tiny.synthetic_text_pages).
    `cards`: share of the detail stage's images with pasted cards
    (chatspot_train.tiny.synthetic_text_cards). Without `vision_stage` or `detail_stage` the tower
    or its detail path stays as in `start`. `keep`: weight of the loss that keeps the output of
    `start`'s detail path, in any light, so that the language model need not learn it again.
    `detector`: folder of the detector on `start`'s detail path, for `vision.things` where `start`
    has no detector heads of its own. `views`: number of versions of each training image in the
    dialogue stage, the image and crops of it. `turns`: questions a dialogue.
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
    def _check_stages(self) -> TinySettings:
        if self.start is None and self.vision_stage is None:
            raise ValueError("vision_stage is needed where there is no start to take a tower from")
        if self.start is None and self.detail_stage is None and self.vision.detail_widths:
            raise ValueError("detail_stage is needed where there is no start to take a path from")
        if self.keep and (self.start is None or self.detail_stage is None):
            raise ValueError("keep is for a detail_stage that goes on from a start: give both")
        return self

    def inputs(self, stage: str) -> dict[str, Any]:
        """Return the settings that a stage's result depends on, besides those of the stage."""
        return self.model_dump(mode="json", include=_INPUTS[stage])

    @classmethod
    def read(cls, file: Path) -> TinySettings:
        """Read a YAML file. Raises pydantic.ValidationError, which names every wrong key."""
        return cls.model_validate(load_yaml(file))
