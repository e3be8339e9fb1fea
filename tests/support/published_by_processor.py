"""Tiny random checkpoints of the families whose own image processor lays the picture out.

Their files lie as the publishers lay them: the names and keys of the published repositories, with
the families' own tokenizer and processor classes, for small vision towers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import decoders, pre_tokenizers
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 8192}  # fmt: skip
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
          "num_attention_heads": 2}  # fmt: skip
PARTS = (
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}IMAGE{% else %}TEXT{% endif %}"
    "{% endfor %}"
)
# Qwen3.5 opens every answer with an empty thought, unless it shall think.
QWEN = (
    (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n" + PARTS + "<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is true %}<think>\n"
        "{% else %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
    )
    .replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    .replace("TEXT", "{{ p['text'] }}")
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n" + PARTS + "<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
).replace("TEXT", "{{ p['text'] | trim }}")
ONEVISION = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} \n"
    "{% for p in m['content'] if p['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MISTRAL = (
    (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST]"
        + PARTS
        + "[/INST]"
        "{% else %}{{ m['content'][0]['text'] }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    .replace("IMAGE", "[IMG]")
    .replace("TEXT", "{{ p['text'] }}")
)


def byte_vocabulary(special: list[str]) -> dict[str, int]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return {token: index for index, token in enumerate([*special, *alphabet])}


def make_special(tokenizer: Any, special: list[str]) -> Any:
    """Mark tokens of the vocabulary as special ones, as published tokenizers do."""
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    return tokenizer


def gemma_tokenizer(marks: dict[str, str], turns: tuple[str, str]) -> hf.GemmaTokenizer:
    """Gemma's: bytes where a character has no token, and tokens of several line ends."""
    special = [*turns, *marks.values()]
    letters = ["▁", *map(chr, range(33, 127)), "\n", "\n\n", "\n\n\n"]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *special]
    tokens += [*(f"<0x{k:02X}>" for k in range(256)), *letters]
    tokenizer = hf.GemmaTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[("\n", "\n"), ("\n\n", "\n")], extra_special_tokens=marks,
    )  # fmt: skip
    return make_special(tokenizer, special)


