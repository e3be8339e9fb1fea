"""Train a model: `chatspot train --config FILE`.

`recipe` in the file names the recipe: `instruct` teaches any checkpoint from records
(chatspot_train.finetune); `tiny` trains chatspot-tiny from random weights
(chatspot_train.tiny). Each stage resumes from its last checkpoint: to go on with a stopped run,
start the same command again.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from chatspot_ros.errors import ChatspotError
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_ros.util.command_line import Command
from chatspot_train.common.trainer import NonFiniteLossError
from chatspot_train.data.records import RecordError

# The module of each recipe. Its `run_recipe` takes the settings and returns the exported folder.
RECIPES = {"instruct": "chatspot_train.finetune.run", "tiny": "chatspot_train.tiny.train"}


class RecipeError(ChatspotError):
    """The configuration file names no known recipe."""


def run(config: Path) -> Path:
    """Train as the file says and return the exported folder.

    Raises RecipeError, pydantic.ValidationError for wrong settings, and the recipe's own errors.
    """
    remedy = f"set recipe to {' or '.join(RECIPES)}"
    try:
        values = load_yaml(config)
    except (yaml.YAMLError, UnicodeError) as error:
        problem = " ".join(str(error).split())
        raise RecipeError(f"{config} is not YAML", value=problem, remedy="mend it") from error
    if not isinstance(values, dict) or "recipe" not in values:
        raise RecipeError(f"{config} names no recipe", value=values, remedy=remedy)
    name = values["recipe"]
    if not isinstance(name, str) or name not in RECIPES:
        raise RecipeError(f"{config} names an unknown recipe", value=name, remedy=remedy)
    module = importlib.import_module(RECIPES[name])
    return cast(Callable[[Any], Path], module.run_recipe)(values)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the settings")


main = Command(
    "train", _add_arguments, lambda options: print(f"exported to {run(options.config)}"),
    description="Train a model, or continue a run.",
    errors=(RecordError, NonFiniteLossError, ValidationError, yaml.YAMLError), failed=1,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
