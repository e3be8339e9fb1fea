"""Tiny random checkpoints of real classes, each with tokenizer, chat template and processor.

Their answers mean nothing; what runs around them is what is tested.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from chatspot_ros.engine import Engine

LLAVA_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% if message['role'] == 'user' %} {% else %}</s>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAVA_SPEC = {
    "name": "tiny-llava",
    "dialect": {"name": "chatspot", "decimals": 2, "separator": " ", "lead": " "},
    "geometry": {"mode": "stretch", "width": 56, "height": 56},
    "prompt_style": "tags",
    "max_new_tokens": 12,
}


def byte_tokenizer(special: list[str], **named: str) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes, so that every text can be said and letters are split."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=[token for token in special if token not in named.values()],
        **named,
    )


def make_llava(folder: Path, seed: int = 0, spec: dict[str, object] | None = LLAVA_SPEC) -> Path:
    """Write a LLaVA of 4 x 4 patches and hidden size 32; spec None: without `chatspot.yaml`."""
    torch.manual_seed(seed)
    special = ["<pad>", "<s>", "</s>", "<image>", "<box>", "</box>", "[short]", "[state]", "USER:",
               "ASSISTANT:"]  # fmt: skip
    tokenizer = byte_tokenizer(special, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            image_size=56, patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
        ),
        image_token_id=3, vision_feature_layer=-1, vision_feature_select_strategy="default",
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).eval()
    _enliven(model)
    processor = LlavaProcessor(
        # As CLIP's own: it would cut the sides of a wide image away.
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if spec is not None:
        (folder / "chatspot.yaml").write_text(yaml.safe_dump(spec))
    return folder


def make_qwen(folder: Path, seed: int = 0) -> Path:
    """Write a Qwen2.5-VL of hidden size 32; its settings come from config/models."""
    torch.manual_seed(seed)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
               "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
    tokenizer = byte_tokenizer(special, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    tokenizer.chat_template = QWEN_TEMPLATE
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2,
            "out_hidden_size": 32, "window_size": 56, "fullatt_block_indexes": [1],
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 4096, "bos_token_id": 0, "eos_token_id": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2],
                                "rope_theta": 10000.0},
        },
        image_token_id=5, video_token_id=6, vision_start_token_id=3, vision_end_token_id=4,
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    _enliven(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil().save_pretrained(folder)
    return folder


def _enliven(model: torch.nn.Module) -> None:
    """Make weights large enough that the picture and every word change what is said."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                scale = 0.7 if "embed" in name else 0.25
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llava(tmp_path_factory.mktemp("llava") / "tiny-llava")


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen(tmp_path_factory.mktemp("qwen") / "tiny-qwen")


@pytest.fixture(scope="session")
def llava(llava_folder: Path) -> Engine:
    return Engine.load(str(llava_folder), device="cpu", skills=("open", "close", "pick"))


@pytest.fixture(scope="session")
def qwen(qwen_folder: Path) -> Engine:
    return Engine.load(str(qwen_folder), device="cpu")


@pytest.fixture
def image_rgb() -> np.ndarray:
    """A wide picture of noise, uint8 97 x 211 x 3."""
    return np.random.default_rng(3).integers(0, 256, (97, 211, 3), dtype=np.uint8)
