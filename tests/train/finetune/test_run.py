"""Instruction tuning: what moves in each stage, what is learned, and that the engine serves it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_ros.errors import ModelLoadError
from chatspot_train.common.errors import NonFiniteLossError
from chatspot_train.common.labels import IGNORE
from chatspot_train.data.records import Record, RecordError, RecordTurn
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import InstructSettings, ModelSettings, public
from chatspot_train.finetune.model import Start, load_start, part_of
from chatspot_train.finetune.run import run

Painted = Callable[..., dict[str, str]]
OPTIM = {"learning_rate": 2e-3, "batch": 4, "per_device": 2, "warmup": 0.0, "workers": 0,
         "bf16": False, "progress": False, "log_every": 1, "save_every": 100}  # fmt: skip


def settings(out: Path, model: dict[str, Any], data: Any, **more: Any) -> InstructSettings:
    optim = {**OPTIM, **more.pop("optim", {})}
    data = data if isinstance(data, list) else [data]
    return InstructSettings.model_validate(
        {"recipe": "instruct", "out": out, "model": model, "data": data, "optim": optim, **more}
    )


@pytest.fixture(scope="module")
def start(parts: dict[str, Any]) -> Start:
    return load_start(ModelSettings.model_validate(parts))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model = load_start(ModelSettings(checkpoint=str(folder))).model
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The parts with a parameter that changed by more than the export's rounding."""
    assert before.keys() == after.keys()
    return {
        part_of(name) for name in before
        if not torch.allclose(before[name], after[name], atol=2e-3, rtol=2e-3)
    }  # fmt: skip


def test_exactly_the_right_parts_move_in_each_stage(
    parts: dict[str, Any], start: Start, painted: Painted, tmp_path: Path
) -> None:
    untaught = {n: p.detach().clone() for n, p in start.model.named_parameters()}
    data = painted(8)
    one = run(settings(tmp_path / "one", parts, data, learn=["projection"],
                       optim={"learning_rate": 0.05}))  # fmt: skip
    after_one = weights(one)
    seeded = load_start(ModelSettings.model_validate(parts))
    for name, value in seeded.model.named_parameters():
        if part_of(name) != "projection":
            assert torch.allclose(value, untaught[name]), name
            assert torch.allclose(value, after_one[name], atol=2e-3, rtol=2e-3), name
    two = run(settings(tmp_path / "two", {"checkpoint": str(one)}, data,
                       learn=["projection", "language"],
                       optim={"learning_rate": 0.02}))  # fmt: skip
    assert moved(after_one, weights(two)) == {"projection", "language"}


