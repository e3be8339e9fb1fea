"""The train command finds the recipe by its name and hands it the settings."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from chatspot_train.train import RECIPES, RecipeError, run


def config(folder: Path, **values: Any) -> Path:
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.parametrize(
    ("values", "name"), [({"recipe": "tiny"}, "tiny"), ({"recipe": "instruct"}, "instruct")]
)
def test_the_recipe_gets_the_settings(
    values: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(RECIPES[name])
    monkeypatch.setattr(module, "run_recipe", lambda given: tmp_path / str(given["out"]))
    assert run(config(tmp_path, out="there", **values)) == tmp_path / "there"


@pytest.mark.parametrize("name", ["instruct", "tiny"])
def test_a_recipe_refuses_wrong_settings(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="stepz"):
        run(config(tmp_path, recipe=name, stepz=3))


@pytest.mark.parametrize("name", ["large", ["tiny"], None])
def test_an_unknown_recipe_is_refused(name: object, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="set recipe to instruct or align or ground or tiny"):
        run(config(tmp_path, recipe=name))


def test_only_the_chosen_recipe_is_imported() -> None:
    code = (
        "import sys, chatspot_train.train; "
        "print([m for m in sys.modules if m.startswith(('chatspot_train.tiny', "
        "'chatspot_train.finetune'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\nfrom chatspot_ros.tools.cli import make_parser\nmake_parser('train')\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
