"""The memory that a run needs on each GPU and on its machine, from its settings and the model's
sizes.

All figures are bytes. Weights, gradients and moments are counted exactly: one tensor each.
Activations are what autograd keeps (checked against torch on a small model), and the gradients of
one layer; `RESERVE` stands for what is not in tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from chatspot_ros.engine.loading.host_resources import free_host_memory, free_memory
from chatspot_ros.engine.loading.memory_estimate import GB, in_gb
from chatspot_ros.errors import ChatspotError
from chatspot_train.finetune.config import InstructSettings
from chatspot_train.finetune.prepare import base_of, computes_in_bf16, fsdp_reads_once

FLOAT = 4
# CUDA's context and libraries, and what the allocator loses between blocks.
RESERVE = 1_500_000_000
# NF4 with its scales packed too: 4.127 bits (QLoRA, Dettmers et al. 2023, section 3).
FOUR_BITS = 4.127 / 8
# Python with torch and transformers: a process of a run, and a worker that reads pictures.
PROCESS, WORKER = 2_000_000_000, 700_000_000


class PlanError(ChatspotError):
    """A run does not fit into the memory of its machine."""

    value_chars = 300


@dataclass(frozen=True)
class Hardware:
    """A machine with `gpus` GPUs of `gpu` bytes each; `sharded`: weights are spread over them."""

    name: str
    gpus: int
    gpu: int
    sharded: bool = False


MACHINES = (
    Hardware("1 x 24 GB", 1, 24 * GB),
    Hardware("1 x 80 GB", 1, 80 * GB),
    Hardware("8 x 80 GB", 8, 80 * GB),
    Hardware("8 x 80 GB, fsdp", 8, 80 * GB, sharded=True),
)


@dataclass(frozen=True)
class Sizes:
    """Numbers of weights, and the shape of the language model.

    `packable` are frozen weights that 4 bits may hold. `tables` are the numbers of embedding and
    head, `copied` those of them that are copied because single rows learn.
    """

    frozen: int
    trained: int
    packable: int
    tables: int
    copied: int
    layers: int
    hidden: int
    inner: int
    key_value: int
    vocabulary: int

    @property
    def weights(self) -> int:
        """The number of all weights."""
        return self.frozen + self.trained

    @property
    def layer(self) -> int:
        """The number of weights of a layer of the language model."""
        return self.hidden * (2 * self.hidden + 2 * self.key_value + 3 * self.inner)


@dataclass(frozen=True)
class Need:
    """Bytes on each GPU, and on the machine (`host`)."""

    weights: int
    gradients: int
    moments: int
    activations: int
    reserve: int
    host: int

    @property
    def gpu(self) -> int:
        """The sum on each GPU."""
        return self.weights + self.gradients + self.moments + self.activations + self.reserve

    def __str__(self) -> str:
        return (
            f"{in_gb(self.gpu)} (weights {in_gb(self.weights)}, gradients {in_gb(self.gradients)}, "
            f"moments {in_gb(self.moments)}, activations {in_gb(self.activations)}, reserve "
            f"{in_gb(self.reserve)})"
        )


def sizes_of(model: Any) -> Sizes:
    """Return the sizes of a prepared model; its weights may be on the device `meta`."""
    text = model.config.get_text_config()
    heads = int(text.num_attention_heads)
    head = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    frozen = [(name, p) for name, p in model.named_parameters() if not p.requires_grad]
    tables = {id(t): t for t in (model.get_input_embeddings(), model.get_output_embeddings())}
    rows_learn = any("trainable_tokens" in name for name, _ in model.named_parameters())
    numbers = int(text.vocab_size) * int(text.hidden_size) * len(tables)
    return Sizes(
        frozen=sum(p.numel() for _, p in frozen),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        packable=sum(p.numel() for name, p in frozen if ".layers." in name and p.ndim == 2
                     and "vision" not in name and "visual" not in name),
        tables=numbers,
        copied=numbers if rows_learn else 0,
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        inner=int(text.intermediate_size),
        key_value=int(getattr(text, "num_key_value_heads", None) or heads) * head,
        vocabulary=int(text.vocab_size),
    )  # fmt: skip


def need(sizes: Sizes, settings: InstructSettings, machine: Hardware) -> Need:
    """Return what each GPU of the machine, and the machine itself, must hold for a run."""
    half = computes_in_bf16(settings, on_gpu=machine.gpu > 0)
    base = base_of(settings, on_gpu=machine.gpu > 0)
    number = FLOAT if base == "float32" else 2
    packed = sizes.packable if base == "4bit" else 0
    kept = int(packed * FOUR_BITS) + (sizes.frozen - packed) * number
    parts = machine.gpus if machine.sharded else 1
    moving = sizes.trained * FLOAT
    weights = (kept + moving) // parts
    if machine.sharded:
        # Two layers as a whole while one computes, the tables, and a layer's gradients.
        weights += (2 * sizes.layer + sizes.tables) * (2 if half else FLOAT) + sizes.layer * FLOAT
    elif half and base == "float32":
        weights += sizes.trained * 2  # autocast keeps the bfloat16 of what learns for a step
    copies = 2 if machine.gpus > 1 and not machine.sharded else 1  # DDP sends from buckets
    return Need(
        weights=weights,
        gradients=copies * moving // parts,
        moments=2 * moving // parts,
        activations=_activations(sizes, settings, half, wide=base == "float32" and parts == 1),
        reserve=RESERVE if machine.gpu else 0,
        host=_host(sizes, settings, machine, number),
    )


def _activations(sizes: Sizes, settings: InstructSettings, half: bool, wide: bool) -> int:
    """Return the activations' bytes; `wide`: the sums between layers are float32."""
    tokens = settings.optim.per_device * settings.longest
    number = 2 if half else FLOAT
    between = sizes.hidden * (FLOAT if wide or not half else 2)
    layer = layer_bytes(sizes, half)
    if settings.optim.gradient_checkpointing:
        kept = sizes.layers * between + layer
    else:
        kept = sizes.layers * layer
    # The gradients of a layer: of both factors and the product of its gated part, of its sums.
    back = number * (3 * sizes.inner + 4 * sizes.hidden)
    # Scores, their logarithms and both gradients.
    scores = sizes.vocabulary * (2 * FLOAT + 2 * number)
    return tokens * (kept + back + scores) + 2 * sizes.copied * number


