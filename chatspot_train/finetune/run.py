"""An instruction-tuning run, from settings to an exported folder that the node loads."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import ValidationError
from transformers import TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from chatspot_ros.core.skills import read_skills, read_states
from chatspot_ros.util.command_line import Command
from chatspot_train.common.bf16 import use_bf16
from chatspot_train.common.kept_settings import check_unchanged, read_kept, write_kept
from chatspot_train.common.trainer import PlotLosses, plot_losses, resume
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import (
    InstructSettings,
    LoraSettings,
    ModelSettings,
    public,
)
from chatspot_train.finetune.dataset import ExampleDataset
from chatspot_train.finetune.drops import DropLog, with_drops
from chatspot_train.finetune.export import export_start
from chatspot_train.finetune.model import Start, choose_parts, load_start, own_tokens
from chatspot_train.finetune.source_notes import all_sources, checked_notes, source_note
from chatspot_train.finetune.trainer import InstructTrainer

NOTES = "sources.json"
# Settings that may change when a run is taken up again: they do not change a step's weights.
FREE = (
    "out", "name", "max_missing", "validation", "optim.steps", "optim.epochs", "optim.save_every",
    "optim.log_every", "optim.workers", "optim.progress", "optim.gradient_checkpointing",
)  # fmt: skip
PROJECTIONS = ("multi_modal_projector", "merger")


def run_recipe(values: Any) -> Path:
    """Train as these settings say and return the exported folder.

    Raises pydantic.ValidationError for wrong settings, and what `run` raises.
    """
    return run(InstructSettings.model_validate(values))


def run(settings: InstructSettings) -> Path:
    """Train and export; resume from the last checkpoint in `settings.out` if there is one.

    Returns the exported folder. A finished run is exported again, not trained. Raises
    ModelLoadError, RecordError, ChangedSettingsError, FileNotFoundError or NonFiniteLossError,
    which name the remedy.
    """
    meet_on_loopback()
    out = settings.out
    checkpoint = get_last_checkpoint(str(out)) if out.is_dir() else None
    notes = checked_notes(settings)
    if checkpoint is not None:
        check_resumable(settings, notes)
    torch.manual_seed(settings.optim.seed)
    start = load_start(settings.model)
    teacher = None
    if settings.distill is not None:
        teacher = load_start(ModelSettings(checkpoint=settings.distill.teacher)).model
    skills, states = read_skills(settings.skills_file), read_states(settings.states_file)
    encoder = Encoder(start, settings.longest, skills, states)
    optim = settings.optim
    examples = ExampleDataset(
        settings.data, encoder, epochs=optim.epochs, batch=optim.per_device,
        replay=settings.replay, augment=settings.augment, seed=optim.seed,
        progress=optim.progress,
    )  # fmt: skip
    held_out = ExampleDataset(settings.validation, encoder) if settings.validation else None
    model = prepare(start, settings)
    trainer = InstructTrainer(
        model=model, args=arguments(settings), train_dataset=examples, eval_dataset=held_out,
        data_collator=encoder.collate, callbacks=[PlotLosses()],
        teacher=teacher, distill=settings.distill,
    )  # fmt: skip
    trainer.drops = DropLog(out, notes, settings.max_missing, trainer.args.process_index)
    if trainer.is_world_process_zero():
        write_kept(out, settings.model_dump(mode="json"))
        (out / NOTES).write_text(json.dumps(notes, indent=1), encoding="utf-8")
    resume(trainer, checkpoint, optim.steps or steps_of(trainer, len(examples)))
    history = trainer.state.log_history
    folder = out / "model"
    if trainer.is_world_process_zero():
        (out / "log.json").write_text(json.dumps(history, indent=1))
        plot_losses(history, out / "loss.png")
        start.model = merged(trainer.accelerator.unwrap_model(trainer.model))
        export_start(start, folder, training_note(settings, notes, history))
    return folder


def meet_on_loopback() -> None:
    """Let the processes of a run meet on the loopback interface if all are on this machine.

    Gloo takes the interface that the host's name leads to, which may not answer.
    """
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE", "1"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def check_resumable(settings: InstructSettings, notes: list[dict[str, Any]]) -> None:
    """Raise ChangedSettingsError where the kept run had other settings or records.

    `notes` are those of its sources now. Settings that do not change the weights may change.
    """
    kept = read_kept(settings.out)
    if kept is None:
        return
    kept_notes = read_notes(settings.out)
    before = InstructSettings.model_validate(kept)
    check_unchanged(
        settings.out, _values(before, kept_notes), _values(settings, kept_notes and notes), FREE
    )


def _values(settings: InstructSettings, notes: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return the settings with digests for the paths of records, where they are known."""
    values = settings.model_dump(mode="json")
    sources = [*values["data"], *((values["replay"] or {}).get("data", []))]
    for source, note in zip(sources, notes or (), strict=False):
        source["records"] = f"{note['name']} {note['digest']}"
        source["images"] = ""
    return values


def read_notes(folder: Path) -> list[dict[str, Any]] | None:
    """Return the notes of the sources of the run in `folder`; None: it has none."""
    file = folder / NOTES
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def steps_of(trainer: InstructTrainer, examples: int) -> int:
    """Return the number of steps that these examples take."""
    args = trainer.args
    return -(-examples // (args.train_batch_size * args.gradient_accumulation_steps
                           * args.world_size))  # fmt: skip


