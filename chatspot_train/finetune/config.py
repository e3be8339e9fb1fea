"""Settings of an instruction-tuning run, read from YAML and checked before the run starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from chatspot_ros.core.model_spec import ModelSpec
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_train.common.stage_config import StrictModel

Part = Literal["projection", "language", "vision"]


class ModelSettings(StrictModel):
    """The model to start from: a checkpoint, or a CLIP tower and a language model.

    Folders or hub ids. `spec` describes how the model reads regions and images. It is required for
    a tower and a language model; for a checkpoint it is found as the node finds it.
    """

    checkpoint: str | None = None
    vision: str | None = None
    language: str | None = None
    spec: ModelSpec | None = None

    @model_validator(mode="after")
    def _is_one_way(self) -> ModelSettings:
        if self.checkpoint is None and not (self.vision and self.language and self.spec):
            raise ValueError("give either checkpoint, or vision, language and spec")
        if self.checkpoint is not None and (self.vision or self.language):
            raise ValueError("give either checkpoint, or vision and language, not both")
        return self


class SourceSettings(StrictModel):
    """One folder of records. Each record is used `weight` times an epoch on average.

    Of records that name their split only those of `splits` are used; empty: all.
    """

    records: Path
    images: Path
    weight: float = Field(default=1.0, gt=0)
    splits: list[str] = Field(["train"])

    def takes(self, split: str) -> bool:
        """Return whether records of this split are used; empty: records that name none."""
        return not split or not self.splits or split in self.splits


class HeldOutSettings(SourceSettings):
    """Records to measure the loss on: of all splits, if none is named."""

    splits: list[str] = Field([])


class ReplaySettings(StrictModel):
    """Earlier data mixed in against forgetting, as `share` of all records."""

    data: list[SourceSettings] = Field(min_length=1)
    share: float = Field(default=0.1, gt=0, lt=1)


class AugmentSettings(StrictModel):
    """Augmentation: `pictures` together with their regions, and questions by the file of synonyms
    `texts`."""

    pictures: bool = False
    texts: Path | None = None


class LoraSettings(StrictModel):
    """Low-rank adapters on the language model's linear layers (peft)."""

    rank: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )


class DistillSettings(StrictModel):
    """A teacher whose next-token distribution is a target beside the answers.

    `temperature` softens both distributions; `weight` is the teacher's share of the loss.
    """

    teacher: str
    temperature: float = Field(default=2.0, gt=0)
    weight: float = Field(default=0.5, ge=0, le=1)


class OptimSettings(StrictModel):
    """AdamW with a warm-up and a cosine schedule.

    `projection_rate` is the projection's own learning rate; 0: that of the rest. A step has `batch`
    conversations over all devices, `per_device` at a time; `steps` limits a run
    (0: the epochs decide).
    """

    learning_rate: float = Field(gt=0)
    projection_rate: float = Field(default=0.0, ge=0)
    epochs: float = Field(default=1.0, gt=0)
    steps: int = Field(default=0, ge=0)
    batch: int = Field(default=128, gt=0)
    per_device: int = Field(default=8, gt=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    save_every: int = Field(default=500, gt=0)
    log_every: int = Field(default=10, gt=0)
    workers: int = Field(default=2, ge=0)
    bf16: bool = True
    gradient_checkpointing: bool = True
    seed: int = 7
    progress: bool = True


class InstructSettings(StrictModel):
    """A whole run: `out` gets checkpoints, logs, `loss.png` and `model/`, the exported folder.

    `learn` names the trained parts; with `lora` adapters of the language model are trained.
    `longest` is the maximum number of tokens of a conversation; whole turns are cut. `fsdp` and
    `deepspeed` name configuration files for several GPUs (start with `accelerate launch` or
    `torchrun`). `skills_file` and `states_file` are the robot's, as for the node, for prompts that
    name them; a bare name may be a file of the package's config folder; empty: none.
    With `packed` each turn of a record is a conversation of its own, and all of a record's turns
    stand behind its picture once. `look_twice` is the share of turns about one region that are
    shown its surroundings once more, larger; `show_print` the share of turns with print lines that
    are told them.
    `max_missing` is the share of a source's pictures that may be missing or unreadable. `name` is
    the model's own; empty: the last part of `out`. `base` is the format of weights that do not
    move: bfloat16 or, with `lora`, 4bit (bitsandbytes); auto: see docs/training.md.
    """

    recipe: Literal["instruct"]
    out: Path
    name: str = ""
    model: ModelSettings
    data: list[SourceSettings] = Field(min_length=1)
    validation: list[HeldOutSettings] = Field([])
    replay: ReplaySettings | None = None
    learn: list[Part] = Field(min_length=1)
    skills_file: str = ""
    states_file: str = ""
    base: Literal["auto", "float32", "bfloat16", "4bit"] = "auto"
    longest: int = Field(default=2048, gt=16)
    packed: bool = False
    look_twice: float = Field(default=0.0, ge=0, le=1)
    show_print: float = Field(default=0.0, ge=0, le=1)
    max_missing: float = Field(default=0.01, ge=0, le=1)
    optim: OptimSettings
    lora: LoraSettings | None = None
    distill: DistillSettings | None = None
    augment: AugmentSettings = AugmentSettings()
    fsdp: Path | None = None
    deepspeed: Path | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> InstructSettings:
        if self.fsdp and self.deepspeed:
            raise ValueError("give fsdp or deepspeed, not both")
        if self.lora and "language" not in self.learn:
            raise ValueError("lora adapts the language model: learn must name language")
        if self.base == "4bit" and (self.lora is None or self.model.checkpoint is None):
            raise ValueError("base 4bit is for lora on a checkpoint: nothing else trains on it")
        if self.packed and (self.distill or self.fsdp or self.deepspeed):
            raise ValueError("packed rows are for one device, without a teacher")
        if (self.look_twice or self.show_print) and not self.packed:
            raise ValueError("look_twice and show_print need packed: true")
        if self.optim.batch % self.optim.per_device:
            raise ValueError("batch must be a multiple of per_device")
        return self

    @classmethod
    def read(cls, file: Path) -> InstructSettings:
        """Read a YAML file. Raises pydantic.ValidationError, which names every wrong key."""
        return cls.model_validate(load_yaml(file))


def public(settings: InstructSettings) -> dict[str, Any]:
    """Return the settings as plain values, without folders of this machine."""
    values = settings.model_dump(mode="json", exclude={"out": True, "fsdp": True})
    values["name"] = settings.name or settings.out.resolve().name
    for source in (
        *values["data"],
        *values["validation"],
        *((values["replay"] or {}).get("data", [])),
    ):
        source["records"] = Path(source["records"]).name
        del source["images"]
    for file in ("skills_file", "states_file"):
        values[file] = Path(values[file]).name
    for part, keys in (
        (values["model"], ("checkpoint", "vision", "language")),
        (values["distill"], ("teacher",)), (values["augment"], ("texts",)),
        (values, ("deepspeed",)),
    ):  # fmt: skip
        for key in keys if part else ():
            part[key] = part[key] and without_folders(part[key])
    return values


def without_folders(path: str) -> str:
    """Return a path's last part, with the run's name for a run's `model`; hub ids stay."""
    if not Path(path).expanduser().is_absolute() and not path.startswith("."):
        return path
    last = Path(path).resolve()
    return f"{last.parent.name}/{last.name}" if last.name == "model" else last.name