def write(
    folder: Path,
    model: Any,
    tokenizer: Any,
    scales: tuple[float, float] = (0.7, 0.25),
    **files: dict[str, Any] | str,
) -> Path:
    """Write a checkpoint: weights, tokenizer, and further files; `__` stands for the dot.

    `scales` are the sizes of the random embeddings and of the other weights.
    """
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("A_log"):
                # The class draws the rates of forgetting at random, each time others.
                weight.copy_(torch.rand(weight.shape, generator=generator) * 6 - 4)
            elif weight.dim() >= 2 or name.endswith("image_newline"):
                scale = scales["embed" not in name]
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=2)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def _edit(folder: Path, **values: Any) -> Path:
    """Change keys of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}, indent=2))
    return folder


def settings(image_processor: Any, **more: Any) -> dict[str, Any]:
    """Return the settings of an image processor as preprocessor_config.json has them."""
    known = json.loads(image_processor.to_json_string())
    kind = str(known["image_processor_type"]).removesuffix("Pil")
    return {**known, "image_processor_type": kind, **more}


def make_qwen3_5(folder: Path) -> Path:
    """Write a Qwen3.5: one layer of linear attention, one of full attention."""
    return _make_qwen3_5(folder, hf.Qwen3_5Config, hf.Qwen3_5ForConditionalGeneration)


def make_qwen3_5_moe(folder: Path) -> Path:
    """Write a Qwen3.5 that is a mixture of four experts."""
    return _make_qwen3_5(
        folder, hf.Qwen3_5MoeConfig, hf.Qwen3_5MoeForConditionalGeneration, num_experts=4,
        num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=24,
    )  # fmt: skip


def _make_qwen3_5(folder: Path, config_class: Any, model_class: Any, **text: Any) -> Path:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
               "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
    vocabulary = byte_vocabulary([*special, "<think>", "</think>"])
    tokenizer = hf.Qwen3_5Tokenizer(vocab=vocabulary, merges=[], eos_token="<|im_end|>")
    tokenizer.add_tokens(["<think>", "</think>"])
    make_special(tokenizer, special)
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "mrope_interleaved": True,
            "rope_theta": 10000.0, "partial_rotary_factor": 1.0}  # fmt: skip
    config = config_class(
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2,
                       "out_hidden_size": 32, "num_position_embeddings": 64, "patch_size": 16},
        text_config={**TEXT, "vocab_size": len(tokenizer), "eos_token_id": 2,
                     "layer_types": ["linear_attention", "full_attention"],
                     "linear_key_head_dim": 8, "linear_value_head_dim": 8,
                     "linear_num_key_heads": 2, "linear_num_value_heads": 4,
                     "rope_parameters": rope, **text},
        vision_start_token_id=3, vision_end_token_id=4, image_token_id=5, video_token_id=6,
    )  # fmt: skip
    images = Qwen2VLImageProcessorPil(
        patch_size=16, size={"shortest_edge": 65536, "longest_edge": 16777216}
    )
    return write(
        folder, model_class(config), tokenizer, chat_template__jinja=QWEN,
        preprocessor_config__json=settings(images, processor_class="Qwen3VLProcessor"),
    )  # fmt: skip


def make_gemma3(folder: Path) -> Path:
    """Write a Gemma 3 of four tokens a picture; one layer looks back no further than 16 tokens."""
    marks = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
             "image_token": "<image_soft_token>"}  # fmt: skip
    tokenizer = gemma_tokenizer(marks, ("<start_of_turn>", "<end_of_turn>"))
    template = GEMMA.replace("IMAGE", "<start_of_image>")
    config = hf.Gemma3Config(
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 56,
                       "patch_size": 14, "vision_use_head": False},
        text_config={**TEXT, "model_type": "gemma3_text", "vocab_size": len(tokenizer),
                     "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"],
                     "query_pre_attn_scalar": 8, "eos_token_id": 1, "pad_token_id": 0,
                     "bos_token_id": 2},
        mm_tokens_per_image=4, boi_token_index=7, eoi_token_index=8, image_token_index=9,
        eos_token_id=[1, 6],
    )  # fmt: skip
    model = hf.Gemma3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = [1, 6]
    images = Gemma3ImageProcessorPil(size={"height": 56, "width": 56}, image_seq_length=4)
    tokenizer.chat_template = template
    return write(
        folder, model, tokenizer, (0.02, 1.0), chat_template__json={"chat_template": template},
        preprocessor_config__json=settings(images, processor_class="Gemma3Processor"),
        processor_config__json={"image_seq_length": 4, "processor_class": "Gemma3Processor"},
    )  # fmt: skip


def make_gemma4(folder: Path) -> Path:
    """Write a Gemma 4 whose last layer reuses keys and values, with embeddings for each layer."""
    marks = {"boi_token": "<|image>", "eoi_token": "<image|>", "image_token": "<|image|>",
             "audio_token": "<|audio|>", "boa_token": "<|audio>",
             "eoa_token": "<audio|>"}  # fmt: skip
    tokenizer = gemma_tokenizer(marks, ("<|turn>", "<turn|>"))
    template = GEMMA.replace("IMAGE", "<|image|>").replace("<start_of_turn>", "<|turn>")
    config = hf.Gemma4Config(
        vision_config={**VISION, "num_key_value_heads": 2, "head_dim": 16, "patch_size": 16,
                       "pooling_kernel_size": 3, "position_embedding_size": 512},
        text_config={**TEXT, "vocab_size": len(tokenizer), "num_hidden_layers": 4,
                     "sliding_window": 16, "num_kv_shared_layers": 2,
                     "layer_types": ["sliding_attention", "full_attention"] * 2,
                     "vocab_size_per_layer_input": len(tokenizer),
                     "hidden_size_per_layer_input": 8, "use_bidirectional_attention": "vision",
                     "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": 2,
                     "global_head_dim": 16},
        boi_token_id=7, eoi_token_id=8, image_token_id=9, audio_token_id=10, boa_token_id=11,
        eoa_token_index=12, video_token_id=0, eos_token_id=[1, 6],
    )  # fmt: skip
    model = hf.Gemma4ForConditionalGeneration(config)
    model.generation_config.eos_token_id = [1, 6]
    images = settings(Gemma4ImageProcessorPil(max_soft_tokens=70))
    return write(
        folder, model, tokenizer, (0.02, 1.0),
        chat_template__jinja=template.replace("<end_of_turn>", "<turn|>"),
        processor_config__json={"image_processor": images, "image_seq_length": 70,
                                "processor_class": "Gemma4Processor"},
    )  # fmt: skip


def make_idefics3(folder: Path) -> Path:
    """Write an Idefics3 of tiles of 56 pixels, four tokens each."""
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 224}, max_image_size={"longest_edge": 56}
    )
    return _make_idefics(
        folder, hf.Idefics3Config, hf.Idefics3ForConditionalGeneration, images, "Idefics3Processor"
    )


def make_smolvlm(folder: Path) -> Path:
    """Write a SmolVLM2 of tiles of 56 pixels, four tokens each."""
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 224}, max_image_size={"longest_edge": 56}
    )
    return _make_idefics(
        folder, hf.SmolVLMConfig, hf.SmolVLMForConditionalGeneration, images, "SmolVLMProcessor"
    )


def _make_idefics(folder: Path, config: Any, model: Any, images: Any, processor: str) -> Path:
    places = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<end_of_utterance>", "<image>",
               "<fake_token_around_image>", "<global-img>", *places]  # fmt: skip
    tokenizer = hf.GPT2Tokenizer(
        vocab=byte_vocabulary(special), merges=[], bos_token="<|im_start|>",
        eos_token="<end_of_utterance>", pad_token="<|im_end|>", unk_token="<|endoftext|>",
    )  # fmt: skip
    make_special(tokenizer, special[4:])
    whole = model(config(
        vision_config={**VISION, "image_size": 56, "patch_size": 14}, scale_factor=2,
        text_config={**TEXT, "model_type": "llama", "vocab_size": len(tokenizer),
                     "bos_token_id": 1, "eos_token_id": 3, "pad_token_id": 2},
        image_token_id=4, pad_token_id=2,
    ))  # fmt: skip
    whole.generation_config.eos_token_id = 3
    return write(
        folder, whole, tokenizer, chat_template__json={"chat_template": DEFAULT_CHAT_TEMPLATE},
        preprocessor_config__json=settings(images, processor_class=processor),
        processor_config__json={"image_seq_len": 4, "processor_class": processor},
    )  # fmt: skip


def make_llava_onevision(folder: Path) -> Path:
    """Write a LLaVA-OneVision of tiles of 56 pixels, 16 tokens each."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
    tokenizer = hf.Qwen2Tokenizer(
        vocab=byte_vocabulary(special), merges=[], eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )  # fmt: skip
    make_special(tokenizer, special)
    grid = [[56 * rows, 56 * columns] for rows in range(1, 4) for columns in range(1, 4)]
    config = hf.LlavaOnevisionConfig(
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 56,
                       "patch_size": 14, "vision_use_head": False},
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer),
                     "eos_token_id": 2},
        image_token_index=3, video_token_index=4, image_grid_pinpoints=grid,
        vision_feature_select_strategy="full", vision_feature_layer=-1,
        vision_aspect_ratio="anyres_max_4",
    )  # fmt: skip
    images = LlavaOnevisionImageProcessorPil(
        size={"height": 56, "width": 56}, image_grid_pinpoints=grid
    )
    processor = "LlavaOnevisionProcessor"
    return write(
        folder, hf.LlavaOnevisionForConditionalGeneration(config), tokenizer,
        chat_template__json={"chat_template": ONEVISION},
        preprocessor_config__json=settings(images, processor_class=processor),
        processor_config__json={"num_image_tokens": 16, "vision_feature_select_strategy": "full",
                                "vision_aspect_ratio": "anyres_max_4", "image_token": "<image>",
                                "processor_class": processor},
    )  # fmt: skip