def training_note(
    settings: InstructSettings, notes: list[dict[str, Any]], history: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return training.json of an exported model: settings, sources with licences, losses."""
    sources = with_drops(notes, settings.out)
    return {**public(settings), "sources": sources, "log": summary(history)}


def prepare(start: Start, settings: InstructSettings) -> Any:
    """Return the model in which exactly the parts of `settings.learn` are trainable."""
    choose_parts(start.model, settings.learn)
    start.model.config.use_cache = False
    if settings.lora is None:
        return start.model
    keep = "projection" in settings.learn
    return with_adapters(start.model, settings.lora, keep, own_tokens(start))


def with_adapters(
    model: Any, lora: LoraSettings, keep: bool, tokens: Sequence[int] = ()
) -> PeftModel:
    """Add low-rank adapters to the language model; with `keep` train the whole projection too.

    `tokens` are ids whose rows of the embedding and of the head are trained. Only these rows get
    gradients and moments, a few MB; the two tables as `modules_to_save` would take 16 bytes for
    each of their numbers, 4 GB for Vicuna's 32,000 rows.
    """
    names = "|".join(lora.targets)
    rows = {table: list(tokens) for table in _tables(model)} if tokens else None
    whole = [
        name for name, _ in model.named_modules() if name.split(".")[-1] in PROJECTIONS
    ]  # fmt: skip
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
            target_modules=rf".*language_model.*\.({names})",
            modules_to_save=whole if keep else None,
            trainable_token_indices=rows,
        ),
    )  # fmt: skip


def _tables(model: Any) -> list[str]:
    """Return the names of the modules that hold a row for each token: the embedding, the head."""
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    return [name for name, module in model.named_modules() if any(module is t for t in tables)]


def merged(model: Any) -> Any:
    """Return the plain model, with adapters merged into its weights."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def arguments(settings: InstructSettings) -> TrainingArguments:
    """Return transformers' arguments for these settings on the devices of this machine."""
    optim = settings.optim
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    on_gpu = torch.cuda.is_available()
    sharding: dict[str, Any] = {}
    if settings.fsdp is not None:
        sharding = {"fsdp": True, "fsdp_config": str(settings.fsdp)}
    if settings.deepspeed is not None:
        sharding = {"deepspeed": str(settings.deepspeed)}
    return TrainingArguments(
        output_dir=str(settings.out),
        num_train_epochs=1,  # the data set holds all epochs, each in its own order
        max_steps=optim.steps or -1,
        per_device_train_batch_size=optim.per_device,
        per_device_eval_batch_size=optim.per_device,
        gradient_accumulation_steps=max(1, optim.batch // (optim.per_device * devices)),
        learning_rate=optim.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=optim.warmup,
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.max_grad_norm,
        bf16=use_bf16(optim.bf16),
        use_cpu=not on_gpu,
        activation_checkpointing=optim.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        logging_steps=optim.log_every,
        logging_nan_inf_filter=False,
        save_steps=optim.save_every,
        save_total_limit=2,
        eval_strategy="steps" if settings.validation else "no",
        eval_steps=optim.save_every,
        prediction_loss_only=True,
        remove_unused_columns=False,
        dataloader_num_workers=optim.workers,
        report_to=["tensorboard"],
        seed=optim.seed,
        data_seed=optim.seed,
        disable_tqdm=not optim.progress,
        **sharding,
    )


def summary(history: list[dict[str, Any]]) -> dict[str, float]:
    """Return the first and last training loss, the last held-out loss and the steps."""
    losses = [h["loss"] for h in history if "loss" in h]
    held_out = [h["eval_loss"] for h in history if "eval_loss" in h]
    found = {"steps": max((h["step"] for h in history), default=0)}
    if losses:
        found |= {"first_loss": float(losses[0]), "last_loss": float(losses[-1])}
    if held_out:
        found["held_out_loss"] = float(held_out[-1])
    return found


def export_stopped(folder: Path, out: Path) -> Path:
    """Export the last checkpoint of the run in `folder`, as `run` does at its end.

    Raises FileNotFoundError where there is no run or no checkpoint.
    """
    file = folder / "settings.json"
    checkpoint = get_last_checkpoint(str(folder)) if file.is_file() else None
    if checkpoint is None:
        raise FileNotFoundError(f"no run with a checkpoint in {folder}")
    settings = InstructSettings.model_validate_json(file.read_text(encoding="utf-8"))
    start = load_start(settings.model)
    model = prepare(start, settings)
    trainer = InstructTrainer(model=model, args=arguments(settings))
    trainer._load_from_checkpoint(checkpoint)
    start.model = merged(trainer.model)
    state = json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))
    notes = read_notes(folder) or [source_note(source) for source in all_sources(settings)]
    return export_start(start, out, training_note(settings, notes, state["log_history"]))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="the run's `out`")
    parser.add_argument("--out", type=Path, help="default: model/ in the run's folder")


def _export(options: argparse.Namespace) -> None:
    print(f"exported to {export_stopped(options.run, options.out or options.run / 'model')}")


main = Command(
    "export", _add_arguments, _export, description="Export the last checkpoint of a stopped run.",
    errors=(ValidationError,), failed=1,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
