"""The memory plan against torch's own tensors, against published sizes, and as a gate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from chatspot_train import train
from chatspot_train.finetune import memory_plan
from chatspot_train.finetune.config import InstructSettings
from chatspot_train.finetune.memory_plan import GB, MACHINES, Hardware, PlanError, Sizes
from chatspot_train.finetune.model import load_start
from chatspot_train.finetune.plan import meta_model
from chatspot_train.finetune.prepare import prepare

Painted = Callable[..., dict[str, str]]
SHAPE = Path("config/train/chatspot_7b.json")
HERE = Hardware("this", 1, 0)
WAYS: dict[str, dict[str, Any]] = {
    "whole": {"learn": ["projection", "language"]},
    "projection": {"learn": ["projection"]},
    "lora": {"learn": ["projection", "language"], "lora": {"rank": 4, "alpha": 8}},
}


def settings(model: dict[str, Any], **more: Any) -> InstructSettings:
    optim = {"learning_rate": 1e-3, "batch": 2, "per_device": 2, "bf16": False,
             **more.pop("optim", {})}  # fmt: skip
    return InstructSettings.model_validate({
        "recipe": "instruct", "out": "out", "model": model, "optim": optim,
        "data": [{"records": "r", "images": "i"}], **more})  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_weights_gradients_and_moments_are_those_of_torch(way: str, parts: dict[str, Any]) -> None:
    made = settings(parts, **WAYS[way])
    model = prepare(load_start(made.model), made)
    sizes = memory_plan.sizes_of(model)
    assert sizes == memory_plan.sizes_of(meta_model(made))
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving)
    sum(p.square().sum() for p in moving).backward()  # type: ignore[union-attr]
    optimizer.step()
    moments = [
        state[key] for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")
    ]
    found = memory_plan.need(sizes, made, HERE)
    assert found.weights == sum(p.nbytes for p in model.parameters())
    assert found.gradients == sum(p.grad.nbytes for p in moving if p.grad is not None)
    assert found.moments == sum(one.nbytes for one in moments)


def kept_bytes(layers: int, half: bool, tokens: tuple[int, int]) -> int:
    """The bytes that autograd keeps in a step of a small Llama, weights aside."""
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=100, hidden_size=256, intermediate_size=688, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=4,
    ))  # fmt: skip
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.zeros(tokens, dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        loss = model(ids, labels=ids).loss
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("half", [False, True])
def test_a_layers_activations_are_within_a_quarter(half: bool) -> None:
    sizes = Sizes(frozen=0, trained=0, packable=0, tables=0, copied=0, layers=2, hidden=256,
                  inner=688, key_value=128, vocabulary=100)  # fmt: skip
    one = kept_bytes(4, half, (2, 64)) - kept_bytes(2, half, (2, 64))
    casts = 2 * sizes.layer * 2 if half else 0  # autocast's copies, which `weights` counts
    measured = (one - casts) / (2 * 2 * 64)
    assert memory_plan.layer_bytes(sizes, half) == pytest.approx(measured, rel=0.25)


def recipe(name: str, **optim: Any) -> InstructSettings:
    made = InstructSettings.read(Path("config/train") / f"{name}.yaml")
    return made.model_copy(update={"optim": made.optim.model_copy(update=optim)})


def test_the_7b_shape_has_the_published_sizes() -> None:
    """Vicuna-7B has 6,738,415,616 weights, CLIP ViT-L/14's tower 303,179,776; 8 tokens are new."""
    sizes = memory_plan.sizes_of(meta_model(recipe("chatspot_7b_stage2"), SHAPE))
    projection = 1024 * 4096 + 4096 + 4096 * 4096 + 4096
    assert sizes.frozen == 303_179_776
    assert sizes.trained == 6_738_415_616 + 8 * 2 * 4096 + projection


def fits(made: InstructSettings) -> dict[str, bool]:
    sizes = memory_plan.sizes_of(meta_model(made, SHAPE))
    return {m.name: memory_plan.need(sizes, made, m).gpu <= m.gpu for m in MACHINES}


def test_the_recipes_fit_where_their_pages_say() -> None:
    lora = fits(recipe("chatspot_7b_stage2_lora"))
    assert lora["1 x 24 GB"]
    whole = fits(recipe("chatspot_7b_stage2"))
    assert whole == {"1 x 24 GB": False, "1 x 80 GB": False, "8 x 80 GB": False,
                     "8 x 80 GB, fsdp": True}  # fmt: skip
    assert fits(recipe("chatspot_7b_stage1"))["1 x 80 GB"]
    assert not fits(recipe("chatspot_7b_stage1"))["1 x 24 GB"]
    assert fits(recipe("chatspot_7b_stage1", per_device=4))["1 x 24 GB"]