def layer_bytes(sizes: Sizes, half: bool) -> int:
    """Return the bytes that autograd keeps of one token in one layer that learns.

    Each of the two norms keeps its input and its output before scaling in float32; attention its
    input, queries, keys and values before and after their rotation, and its output; the gated part
    its input, both factors, the activated one and the product.
    """
    number = 2 if half else FLOAT
    norms = 2 * 2 * FLOAT * sizes.hidden
    attention = number * (4 * sizes.hidden + 3 * sizes.key_value)
    gated = number * (sizes.hidden + 4 * sizes.inner)
    return norms + attention + gated


def _host(sizes: Sizes, settings: InstructSettings, machine: Hardware, number: int) -> int:
    """Return the machine's bytes: its processes, and the most of reading, saving and exporting.

    A sharded run without its file is planned with config/train/fsdp.json, which reads once.
    """
    once = fsdp_reads_once(settings) if settings.fsdp else settings.deepspeed is None
    readers = 1 if machine.sharded and once else machine.gpus
    reading = sizes.weights * number * max(1, readers)
    saving = max(sizes.weights * number, 2 * sizes.trained * FLOAT)
    exporting = sizes.weights * 2 + sizes.trained * FLOAT
    processes = max(1, machine.gpus) * (PROCESS + settings.optim.workers * WORKER)
    return processes + max(reading, saving, exporting)


def largest_batch(sizes: Sizes, settings: InstructSettings, machine: Hardware) -> int:
    """Return the largest `per_device` of at most the run's own that fits and divides the batch."""
    for count in range(settings.optim.per_device, 0, -1):
        if settings.optim.batch % count == 0:
            smaller = _with_batch(settings, count)
            if need(sizes, smaller, machine).gpu <= machine.gpu:
                return count
    return 0


