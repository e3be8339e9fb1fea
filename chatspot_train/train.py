"""Train a model: `chatspot train --config FILE`.

`recipe: instruct` in the file teaches any checkpoint from records (chatspot_train.finetune);
otherwise chatspot-tiny is trained from nothing, stage by stage, as here. Every stage goes on from
its last checkpoint, so a run that was killed is started again with the same command.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml
from pydantic import ValidationError

from chatspot_ros.util.command_line import Command
from chatspot_train.common.trainer import NonFiniteLossError
from chatspot_train.data.records import RecordError
from chatspot_train.finetune.config import InstructSettings
from chatspot_train.finetune.run import run as run_instruct
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.train import measure, train


def run(config: Path) -> Path:
    """Train as the file says; returns the exported folder.

    Raises pydantic.ValidationError for wrong settings, and what the recipe's own run raises.
    """
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    if isinstance(values, dict) and values.get("recipe") == "instruct":
        return run_instruct(InstructSettings.model_validate(values))
    settings = TinySettings.model_validate(values)
    folder = train(settings)
    if settings.measured_kitchens:
        measure(folder, settings.measured_kitchens)
    return folder


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the settings")


main = Command(
    "train", _add_arguments, lambda options: print(f"exported to {run(options.config)}"),
    description="Train a model, or continue a run.",
    errors=(RecordError, NonFiniteLossError, ValidationError), failed=1,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