def make_pixtral(folder: Path) -> Path:
    """Write a Pixtral in LLaVA's class: a token is a patch of 14 pixels."""
    tokenizer = _mistral_tokenizer()
    config = hf.LlavaConfig(
        vision_config=_pixtral_tower(), text_config=_mistral_text(tokenizer), image_token_index=5,
        vision_feature_layer=-1, vision_feature_select_strategy="full", image_seq_length=1,
    )  # fmt: skip
    return _write_pixtral(folder, hf.LlavaForConditionalGeneration(config), tokenizer, 1)


def make_mistral3(folder: Path) -> Path:
    """Write a Mistral 3: a token is a square of 2 x 2 patches of 14 pixels."""
    tokenizer = _mistral_tokenizer()
    config = hf.Mistral3Config(
        vision_config=_pixtral_tower(), text_config=_mistral_text(tokenizer), image_token_index=5,
        spatial_merge_size=2,
    )  # fmt: skip
    _write_pixtral(folder, hf.Mistral3ForConditionalGeneration(config), tokenizer, 2)
    return _edit(folder, transformers_version="4.50.0.dev0", torch_dtype="bfloat16")


def _mistral_tokenizer() -> Any:
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"]
    tokenizer = hf.LlamaTokenizer(
        vocab=byte_vocabulary(special), merges=[], bos_token="<s>", eos_token="</s>",
        unk_token="<unk>", pad_token="<unk>",
    )  # fmt: skip
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    tokenizer.backend_tokenizer.normalizer = None
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    )
    return make_special(tokenizer, special[3:])


def _pixtral_tower() -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    return {**VISION, "model_type": "pixtral", "image_size": 280, "patch_size": 14,
            "rope_parameters": rope}  # fmt: skip


def _mistral_text(tokenizer: Any) -> dict[str, Any]:
    return {**TEXT, "model_type": "mistral", "vocab_size": len(tokenizer), "bos_token_id": 1,
            "eos_token_id": 2, "sliding_window": None}  # fmt: skip


def _write_pixtral(folder: Path, model: Any, tokenizer: Any, merge: int) -> Path:
    images = PixtralImageProcessorPil(
        size={"longest_edge": 280}, patch_size={"height": 14, "width": 14}
    )
    processor = {"patch_size": 14, "spatial_merge_size": merge, "image_token": "[IMG]",
                 "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]",
                 "processor_class": "PixtralProcessor"}  # fmt: skip
    return write(
        folder, model, tokenizer, chat_template__jinja=MISTRAL, processor_config__json=processor,
        preprocessor_config__json=settings(images, processor_class="PixtralProcessor"),
    )  # fmt: skip


MAKERS = {
    name.removeprefix("make_"): maker
    for name, maker in sorted(globals().items())
    if name.startswith("make_") and name != "make_special"
}
