"""What an exported model says of itself: its own name, its data's licence, no path of a machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from chatspot_train.data.build import main

Painted = Callable[..., dict[str, str]]
OPTIM = {
    "learning_rate": 1e-3,
    "batch": 1,
    "per_device": 1,
    "workers": 0,
    "bf16": False,
    "progress": False,
    "gradient_checkpointing": False,
    "steps": 1,
    "log_every": 1,
}


@pytest.fixture
def learn(tmp_path: Path, train_as: Callable[[Path], None]) -> Callable[..., Path]:
    def go(**values: Any) -> Path:
        out = tmp_path / values.pop("out", "mug-bot")
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump({
            "recipe": "instruct", "out": str(out), "learn": ["projection"], "optim": OPTIM, **values
        }))  # fmt: skip
        train_as(file)
        return out / "model"

    return go


def test_no_path_of_the_machine(
    learn: Callable[..., Path], parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    synonyms = tmp_path / "synonyms.yaml"
    synonyms.write_text(Path("config/train/synonyms.yaml").read_text())
    folder = learn(model=parts, data=[painted(2)], validation=[painted(2, source="held")],
                   augment={"texts": str(synonyms)})  # fmt: skip
    again = learn(model={"checkpoint": str(folder)}, data=[painted(2)], out="second",
                  distill={"teacher": str(folder)})  # fmt: skip
    for model in (folder, again):
        for file in ("README.md", "training.json", "config.json", "tokenizer_config.json",
                     "chatspot.yaml"):  # fmt: skip
            text = (model / file).read_text()
            assert str(tmp_path) not in text, file
            assert str(Path(parts["vision"]).parent) not in text, file


def test_the_models_own_name(
    learn: Callable[..., Path], parts: dict[str, Any], painted: Painted
) -> None:
    """Not the name of the spec that it started from."""
    folder = learn(model=parts, data=[painted(2)], name="mug-bot-1")
    assert (folder / "README.md").read_text().splitlines()[0].strip("# ") == "mug-bot-1" or (
        "# mug-bot-1" in (folder / "README.md").read_text()
    )
    assert yaml.safe_load((folder / "chatspot.yaml").read_text())["name"] == "mug-bot-1"
    assert json.loads((folder / "training.json").read_text())["name"] == "mug-bot-1"


def test_the_datas_own_licence(
    learn: Callable[..., Path], parts: dict[str, Any], tmp_path: Path
) -> None:
    """Own dialogues are not RegionChat's, and not under its terms."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    line = {"image": "a.png", "width": 40, "height": 30, "id": "1",
            "turns": [{"question": "What?", "answer": "a mug"}]}  # fmt: skip
    (tmp_path / "mine.jsonl").write_text(json.dumps(line))
    assert main(["--source", "region_chat", "--annotations", str(tmp_path / "mine.jsonl"),
                 "--images", str(tmp_path / "images"), "--out", str(tmp_path / "records"),
                 "--licence", "CC0: our kitchen's own"]) == 0  # fmt: skip
    folder = learn(model=parts, data=[{"records": str(tmp_path / "records"),
                                       "images": str(tmp_path / "images")}])  # fmt: skip
    card = (folder / "README.md").read_text()
    assert "CC0: our kitchen's own" in card
    assert "the model that wrote it" not in card


@pytest.mark.parametrize("recipe", ["", "instrukt", None])
def test_a_missing_recipe_is_said_first(
    recipe: str | None, tmp_path: Path, train_as: Callable[[Path], None]
) -> None:
    values: dict[str, Any] = {
        "out": "x",
        "model": {"checkpoint": "m"},
        "learn": ["language"],
        "data": [{"records": "r", "images": "i"}],
        "optim": OPTIM,
    }
    if recipe is not None:
        values["recipe"] = recipe
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit) as refused:
        train_as(tmp_path / "run.yaml")
    first = str(refused.value).splitlines()[0]
    assert "recipe" in first
    assert "instruct" in first


@pytest.mark.parametrize("text", ["", "- a\n", "just words", "recipe: [instruct]\n", "a: [b\n"])
def test_a_file_that_is_no_recipe_is_one_line(
    text: str, tmp_path: Path, train_as: Callable[[Path], None]
) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(SystemExit, match=r"run\.yaml") as refused:
        train_as(tmp_path / "run.yaml")
    assert "recipe" in str(refused.value) or "YAML" in str(refused.value)
