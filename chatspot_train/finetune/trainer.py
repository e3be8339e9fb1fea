"""transformers' Trainer with distillation, a log of unusable records, and an error that names the
records of a batch when its loss is not finite."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Sampler, SequentialSampler
from transformers import PreTrainedModel

from chatspot_ros.engine.models.patches import PROJECTIONS
from chatspot_train.common.errors import NonFiniteLossError
from chatspot_train.common.labels import IGNORE
from chatspot_train.common.whole_checkpoints import WholeCheckpoints
from chatspot_train.finetune.config import DistillSettings
from chatspot_train.finetune.drops import DropLog
from chatspot_train.finetune.packing import PICTURES, packed_loss


class InstructTrainer(WholeCheckpoints):
    """Trains in the order of the data set; its batches carry the names of their records."""

    def __init__(
        self, *args: Any, teacher: nn.Module | None = None,
        distill: DistillSettings | None = None, projection_rate: float = 0.0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(*args, **kwargs)
        self.projection_rate = projection_rate
        self.drops: DropLog | None = None
        self.distill = distill
        self.teacher = teacher.eval().requires_grad_(False) if teacher is not None else None
        if self.teacher is not None:
            self.teacher.to(self.args.device)

    def create_optimizer(self, model: Any = None) -> Any:
        """Return the optimizer; the projection may have a learning rate of its own."""
        optimizer = super().create_optimizer(model)
        if self.projection_rate:
            named = cast(nn.Module, self.model).named_parameters()
            projection = {id(p) for name, p in named if any(one in name for one in PROJECTIONS)}
            for group in list(optimizer.param_groups):
                own = [p for p in group["params"] if id(p) in projection]
                group["params"] = [p for p in group["params"] if id(p) not in projection]
                if own:
                    rest = {key: value for key, value in group.items() if key != "params"}
                    rest |= {"lr": self.projection_rate, "params": own}
                    optimizer.add_param_group(rest)
        return optimizer

    def _get_train_sampler(self, *_: Any) -> Sampler[int]:
        return SequentialSampler(cast(Sized, self.train_dataset))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load a checkpoint with from_pretrained.

        Trainer saves a LLaVA's weights under the hub's names but loads them under the model's own:
        it finds none, and training would start anew. from_pretrained knows both names.
        """
        target = self.model if model is None else model
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        elif isinstance(target, PreTrainedModel):
            saved = type(target).from_pretrained(resume_from_checkpoint, dtype=torch.float32)
            target.load_state_dict(saved.state_dict())
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:  # fmt: skip
        """Return the mean over answer tokens.

        Raises NonFiniteLossError, naming the records, or RecordError where too many are unusable.
        """
        names, dropped = inputs.pop("names", []), inputs.pop("dropped", [])
        if self.drops is not None and model.training:
            for drop in dropped:
                self.drops.add(drop)
        outputs: Any = None
        if PICTURES in inputs:
            # Accelerate computes the model's own forward in the run's format; this is around it.
            with self.accelerator.autocast():
                loss = packed_loss(model, inputs, num_items_in_batch)
        else:
            loss, outputs = cast(
                "tuple[Tensor, Any]",
                super().compute_loss(model, inputs, True, num_items_in_batch),
            )
        if self.teacher is not None and self.distill is not None and model.training:
            distilled = self._distill_loss(inputs, outputs.logits, num_items_in_batch)
            loss = (1 - self.distill.weight) * loss + self.distill.weight * distilled
        if not bool(torch.isfinite(loss)):
            raise NonFiniteLossError(
                f"the loss was {float(loss.detach())} after step {self.state.global_step} "
                f"on the records {', '.join(names)}: look at them with "
                f"chatspot_train.data.preview, lower the learning rate, or resume from an earlier "
                f"checkpoint in {self.args.output_dir}"
            )
        return (loss, outputs) if return_outputs else loss

    def _distill_loss(
        self, inputs: dict[str, Any], logits: Tensor, num_items_in_batch: Tensor | int | None
    ) -> Tensor:
        with torch.no_grad():
            shown = {key: value for key, value in inputs.items() if key != "labels"}
            right = cast(nn.Module, self.teacher)(**shown).logits
        settings = cast(DistillSettings, self.distill)
        return distillation_loss(
            logits, right, inputs["labels"], settings.temperature, num_items_in_batch
        )


def distillation_loss(
    logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    items: Tensor | int | None = None,
) -> Tensor:
    """Return the Kullback-Leibler divergence from the teacher, times temperature squared.

    Logits are B x N x V, `labels` B x N with IGNORE outside answers; the mean is over `items`
    tokens, by default the answer tokens of this batch. Raises ValueError where the vocabularies
    differ.
    """
    if logits.shape[-1] != teacher_logits.shape[-1]:
        raise ValueError(
            f"the student has {logits.shape[-1]} tokens and the teacher "
            f"{teacher_logits.shape[-1]}: they must share a tokenizer"
        )
    asked = labels[:, 1:] != IGNORE
    student = F.log_softmax(logits[:, :-1][asked].float() / temperature, -1)
    teacher = F.log_softmax(teacher_logits[:, :-1][asked].float() / temperature, -1)
    total = F.kl_div(student, teacher, log_target=True, reduction="sum") * temperature**2
    return total / (int(asked.sum()) if items is None else items)
