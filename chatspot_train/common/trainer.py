"""transformers' Trainer as every stage uses it, with logs and loss plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sized
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import matplotlib

matplotlib.use("Agg")

import numpy as np
import torch
from matplotlib import pyplot
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerState

from chatspot_train.common.bf16 import use_bf16
from chatspot_train.common.errors import NonFiniteLossError
from chatspot_train.common.kept_settings import check_unchanged, read_kept, write_kept
from chatspot_train.common.muon import ADAM_BETAS, muon_and_adamw
from chatspot_train.common.stage_config import StageSettings
from chatspot_train.common.whole_checkpoints import WholeCheckpoints, last_checkpoint

# Settings of a stage that may change when it is taken up again.
FREE = ("steps", "save_every", "workers", "progress")


class _StopOnNonFinite(TrainerCallback):
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss was {loss} at step {state.global_step}: lower the learning rate, or "
                f"resume from an earlier checkpoint in {args.output_dir}"
            )


class _EndedError(Exception):
    """Leaves Trainer's training loop before its first step."""


class _LeaveAtBegin(TrainerCallback):
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        raise _EndedError


class PlotLosses(TrainerCallback):
    """Plots the loss at every save, so that a killed run has a plot too."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        plot_losses(state.log_history, Path(args.output_dir) / "loss.png")


def resume(trainer: Trainer, checkpoint: str | None, steps: int) -> None:
    """Train up to `steps` steps, from the checkpoint if there is one.

    A checkpoint of that many steps is only read: Trainer would add a step.
    """
    if checkpoint is None or (state := _state_of(checkpoint)).global_step < steps:
        trainer.train(resume_from_checkpoint=checkpoint)
    elif is_sharded(trainer):
        # Only Trainer's own beginning distributes the model and reads a sharded checkpoint.
        trainer.add_callback(_LeaveAtBegin())
        with suppress(_EndedError):
            trainer.train(resume_from_checkpoint=checkpoint)
        trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
    else:
        trainer._load_from_checkpoint(checkpoint)
        trainer.state = state


def _state_of(checkpoint: str) -> TrainerState:
    state: TrainerState = TrainerState.load_from_json(str(Path(checkpoint) / "trainer_state.json"))
    return state


def is_sharded(trainer: Trainer) -> bool:
    """Return whether the weights are distributed over the processes."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def run_stage(
    model: nn.Module,
    data: Dataset[Any],
    held_out: Dataset[Any] | None,
    settings: StageSettings,
    folder: Path,
    collate: Any = None,
    metrics: Any = None,
    made_from: Mapping[str, Any] | None = None,
) -> None:
    """Train `model` in place; resume from the last checkpoint in `folder` if there is one.

    `made_from` are the values besides `settings` that the stage depends on. Raises
    NonFiniteLossError, and ChangedSettingsError where the checkpoint is of other values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = last_checkpoint(folder)
    _keep(settings, made_from or {}, folder, checkpoint is not None)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.02},
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        adam_beta1=ADAM_BETAS[0],
        adam_beta2=ADAM_BETAS[1],
        max_grad_norm=1.0,
        bf16=use_bf16(settings.bf16),
        use_cpu=not torch.cuda.is_available(),
        logging_steps=25,
        save_steps=settings.save_every,
        save_total_limit=2,
        eval_strategy="steps" if held_out is not None else "no",
        eval_steps=settings.save_every,
        include_num_input_tokens_seen=False,
        remove_unused_columns=False,
        label_names=[],
        report_to=["tensorboard"],
        seed=settings.seed,
        data_seed=settings.seed,
        dataloader_num_workers=settings.workers,
        disable_tqdm=not settings.progress,
    )
    muon = settings.optimizer == "muon"
    optimizer = (
        muon_and_adamw(model, settings.learning_rate, settings.weight_decay) if muon else None
    )
    trainer = _Trainer(
        model=model, args=arguments, train_dataset=data, eval_dataset=held_out,
        optimizers=(optimizer, None),
        data_collator=collate, compute_metrics=metrics,
        callbacks=[_StopOnNonFinite(), PlotLosses()],
    )  # fmt: skip
    resume(trainer, checkpoint, settings.steps)
    (folder / "log.json").write_text(json.dumps(trainer.state.log_history, indent=1))
    plot_losses(trainer.state.log_history, folder / "loss.png")


def _keep(
    settings: StageSettings, made_from: Mapping[str, Any], folder: Path, resumed: bool
) -> None:
    """Compare a resumed stage's values with those kept in its folder, and keep them."""
    values = settings.model_dump(mode="json")
    kept = read_kept(folder) if resumed else None
    whole = {**values, "made_from": dict(made_from)}
    if kept is not None:
        check_unchanged(folder, kept, whole if "made_from" in kept else values, FREE)
    write_kept(folder, whole)


class _Trainer(WholeCheckpoints):
    """A Trainer for data sets whose item k is random already: it keeps the order."""

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(cast(Sized, self.train_dataset))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save each tensor under one name: safetensors refuses tied weights under two."""
        unique: dict[int, str] = {}
        state = cast(nn.Module, self.model).state_dict() if state_dict is None else state_dict
        for name, tensor in state.items():
            unique.setdefault(tensor.data_ptr(), name)
        super()._save(output_dir, {name: state[name] for name in unique.values()})

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Any, Any, Any]:
        """Return the loss and, as logits, the hit counts that the model computes itself."""
        with torch.no_grad(), self.compute_loss_context_manager():
            out = model(**self._prepare_inputs(inputs))
        logits = out.get("logits")
        keep = logits is not None and not prediction_loss_only
        count = torch.zeros(1)
        return out["loss"].detach(), logits if keep else None, count if keep else None


def plot_losses(history: list[dict[str, Any]], file: Path) -> None:
    """Plot the training and held-out loss against the step, as a PNG; nothing without a loss."""
    curves = [
        (label, [(h["step"], h[key]) for h in history if key in h])
        for key, label in (("loss", "training"), ("eval_loss", "held out"))
    ]
    if not any(points for _, points in curves):
        return
    figure, axis = pyplot.subplots(figsize=(7, 4))
    for label, points in curves:
        if points:
            axis.plot(*zip(*points, strict=True), label=label)
    axis.set_xlabel("step")
    axis.set_ylabel("loss")
    axis.set_yscale("log")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
