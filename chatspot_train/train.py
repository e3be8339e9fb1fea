"""Train a model: `chatspot train --config FILE`; `--plan FILE`: what would a run need?

`recipe` in the file names the recipe: `instruct` teaches any checkpoint from records
(chatspot_train.finetune), `align` its projection alone, `ground` a grounding head beside it; `tiny`
trains chatspot-tiny from random weights (chatspot_train.tiny). Each stage resumes from its last
checkpoint: to go on with a stopped run, start the same command again.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import yaml
from pydantic import ValidationError

from chatspot_ros.errors import ChatspotError
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_ros.util.command_line import Command
from chatspot_train.common.errors import NonFiniteLossError
from chatspot_train.data.records import RecordError

# The module of each recipe. Its `run_recipe` takes the settings and returns the exported folder.
RECIPES = {
    "instruct": "chatspot_train.finetune.run",
    "align": "chatspot_train.finetune.align",
    "ground": "chatspot_train.finetune.ground",
    "tiny": "chatspot_train.tiny.train",
}


class RecipeError(ChatspotError):
    """The configuration file names no known recipe."""


def run(config: Path) -> Path:
    """Train as the file says and return the exported folder.

    Raises RecipeError, pydantic.ValidationError for wrong settings, and the recipe's own errors.
    """
    module, values = _recipe(config)
    return cast(Callable[[Any], Path], module.run_recipe)(values)


def _recipe(config: Path) -> tuple[ModuleType, Any]:
    """Return the module of a file's recipe, and the file's values. Raises RecipeError."""
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
    return importlib.import_module(RECIPES[name]), values


def plan(config: Path, shape: Path | None = None) -> str:
    """Return a table of the memory that the run of a file needs on machines of three sizes.

    `shape` is a config.json to use instead of the model's. Raises as `run`, and ModelLoadError.
    """
    module, values = _recipe(config)
    if not hasattr(module, "plan_recipe"):
        raise RecipeError(
            f"{config} names a recipe without a plan", value=values["recipe"],
            remedy="plan a run of recipe instruct; chatspot-tiny trains on any machine",
        )  # fmt: skip
    return cast(Callable[[Any, Path | None], str], module.plan_recipe)(values, shape)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, help="YAML file of the settings: train")
    what.add_argument("--plan", type=Path, metavar="FILE",
                      help="YAML file of the settings: print what the run needs")  # fmt: skip
    parser.add_argument("--shape", type=Path, help="with --plan: a config.json with the model's "
                        "sizes, where the model itself is not here yet")  # fmt: skip


def _run(options: argparse.Namespace) -> None:
    if options.plan is not None:
        print(plan(options.plan, options.shape))
    else:
        print(f"exported to {run(options.config)}")


main = Command(
    "train", _add_arguments, _run,
    description="Train a model, or continue a run.",
    errors=(RecordError, NonFiniteLossError, ValidationError, yaml.YAMLError), failed=1,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
