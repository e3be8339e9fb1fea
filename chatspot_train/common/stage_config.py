"""Settings of one training stage."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class StrictModel(BaseModel):
    """Settings that refuse unknown keys."""

    model_config = ConfigDict(extra="forbid")


class StageSettings(StrictModel):
    """One stage: `steps` optimizer steps of `batch` items.

    `optimizer`: adamw, or muon for the matrices in the layers (chatspot_train.common.muon).
    """

    steps: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    warmup: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.02, ge=0)
    save_every: int = Field(default=250, gt=0)
    workers: int = Field(default=0, ge=0)
    bf16: bool = True
    seed: int = 7
    progress: bool = True