DOCUMENTED = {
    "first stage, one GPU": ("chatspot_7b_stage1", 0, "auto"),
    "first stage, eight with `fsdp`": ("chatspot_7b_stage1", 3, "auto"),
    "second stage, one GPU": ("chatspot_7b_stage2", 1, "auto"),
    "second stage, eight without `fsdp`": ("chatspot_7b_stage2", 2, "auto"),
    "second stage, eight with `fsdp`": ("chatspot_7b_stage2", 3, "auto"),
    "second stage with LoRA, one GPU": ("chatspot_7b_stage2_lora", 0, "auto"),
    "the same with `base: 4bit`": ("chatspot_7b_stage2_lora", 0, "4bit"),
}


def test_the_training_page_has_the_figures_of_the_function() -> None:
    rows = [line.split(" | ") for line in Path("docs/training.md").read_text().splitlines()
            if line.startswith("| ")]  # fmt: skip
    found = {row[0].removeprefix("| "): row[1:7] for row in rows}
    for name, (file, number, base) in DOCUMENTED.items():
        made = recipe(file).model_copy(update={"base": base})
        one = memory_plan.need(
            memory_plan.sizes_of(meta_model(made, SHAPE)), made, MACHINES[number]
        )
        figures = (one.weights, one.gradients, one.moments, one.activations, one.gpu, one.host)
        assert found[name] == [f"{figure / GB:.1f}" for figure in figures], name


def test_four_bits_save_nine_gigabytes() -> None:
    made = recipe("chatspot_7b_stage2_lora")
    sizes = memory_plan.sizes_of(meta_model(made, SHAPE))
    plain, packed = (
        memory_plan.need(sizes, made.model_copy(update={"base": base}), MACHINES[0]).weights
        for base in ("auto", "4bit")
    )
    assert 9 * GB < plain - packed < 10 * GB


def test_what_cannot_fit_is_refused_with_figures_and_a_remedy() -> None:
    made = recipe("chatspot_7b_stage1")
    sizes = memory_plan.sizes_of(meta_model(made, SHAPE))
    with pytest.raises(PlanError, match=r"needs [\d.]+ GB .* on each GPU, and 24\.00 GB") as caught:
        memory_plan.check_fit(sizes, made, MACHINES[0])
    assert "set per_device" in caught.value.remedy
    whole = recipe("chatspot_7b_stage2")
    sizes = memory_plan.sizes_of(meta_model(whole, SHAPE))
    with pytest.raises(PlanError, match=r"80\.00 GB are free") as caught:
        memory_plan.check_fit(sizes, whole, MACHINES[2])
    assert "set fsdp" in caught.value.remedy
    with pytest.raises(PlanError, match="set lora"):
        memory_plan.check_fit(sizes, whole, MACHINES[1])


def test_main_memory_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_plan, "free_host_memory", lambda: 16 * GB)
    made = recipe("chatspot_7b_stage2_lora")
    sizes = memory_plan.sizes_of(meta_model(made, SHAPE))
    with pytest.raises(PlanError, match=r"of main memory, and 16\.00 GB are free"):
        memory_plan.check_fit(sizes, made, MACHINES[0])


def write(tmp_path: Path, parts: dict[str, Any], data: dict[str, str]) -> Path:
    made = settings(parts, learn=["projection"], data=[data], out=str(tmp_path / "out"))
    file = tmp_path / "run.yaml"
    file.write_text(made.model_dump_json())
    return file


def test_a_run_that_cannot_fit_does_not_start(
    parts: dict[str, Any], painted: Painted, tmp_path: Path, train_as: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(memory_plan, "free_host_memory", lambda: 1000)
    with pytest.raises(SystemExit, match=r"the run needs .* are free .*smaller model"):
        train_as(write(tmp_path, parts, painted(2)))
    assert not list(tmp_path.glob("out/checkpoint-*"))


def test_the_command_prints_a_line_for_each_machine(
    parts: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, parts, {"records": "r", "images": "i"})
    assert train.main(["--plan", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [m.name for m in MACHINES]
    stage_2 = "config/train/chatspot_7b_stage2.yaml"
    assert train.main(["--plan", stage_2]) == 1
    assert "--shape" in capsys.readouterr().err
    assert train.main(["--plan", stage_2, "--shape", str(SHAPE)]) == 0
    assert train.main(["--plan", "config/train/tiny.yaml"]) == 1
    assert "without a plan" in capsys.readouterr().err
