"""The model that a run starts from: a checkpoint, or a vision tower joined to a language model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
)
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from chatspot_ros.core.model_spec import DialectSpec, ModelSpec, find_spec
from chatspot_ros.core.tasks import task_tags
from chatspot_ros.engine.loading import checkpoint
from chatspot_ros.engine.loading.model_classes import import_classes
from chatspot_ros.engine.prompting.chat_template import ChatTemplate
from chatspot_ros.errors import ModelLoadError
from chatspot_train.finetune.config import ModelSettings, Part

IMAGE_TOKEN = "<image>"
# Vicuna's conversation format, as in LLaVA-1.5.
VICUNA_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% if message['role'] == 'user' %} {% else %}</s>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_PARTS: dict[Part, tuple[str, ...]] = {
    "projection": ("multi_modal_projector", "visual.merger", "visual.deepstack_merger_list"),
    "language": ("language_model", "lm_head"),
    "vision": ("vision_tower", "visual"),
}


@dataclass
class Start:
    """A model to train, with its tokenizer, image processor, chat template and spec."""

    model: Any
    tokenizer: Any
    image_processor: Any
    chat_template: str
    spec: ModelSpec

    @property
    def image_token_id(self) -> int:
        """The token that is replaced by a vision feature."""
        return int(self.model.config.image_token_id)

    def chat(self) -> ChatTemplate:
        """Return the chat format, as the node uses it."""
        control = self.spec.dialect.make().control_strings
        return ChatTemplate(self.tokenizer, self.chat_template, self.image_token_id, control)


def load_start(
    settings: ModelSettings,
    dtype: torch.dtype = torch.float32,
    packing: Any = None,
    empty: bool = False,
) -> Start:
    """Load a checkpoint, or join a tower and a language model; all weights in `dtype`.

    `packing` is transformers' quantisation config, for a checkpoint alone. `empty`: the weights
    take no memory, another process hands them on. Raises ModelLoadError.
    """
    if settings.checkpoint is None:
        parts = str(settings.vision), str(settings.language)
        return _join(*parts, _spec_of(settings), dtype, empty)
    folder = checkpoint.find_folder(settings.checkpoint, local_only=False)
    device = "auto" if packing is not None else "cpu"
    name = str(dtype).removeprefix("torch.")
    loaded = checkpoint.load(folder, device, name, packing=packing, empty=empty)
    spec = settings.spec or find_spec(
        folder.name, str(checkpoint.read_config(folder)["model_type"]), folder
    )
    return Start(loaded.model, loaded.tokenizer, loaded.image_processor, loaded.chat_template, spec)


def _spec_of(settings: ModelSettings) -> ModelSpec:
    if settings.spec is None:
        raise ModelLoadError("no spec", value=settings, remedy="say how regions are written")
    return settings.spec


def _join(
    vision: str, language: str, spec: ModelSpec, dtype: torch.dtype, empty: bool = False
) -> Start:
    """Return a LLaVA of a vision tower and a language model, with a new projection.

    The dialect's control strings and numbers and the tags become tokens, if they are none yet;
    their embeddings start at the mean of the others, those of numbers on a curve around it. Raises
    ModelLoadError.
    """
    try:
        # The projection first: it is the same for a seed, whatever the other weights' format is.
        tower_config = read_tower_config(vision)
        seen = seen_layer(tower_config)
        config = LlavaConfig(
            vision_config=tower_config,
            text_config=AutoConfig.from_pretrained(language, trust_remote_code=False), **seen,
        )  # fmt: skip
        projection = _new_projection(config).to(dtype)
        tower, words = (_new_parts if empty else _read_parts)(vision, language, config, dtype)
        tokenizer = AutoTokenizer.from_pretrained(language, trust_remote_code=False)
        images = CLIPImageProcessor.from_pretrained(vision)
    except (OSError, ValueError, ImportError) as error:
        raise ModelLoadError(
            f"the parts cannot be loaded: {str(error).strip().splitlines()[0]}",
            value=f"{vision} and {language}",
            remedy="give folders or hub ids of a CLIP and a causal language model in safetensors; "
            "chatspot convert-weights makes safetensors of pytorch_model.bin",
        ) from error
    numbers = spec.dialect.number_strings()
    tokenizer.add_tokens(list(own_strings(spec)))
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    text: Any = config.text_config
    known = int(text.vocab_size)
    words.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    _start_at_mean(words, known)
    _start_on_curve(words, [int(tokenizer.vocab[one]) for one in numbers])
    config = LlavaConfig(
        vision_config=tower.config, text_config=words.config,
        image_token_index=int(tokenizer.vocab[IMAGE_TOKEN]), **seen,
        tie_word_embeddings=bool(words.config.tie_word_embeddings), dtype=dtype,
    )  # fmt: skip
    # The parts themselves become the model: no weight is in memory twice.
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    model.model.vision_tower = tower
    model.model.language_model = words.model
    model.lm_head = words.lm_head
    model.model.multi_modal_projector = projection
    model.generation_config = words.generation_config
    return Start(model, tokenizer, images, spec.chat_template or VICUNA_TEMPLATE, spec)


def read_tower_config(vision: str) -> Any:
    """Return a vision tower's config. Raises OSError or ValueError."""
    file = Path(vision) / "config.json"
    if file.is_file():
        import_classes(json.loads(file.read_text(encoding="utf-8")))
    config = AutoConfig.from_pretrained(vision, trust_remote_code=False)
    is_clip = str(config.model_type).startswith("clip")
    return CLIPVisionConfig.from_pretrained(vision) if is_clip else config