def test_the_taught_model_is_served_and_learned_its_answers(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    data = painted(6)
    made = settings(
        tmp_path / "run", parts, data, learn=["projection", "language"], validation=[data],
        optim={"epochs": 80, "batch": 6, "per_device": 6, "learning_rate": 1e-2, "save_every": 40,
               "log_every": 5, "gradient_checkpointing": False},
    )  # fmt: skip
    folder = run(made)
    import json

    history = json.loads((made.out / "log.json").read_text())
    losses = [h["loss"] for h in history if "loss" in h]
    assert losses[-1] < 0.4 * losses[0]
    assert (made.out / "loss.png").stat().st_size > 1000
    assert list(made.out.glob("runs/**/events*"))
    training = json.loads((folder / "training.json").read_text())
    assert training["log"]["last_loss"] == pytest.approx(losses[-1])
    assert str(tmp_path) not in json.dumps(training["data"])
    card = (folder / "README.md").read_text()
    assert "| painted | 6 | 1 | not stated |" in card
    assert "moved: projection, language; learning rate 0.01, 80 epochs, batches of 6" in card
    assert "Not measured yet" in card
    engine = Engine.load(str(folder), device="cpu", threads=1)
    scene = engine.prepare(np.full((30, 40, 3), 120, np.uint8))
    asked = Question("Which colour is <region>?", (Region.box(4, 4, 18, 16),))
    assert engine.answer(scene, asked).answer.text in ("red", "green", "blue")


def test_only_answers_are_learned_and_the_prompt_is_the_nodes_own(start: Start) -> None:
    record = Record("made", "1", "a.png", 40, 30, (
        RecordTurn("What is this?", "a mug", (Region.box(0, 5, 20, 25),)),
        RecordTurn("Where is it?", "<region>", (), "locate", (Region.box(0, 5, 20, 25),)),
    ))  # fmt: skip
    example = Encoder(start, 400).example(record, np.zeros((30, 40, 3), np.uint8))
    ids, labels = example["input_ids"], example["labels"]
    learned = start.tokenizer.decode(ids[labels != IGNORE])
    assert learned.replace(" ", "") == "amug</s><box>0.000.250.500.75</box></s>"
    from chatspot_ros.engine.api import Turn

    prompt = "[short] What is this? <box> 0.00 0.25 0.50 0.75</box>"
    asked = start.chat().encode(prompt, (), 4)
    assert ids[: len(asked)].tolist() == asked
    then = start.chat().encode("[locate] Where is it?", (Turn(prompt, "a mug"),), 4)
    assert ids[: len(then)].tolist() == then


def test_turns_that_do_not_fit_are_left_out_and_a_wrong_size_is_refused(start: Start) -> None:
    turn = RecordTurn("What is this?", "a mug", (Region.point(3, 3),))
    record = Record("made", "1", "a.png", 40, 30, (turn,) * 5)
    picture = np.zeros((30, 40, 3), np.uint8)
    all_five = len(Encoder(start, 2000).example(record, picture)["input_ids"])
    cut = Encoder(start, all_five - 1).example(record, picture)
    assert len(cut["input_ids"]) < all_five
    with pytest.raises(RecordError, match="first turn takes"):
        Encoder(start, 20).example(record, picture)
    with pytest.raises(RecordError, match="32 x 32 pixels, the record says 40 x 30"):
        Encoder(start, 400).example(record, np.zeros((32, 32, 3), np.uint8))


def test_a_broken_loss_names_the_records(
    parts: dict[str, Any], painted: Painted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlavaForConditionalGeneration

    forward = LlavaForConditionalGeneration.forward

    def broken(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = forward(self, *args, **kwargs)
        out["loss"] = out["loss"] * float("nan")
        return out

    broken.__signature__ = __import__("inspect").signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(LlavaForConditionalGeneration, "forward", broken)
    made = settings(tmp_path, parts, painted(4), learn=["projection"],
                    optim={"gradient_checkpointing": False})  # fmt: skip
    with pytest.raises(NonFiniteLossError, match=r"records painted/\d, painted/\d"):
        run(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"vision": "a"}}, "either checkpoint"),
        ({"fsdp": "a", "deepspeed": "b"}, "not both"),
        ({"lora": {}, "learn": ["projection"]}, "learn must name language"),
        ({"optim": {"learning_rate": 1, "batch": 5, "per_device": 2}}, "multiple of per_device"),
        ({"lurn": []}, "lurn"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], message: str) -> None:
    good = {"recipe": "instruct", "out": "x", "model": {"checkpoint": "m"},
            "data": [{"records": "r", "images": "i"}], "learn": ["language"],
            "optim": {"learning_rate": 1}}  # fmt: skip
    InstructSettings.model_validate(good)
    with pytest.raises(ValidationError, match=message):
        InstructSettings.model_validate({**good, **change})


@pytest.mark.parametrize("name", ["chatspot_7b_stage1", "chatspot_7b_stage2", "distill",
                                  "chatspot_7b_stage2_lora", "chatspot_small"])  # fmt: skip
def test_the_recipes_are_valid(name: str) -> None:
    found = InstructSettings.read(Path("config/train") / f"{name}.yaml")
    stages = {"chatspot_7b_stage1": (["projection"], 2e-3),
              "chatspot_7b_stage2": (["projection", "language"], 2e-5)}  # fmt: skip
    if name in stages:
        learn, rate = stages[name]
        assert found.learn == learn
        assert found.optim.learning_rate == rate
        assert (found.optim.epochs, found.optim.batch, found.longest) == (3, 128, 2048)


def test_the_robots_skills_and_states_go_into_the_prompts(
    parts: dict[str, Any], painted: Painted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    def encoder(start: Start, longest: int, skills: Any, states: Any, **_: Any) -> None:
        raise Stopped(tuple(skills), dict(states))

    (tmp_path / "skills.yaml").write_text("open: open a door\n")
    (tmp_path / "states.yaml").write_text("door: [open, closed]\n")
    files = {f"{kind}_file": str(tmp_path / f"{kind}.yaml") for kind in ("skills", "states")}
    made = settings(tmp_path / "run", parts, painted(1), learn=["projection"], **files)
    assert str(tmp_path) not in str(public(made)["skills_file"])
    monkeypatch.setattr("chatspot_train.finetune.run.Encoder", encoder)
    with pytest.raises(Stopped) as caught:
        run(made)
    assert caught.value.args == (("open",), {"door": ("open", "closed")})
    missing = made.model_copy(update={"skills_file": "/nowhere.yaml"})
    with pytest.raises(ModelLoadError, match="skills cannot be read"):
        run(missing)
