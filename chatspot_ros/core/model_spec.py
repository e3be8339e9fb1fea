"""Settings of a model beyond its checkpoint's own files: dialect, picture, prompts, limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from chatspot_ros.core.confidence import Calibration
from chatspot_ros.core.dialects import DIALECTS, ChatSpotDialect, Dialect
from chatspot_ros.core.geometry import Fit, PictureGeometry, fit, own_wh, tiled_wh
from chatspot_ros.core.prompts import PromptStyle
from chatspot_ros.core.task_prompts import TaskPrompts
from chatspot_ros.core.vision_tower import VisionTower, read_tower
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.util.bounded_yaml import load_yaml

SPEC_FILE = "chatspot.yaml"
MAX_TILES = 64
Channel = int


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DialectSpec(_Strict):
    """The dialect of regions; the settings below `name` are those of `chatspot` alone.

    With `number_tokens` a joined model reads each number, with its separator, as one token.
    `chatspot` and `shikra` write fractions, `pixel_json` Qwen2.5-VL's JSON and `grid_json`
    Qwen3-VL's, `box_2d` Gemma's, `qwen_box` Qwen2-VL's tags, `molmo1` and `molmo2` points; the
    others are named after their family.
    """

    name: str = "chatspot"
    decimals: int = Field(2, ge=1, le=6)
    separator: str = " "
    lead: str = ""
    opening: str = Field("<box>", min_length=1)
    closing: str = Field("</box>", min_length=1)
    max_vertices: int = Field(8, ge=3, le=64)
    boxes_only: bool = False
    short_numbers: bool = False
    number_tokens: bool = False

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in DIALECTS:
            raise ValueError(f"there is no dialect '{name}': use one of {', '.join(DIALECTS)}")
        return name

    def make(self) -> Dialect:
        """Return the dialect."""
        if self.name != "chatspot":
            return DIALECTS[self.name]
        return ChatSpotDialect(**self.model_dump(exclude={"name", "number_tokens"}))

    @model_validator(mode="after")
    def _numbers_are_alike(self) -> DialectSpec:
        if self.number_tokens and (self.lead != self.separator or self.decimals > 3):
            raise ValueError("number_tokens need lead and separator alike, and at most 3 decimals")
        return self

    def number_strings(self) -> tuple[str, ...]:
        """Return the numbers that are one token each, rising; empty: none is."""
        if not self.number_tokens:
            return ()
        steps = 10**self.decimals
        return tuple(f"{self.lead}{n / steps:.{self.decimals}f}" for n in range(steps + 1))


class GeometrySpec(_Strict):
    """The model's picture: of a fixed width x height, or near the image's own size.

    With `multiple_of`, each side is the image's own, rounded to that multiple after an even scaling
    that keeps the picture's area between `min_pixels` and `max_pixels`; then `width` and `height`
    are 0 and the mode is stretch. With `max_tiles` above 1 the picture is made of up to that many
    tiles of `width` x `height`, in the arrangement that is nearest to the image's proportions.
    With `processor_resizes` the model's image processor resizes and pads by itself what it gets;
    regions are fractions of the image.
    """

    mode: PictureGeometry
    width: int = Field(0, ge=0, le=8192)
    height: int = Field(0, ge=0, le=8192)
    multiple_of: int = Field(0, ge=0, le=512)
    min_pixels: int = Field(56 * 56, ge=1)
    max_pixels: int = Field(1280 * 28 * 28, ge=1)
    max_tiles: int = Field(1, ge=1, le=MAX_TILES)
    processor_resizes: bool = False

    @model_validator(mode="after")
    def _is_one_way(self) -> GeometrySpec:
        fixed = self.width > 0 and self.height > 0
        if fixed == bool(self.multiple_of):
            raise ValueError("give either width and height, or multiple_of")
        if self.multiple_of and self.mode is not PictureGeometry.STRETCH:
            raise ValueError("multiple_of goes with the mode stretch")
        if self.max_tiles > 1 and (self.multiple_of or self.mode is not PictureGeometry.STRETCH):
            raise ValueError("max_tiles goes with width, height and the mode stretch")
        return self

    def fit(self, image_wh: tuple[int, int]) -> Fit:
        """Lay an image of (width, height) pixels onto the model's picture. Raises ImageError."""
        if self.multiple_of:
            limits = self.multiple_of, self.min_pixels, self.max_pixels
            return fit(self.mode, image_wh, own_wh(image_wh, *limits))
        return fit(self.mode, image_wh, tiled_wh(image_wh, self._tile_wh, self.max_tiles))

    @property
    def _tile_wh(self) -> tuple[int, int]:
        return self.width, self.height

    def with_budget(self, pixels: int) -> GeometrySpec:
        """Return the geometry with pictures of at most `pixels`, where their size is free; 0: same.

        A picture of tiles keeps one tile.
        """
        if not pixels:
            return self
        if self.multiple_of:
            return self.model_copy(
                update={"max_pixels": max(pixels, self.multiple_of**2),
                        "min_pixels": min(pixels, self.min_pixels)}
            )  # fmt: skip
        if self.max_tiles > 1:
            tiles = min(max(pixels // (self.width * self.height), 1), MAX_TILES)
            return self.model_copy(update={"max_tiles": tiles})
        return self


class CropSpec(_Strict):
    """The second look: a region's surroundings, cut out of the camera's image.

    The cut is the region's box with `context` of its longer side on each side, made square and
    moved into the image; it is laid onto a picture of `width` x `height` pixels.
    """

    width: int = Field(ge=8, le=4096)
    height: int = Field(ge=8, le=4096)
    context: float = Field(0.3, ge=0, le=4)


class PointingSpec(_Strict):
    """A grounding head beside the checkpoint, which fills in the boxes of answers.

    `file` is its name in the checkpoint's folder. A box whose score, the probability that it is
    right, is below `threshold` does not count.
    """

    file: str = Field("grounding_head.safetensors", pattern=r"^[\w-][\w.-]*$")
    threshold: float = Field(0.3, ge=0, le=1)


class ModelSpec(_Strict):
    """Settings of a model family or of one checkpoint.

    `model_types` (of config.json) and `names` (parts of the checkpoint's name, lower case) select
    the checkpoints of a file of config/models; `vision_types` are the only types of vision tower
    that it knows, empty: any. `calibration` is that of one checkpoint, as
    `chatspot calibrate` writes it. `phrases` replace the prompt style where a family was trained on
    fixed prompts. `wording` does so for single tasks, in the words of the family's training; the
    tasks that it lacks keep the prompt style. `none` are the answers by which the model says that a
    thing is not there. `chat_template` (Jinja) stands in for those of the checkpoint's files.
    `max_new_tokens` limit an answer; a model that reasons before it has `reasoning_tokens` more.
    `crop` is the second look that a model was trained with, None: with none; `reads_print` whether
    it learned with the lines of the reader of print. `pointing` is the checkpoint's grounding head,
    None: the model says coordinates by itself.
    """

    name: str = Field(min_length=1)
    model_types: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    vision_types: tuple[str, ...] = ()
    dialect: DialectSpec
    geometry: GeometrySpec
    crop: CropSpec | None = None
    reads_print: bool = False
    pointing: PointingSpec | None = None
    prompt_style: PromptStyle
    phrases: TaskPrompts | None = None
    wording: TaskPrompts | None = None
    none: tuple[str, ...] = ()
    chat_template: str = ""
    max_new_tokens: int = Field(256, ge=1, le=8192)
    reasoning_tokens: int = Field(4096, ge=1, le=65536)
    fill_rgb: tuple[Channel, Channel, Channel] = (122, 116, 104)
    calibration: Calibration | None = None

    def with_budget(self, pixels: int) -> ModelSpec:
        """Return the settings with pictures of at most `pixels`; see `GeometrySpec.with_budget`."""
        return self.model_copy(update={"geometry": self.geometry.with_budget(pixels)})

    @model_validator(mode="after")
    def _loses_no_words(self) -> ModelSpec:
        if self.wording is not None and (lost := self.wording.wordless()):
            raise ValueError(f"wording has neither {{question}} nor {{thing}} in: {lost}")
        return self


def read_spec(path: Path) -> ModelSpec:
    """Read one YAML file.

    Raises:
        ModelLoadError: it cannot be read, or a setting is missing, unknown or out of range.
    """
    try:
        data = load_yaml(path)
        return ModelSpec.model_validate(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelLoadError(
            f"the model's settings cannot be read: {error}", value=path, remedy="mend that file"
        ) from error
    except ValidationError as error:
        what = "; ".join(_problem(dict(one)) for one in error.errors())
        raise ModelLoadError(
            f"the model's settings are wrong: {what}", value=path, remedy="mend that file"
        ) from error


def find_spec(name: str, model_type: str, folder: Path | None = None) -> ModelSpec:
    """Return the settings of a checkpoint: its own chatspot.yaml, else those of its family.

    `folder` is the checkpoint's folder, `model_type` that of its config.json. A file of
    config/models that names the checkpoint wins over one that only names its type. Its picture gets
    the size of the checkpoint's own vision tower.

    Raises:
        ModelLoadError: no settings, unreadable ones, or a vision tower that the family's settings
            would feed wrongly.
    """
    if folder is not None and (folder / SPEC_FILE).is_file():
        return read_spec(folder / SPEC_FILE)
    tower = VisionTower("", 0) if folder is None else read_tower(folder)
    return _with_tower(_find_family(name, model_type, tower), name, tower)


def find_family_of(served: str) -> ModelSpec:
    """Return the settings of the family whose name is part of a served model's, as
    `Qwen/Qwen2.5-VL-7B-Instruct` or `qwen2.5vl:7b`; the longest such name wins.

    Raises:
        ModelLoadError: none is.
    """
    plain = _plain(served)
    found = [
        (len(_plain(part)), path, spec)
        for path in sorted(_spec_files())
        for spec in [read_spec(path)]
        for part in (path.stem, spec.name, *spec.names)
        if _plain(part) in plain
    ]
    if found:
        return max(found, key=lambda one: one[0])[2]
    known = ", ".join(sorted({path.stem for path in _spec_files()}))
    raise ModelLoadError(
        "no family of models is known by this name",
        value=served,
        remedy=f"name its dialect: one of {known}, or the path of a chatspot.yaml",
    )


def _plain(name: str) -> str:
    """Return a name's letters and digits, lower case."""
    return "".join(one for one in name.lower() if one.isalnum())


def _find_family(name: str, model_type: str, tower: VisionTower) -> ModelSpec:
    specs = [read_spec(path) for path in sorted(_spec_files())]
    by_type = [spec for spec in specs if model_type in spec.model_types]
    by_type = [spec for spec in by_type if tower.kind in spec.vision_types] or by_type
    lower = name.lower()
    for spec in by_type:
        if any(part in lower for part in spec.names):
            return spec
    if by_type:
        return by_type[0]
    known = sorted({one for spec in specs for one in spec.model_types})
    raise ModelLoadError(
        f"there are no settings for models of type '{model_type}'",
        value=name,
        remedy=f"use a model of type {', '.join(known) or '(none is known)'}, or add its family "
        "(docs/models.md)",
    )


def _with_tower(spec: ModelSpec, name: str, tower: VisionTower) -> ModelSpec:
    """Return a family's settings for the vision tower of a checkpoint. Raises ModelLoadError."""
    if spec.vision_types and tower.kind and tower.kind not in spec.vision_types:
        raise ModelLoadError(
            f"{spec.name} sees through {' or '.join(spec.vision_types)}; through another vision "
            f"tower, {tower.kind}, pictures and regions would reach the model wrongly",
            value=name,
            remedy="use a checkpoint that docs/models.md names",
        )
    geometry = spec.geometry
    if not tower.side or not geometry.width or tower.side == geometry.width == geometry.height:
        return spec
    sized = geometry.model_copy(update={"width": tower.side, "height": tower.side})
    return spec.model_copy(update={"geometry": sized})


def _spec_files() -> Iterator[Path]:
    """Find config/models, installed (share/chatspot_ros) or in the sources."""
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "share" / "chatspot_ros", parent):
            if (folder / "config" / "models").is_dir():
                yield from (folder / "config" / "models").glob("*.yaml")
                return


def _problem(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}" if place else str(error["msg"])
