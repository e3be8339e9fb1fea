"""An instruction-tuning run, from settings to an exported folder that the node loads."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from transformers import TrainingArguments

from chatspot_ros.core.skills import read_skills, read_states
from chatspot_ros.util.command_line import Command
from chatspot_train.common.kept_settings import check_unchanged, read_kept, write_kept
from chatspot_train.common.trainer import PlotLosses, plot_losses, resume
from chatspot_train.common.whole_checkpoints import last_checkpoint
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import (
    InstructSettings,
    public,
)
from chatspot_train.finetune.dataset import ExampleDataset
from chatspot_train.finetune.drops import DropLog, with_drops
from chatspot_train.finetune.export import export_start
from chatspot_train.finetune.finished import finish, gather, taught_anew
from chatspot_train.finetune.plan import check_fit, describe
from chatspot_train.finetune.prepare import (
    computes_in_bf16,
    load_base,
    load_teacher,
    prepare,
)
from chatspot_train.finetune.source_notes import all_sources, checked_notes, source_note
from chatspot_train.finetune.trainer import InstructTrainer

NOTES = "sources.json"
# Settings that may change when a run is taken up again: they do not change a step's weights.
FREE = (
    "out", "name", "max_missing", "validation", "optim.steps", "optim.epochs", "optim.save_every",
    "optim.log_every", "optim.workers", "optim.progress", "optim.gradient_checkpointing",
)  # fmt: skip


def run_recipe(values: Any) -> Path:
    """Train as these settings say and return the exported folder.

    Raises pydantic.ValidationError for wrong settings, and what `run` raises.
    """
    return run(InstructSettings.model_validate(values))


def plan_recipe(values: Any, shape: Path | None) -> str:
    """Return a table of what the run needs on machines of three sizes.

    `shape` is a config.json to use instead of the model's. Raises pydantic.ValidationError for
    wrong settings, or ModelLoadError.
    """
    return describe(InstructSettings.model_validate(values), shape)


def run(settings: InstructSettings) -> Path:
    """Train and export; resume from the last checkpoint in `settings.out` if there is one.

    Returns the exported folder. A finished run is exported again, not trained. Raises
    ModelLoadError, PlanError, RecordError, ChangedSettingsError, FileNotFoundError or
    NonFiniteLossError, which name the remedy.
    """
    meet_on_loopback()
    out = settings.out
    checkpoint = last_checkpoint(out)
    notes = checked_notes(settings)
    if checkpoint is not None:
        check_resumable(settings, notes)
    check_fit(settings)
    torch.manual_seed(settings.optim.seed)
    args = arguments(settings)
    start, teacher = load_base(settings), load_teacher(settings)
    skills, states = read_skills(settings.skills_file), read_states(settings.states_file)
    encoder = Encoder(
        start, settings.longest, skills, states,
        packed=settings.packed, look_twice=settings.look_twice, show_print=settings.show_print,
    )  # fmt: skip
    optim = settings.optim
    examples = ExampleDataset(
        settings.data, encoder, epochs=optim.epochs, batch=optim.per_device,
        replay=settings.replay, augment=settings.augment, seed=optim.seed,
        progress=optim.progress,
    )  # fmt: skip
    held_out = ExampleDataset(settings.validation, encoder) if settings.validation else None
    model = prepare(start, settings)
    trainer = InstructTrainer(
        model=model, args=args, train_dataset=examples, eval_dataset=held_out,
        data_collator=encoder.collate, callbacks=[PlotLosses()],
        teacher=teacher, distill=settings.distill, projection_rate=optim.projection_rate,
    )  # fmt: skip
    trainer.drops = DropLog(out, notes, settings.max_missing, trainer.args.process_index)
    if trainer.is_world_process_zero():
        write_kept(out, settings.model_dump(mode="json"))
        (out / NOTES).write_text(json.dumps(notes, indent=1), encoding="utf-8")
    resume(trainer, checkpoint, optim.steps or steps_of(trainer, len(examples)))
    history = trainer.state.log_history
    folder = out / "model"
    whole = gather(trainer)
    if trainer.is_world_process_zero():
        (out / "log.json").write_text(json.dumps(history, indent=1))
        plot_losses(history, out / "loss.png")
        taught = finish(start, trainer, settings, whole)
        export_start(taught, folder, training_note(settings, notes, history))
    trainer.accelerator.wait_for_everyone()
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
        bf16=computes_in_bf16(settings),
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
    checkpoint = last_checkpoint(folder) if file.is_file() else None
    if checkpoint is None:
        raise FileNotFoundError(f"no run with a checkpoint in {folder}")
    settings = InstructSettings.model_validate_json(file.read_text(encoding="utf-8"))
    start = taught_anew(settings, Path(checkpoint))
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