def _with_batch(settings: InstructSettings, per_device: int) -> InstructSettings:
    optim = settings.optim.model_copy(update={"per_device": per_device})
    return settings.model_copy(update={"optim": optim})


def here(settings: InstructSettings, processes: int) -> Hardware:
    """Return this machine as a run with so many processes finds it; free memory counts."""
    sharded = settings.fsdp is not None or settings.deepspeed is not None
    if not torch.cuda.is_available():
        return Hardware("this machine", processes, 0, sharded)
    free = free_memory(torch.device("cuda", torch.cuda.current_device()))
    return Hardware("this machine", processes, free, sharded)


def check_fit(sizes: Sizes, settings: InstructSettings, machine: Hardware) -> Need:
    """Return what the run needs. Raises PlanError, with figures and what would fit, if it is more
    than there is."""
    needed = need(sizes, settings, machine)
    host = free_host_memory()
    if not machine.gpu:  # a CPU: all of it is main memory
        if needed.gpu * machine.gpus > host:
            raise PlanError(
                f"the run needs {needed}, and {in_gb(host)} of main memory are free",
                value=f"{machine.gpus} processes", remedy="use a smaller model, or a GPU",
            )  # fmt: skip
        return needed
    if needed.gpu > machine.gpu:
        ways = list(_ways(sizes, settings, machine))
        raise PlanError(
            f"the run needs {needed} on each GPU, and {in_gb(machine.gpu)} are free",
            value=f"per_device {settings.optim.per_device}, longest {settings.longest}",
            remedy=" or ".join(ways) or "set lora, spread the weights with fsdp over more GPUs, or "
            "take a smaller model",
        )  # fmt: skip
    if needed.host > host:
        raise PlanError(
            f"the run needs {in_gb(needed.host)} of main memory, and {in_gb(host)} are free",
            value=f"{machine.gpus} processes",
            remedy="use fewer processes or workers, fsdp with cpu_ram_efficient_loading, or lora",
        )  # fmt: skip
    return needed


def _ways(sizes: Sizes, settings: InstructSettings, machine: Hardware) -> Iterator[str]:
    if not settings.optim.gradient_checkpointing:
        optim = settings.optim.model_copy(update={"gradient_checkpointing": True})
        other = need(sizes, settings.model_copy(update={"optim": optim}), machine)
        if other.gpu <= machine.gpu:
            yield f"set gradient_checkpointing (needs {in_gb(other.gpu)})"
    count = largest_batch(sizes, settings, machine)
    if count:
        other = need(sizes, _with_batch(settings, count), machine)
        yield f"set per_device {count} (needs {in_gb(other.gpu)})"
    if machine.gpus > 1 and not machine.sharded:
        spread = Hardware(machine.name, machine.gpus, machine.gpu, sharded=True)
        other = need(sizes, settings, spread)
        if other.gpu <= machine.gpu:
            yield f"set fsdp (needs {in_gb(other.gpu)})"


def table(sizes: Sizes, settings: InstructSettings, machines: Iterable[Hardware] = MACHINES) -> str:
    """Return a table of the needs on machines, in GB (10^9 bytes)."""
    names = ("machine", "weights", "gradients", "moments", "activations", "reserve", "sum", "host",
             "fits", "largest per_device")  # fmt: skip
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    for machine in machines:
        one = need(sizes, settings, machine)
        figures = (one.weights, one.gradients, one.moments, one.activations, one.reserve, one.gpu,
                   one.host)  # fmt: skip
        fits = "yes" if one.gpu <= machine.gpu else "no"
        count = largest_batch(sizes, settings, machine)
        lines.append(" | ".join([machine.name, *(f"{f / GB:.1f}" for f in figures), fits,
                                 str(count or "none")]))  # fmt: skip
    return "\n".join(f"| {line} |" for line in lines)