def seen_layer(tower_config: Any) -> dict[str, Any]:
    """Return which vectors of a tower LLaVA reads: of CLIP the last layer's but one, as the paper,
    without the class token; of others all of the last layer."""
    if isinstance(tower_config, CLIPVisionConfig):
        return {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"}
    return {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}


def _read_parts(vision: str, language: str, config: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return the tower and the language model. Raises OSError, ValueError or ImportError."""
    kind: Any = CLIPVisionModel if config.vision_config.model_type.startswith("clip") else AutoModel
    tower = kind.from_pretrained(vision, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    words = AutoModelForCausalLM.from_pretrained(
        language, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    return tower, words


def _new_parts(vision: str, language: str, config: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return the tower and the language model without memory for their weights."""
    with init_empty_weights(include_buffers=False):
        if config.vision_config.model_type.startswith("clip"):
            tower: Any = CLIPVisionModel._from_config(config.vision_config, dtype=dtype)
        else:
            tower = AutoModel.from_config(config.vision_config, dtype=dtype)
        words = AutoModelForCausalLM.from_config(config.text_config, dtype=dtype)
    return tower, words


def _new_projection(config: LlavaConfig) -> torch.nn.Module:
    """Return a projection with the random weights of a new LLaVA."""
    projection = LlavaMultiModalProjector(config)
    deviation = float(getattr(config.text_config, "initializer_range", 0.02))
    for layer in (projection.linear_1, projection.linear_2):
        torch.nn.init.normal_(layer.weight, std=deviation)
        torch.nn.init.zeros_(layer.bias)
    return projection


def own_strings(spec: ModelSpec | None) -> tuple[str, ...]:
    """Return the strings of this project that a joined model reads and writes as one token each.

    None: of a model that is joined with the default dialect and with tags.
    """
    if spec is None:
        return (*DialectSpec.model_validate({}).make().control_strings, *task_tags())
    tags = task_tags() if spec.prompt_style == "tags" else ()
    return (*spec.dialect.make().control_strings, *tags, *spec.dialect.number_strings())


def own_tokens(start: Start) -> list[int]:
    """Return the ids of the tokens that a joined model got besides its language model's own.

    None for a published checkpoint: its dialect's tokens were trained by its makers.
    """
    if start.spec.dialect.name != "chatspot":
        return []
    added = start.tokenizer.get_added_vocab()
    return sorted(int(added[one]) for one in own_strings(start.spec) if one in added)


def _start_at_mean(words: Any, known: int) -> None:
    """Set the embeddings of the tokens from number `known` on to the mean of the others."""
    with torch.no_grad():
        for table in (words.get_input_embeddings().weight, words.get_output_embeddings().weight):
            table[known:] = table[:known].float().mean(0)


def _start_on_curve(words: Any, rows: list[int]) -> None:
    """Set these embeddings to a smooth curve around the mean, so that near numbers begin alike.

    They are as far from the mean as other embeddings are.
    """
    if not rows:
        return
    with torch.no_grad():
        table = words.get_input_embeddings().weight
        waves = 2.0 ** torch.arange(6)  # of 1, 1/2, ... 1/32 of the range
        at = torch.linspace(0, 1, len(rows))[:, None] * waves * torch.pi
        codes = torch.cat([at.sin(), at.cos()], 1)
        directions = torch.randn(codes.shape[1], table.shape[1]) / codes.shape[1] ** 0.5
        mean, spread = table.float().mean(0), table.float().std(0)
        curve = mean + (codes @ directions) * 2**0.5 * spread
        for one in {id(t): t for t in (table, words.get_output_embeddings().weight)}.values():
            one[rows] = curve.to(one.dtype)


def part_of(name: str) -> Part:
    """Return the part of a model that the parameter belongs to. Raises KeyError for none."""
    for part, marks in _PARTS.items():
        if any(mark in name for mark in marks):
            return part
    raise KeyError(name)


def choose_parts(model: nn.Module, learn: list[Part]) -> int:
    """Make exactly the named parts trainable; return the number of their weights."""
    count = 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in learn)
        count += parameter.numel() if parameter.requires_grad else 0
    return count
