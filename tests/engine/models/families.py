"""Tiny random checkpoints of every family's own classes, as save_pretrained leaves them.

Their settings come from config/models, but for the size of the picture where the vision towers are
made for a smaller one. What they say means nothing; what runs around them is what is tested.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
import transformers as hf
import yaml
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from chatspot_ros.engine.models.molmo2_processor import Molmo2ImageProcessor

CONFIG = Path(__file__).resolve().parents[3] / "config" / "models"
# Wide enough for three heads' worth of rotary axes, small enough to run in milliseconds.
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 4096}  # fmt: skip
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QWEN_VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
QWEN_BOXES = ("<|box_start|>", "<|box_end|>", "<|object_ref_start|>", "<|object_ref_end|>")


def byte_tokenizer(
    special: list[str],
    added: list[str],
    template: str = "",
    eats_spaces: bool = False,
    **named: str,
) -> hf.PreTrainedTokenizerFast:
    """A tokenizer of single bytes with special tokens and added ones that are no special ones.

    With `eats_spaces` the added ones swallow the space before them.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *added, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False, lstrip=eats_spaces) for token in added]
    )
    whole = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=[token for token in special if token not in named.values()],
        **named,
    )
    if template:
        whole.chat_template = template
    return whole


def enliven(model: torch.nn.Module, embedded: float, other: float) -> None:
    """Make weights large enough that the picture and every word change what is said."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                scale = embedded if "embed" in name or "shared" in name else other
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)


def save(
    folder: Path,
    model: Any,
    tokenizer: Any,
    image_processor: Any,
    embedded: float = 0.7,
    other: float = 0.25,
) -> Path:
    """Write a checkpoint with random weights of these sizes."""
    enliven(model, embedded, other)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    return folder


def write_settings(folder: Path, family: str, **geometry: Any) -> None:
    """Write the family's own settings with another picture size."""
    settings = yaml.safe_load((CONFIG / f"{family}.yaml").read_text(encoding="utf-8"))
    settings["geometry"].update(geometry)
    (folder / "chatspot.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def _qwen_tokenizer(boxes: tuple[str, ...] = ()) -> hf.PreTrainedTokenizerFast:
    shown = "<|vision_start|><|image_pad|><|vision_end|>"
    return byte_tokenizer(
        [*QWEN_CHAT, *QWEN_VISION, *boxes], [], QWEN_TEMPLATE.replace("IMAGE", shown),
        pad_token="<|endoftext|>", eos_token="<|im_end|>",
    )  # fmt: skip


def _qwen_ids() -> dict[str, int]:
    return {"vision_start_token_id": 3, "vision_end_token_id": 4, "image_token_id": 5,
            "video_token_id": 6}  # fmt: skip


def _rope(sections: list[int], **more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "mrope_section": sections, "rope_theta": 10000.0, **more}


def make_qwen2_vl(folder: Path) -> Path:
    """Write a Qwen2-VL."""
    tokenizer = _qwen_tokenizer(QWEN_BOXES)
    config = hf.Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2,
                       "mlp_ratio": 2, "patch_size": 14},
        text_config={**TEXT, "vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 2,
                     "rope_parameters": _rope([1, 1, 2])},
        **_qwen_ids(),
    )  # fmt: skip
    model = hf.Qwen2VLForConditionalGeneration(config)
    return save(folder, model, tokenizer, Qwen2VLImageProcessorPil())


def make_qwen3_vl(folder: Path) -> Path:
    """Write a Qwen3-VL, with features for two of its layers."""
    return _make_qwen3(folder, hf.Qwen3VLConfig, hf.Qwen3VLForConditionalGeneration)


def make_qwen3_vl_moe(folder: Path) -> Path:
    """Write a Qwen3-VL that is a mixture of four experts."""
    return _make_qwen3(
        folder, hf.Qwen3VLMoeConfig, hf.Qwen3VLMoeForConditionalGeneration,
        num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24,
    )  # fmt: skip


def _make_qwen3(folder: Path, config_class: Any, model_class: Any, **text: Any) -> Path:
    tokenizer = _qwen_tokenizer()
    config = config_class(
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2,
                       "out_hidden_size": 32, "num_position_embeddings": 64, "patch_size": 16,
                       "deepstack_visual_indexes": [0, 1]},
        text_config={**TEXT, "vocab_size": len(tokenizer), "head_dim": 8, "bos_token_id": 0,
                     "eos_token_id": 2,
                     "rope_parameters": _rope([2, 1, 1], mrope_interleaved=True), **text},
        **_qwen_ids(),
    )  # fmt: skip
    return save(folder, model_class(config), tokenizer, Qwen2VLImageProcessorPil(patch_size=16))


def make_internvl(folder: Path) -> Path:
    """Write an InternVL of tiles of 56 pixels, four tokens each."""
    special = [*QWEN_CHAT, "<img>", "</img>", "<IMG_CONTEXT>", "<video>", "<box>", "</box>",
               "<ref>", "</ref>"]  # fmt: skip
    tokenizer = byte_tokenizer(
        special, [], QWEN_TEMPLATE.replace("IMAGE", "<IMG_CONTEXT>\n"),
        pad_token="<|endoftext|>", eos_token="<|im_end|>",
    )  # fmt: skip
    config = hf.InternVLConfig(
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                       "num_attention_heads": 2, "image_size": 56, "patch_size": 14},
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer), "bos_token_id": 0,
                     "eos_token_id": 2},
        image_token_id=5, image_seq_length=4,
    )  # fmt: skip
    processor = hf.GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, max_patches=12)
    save(folder, hf.InternVLForConditionalGeneration(config), tokenizer, processor)
    write_settings(folder, "internvl", width=56, height=56)
    return folder


def make_kosmos2(folder: Path) -> Path:
    """Write a Kosmos-2 of five features."""
    tags = ["</doc>", "<image>", "</image>", "<phrase>", "</phrase>", "<object>", "</object>",
            "</delimiter_of_multi_objects/>", "<grounding>"]  # fmt: skip
    places = [f"<patch_index_{k:04d}>" for k in range(1024)]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = byte_tokenizer(
        special, [*tags, *places], eats_spaces=True, bos_token="<s>", pad_token="<pad>",
        eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    config = hf.Kosmos2Config(
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                       "num_attention_heads": 2, "image_size": 56, "patch_size": 14},
        text_config={"vocab_size": len(tokenizer), "embed_dim": 32, "layers": 2, "ffn_dim": 48,
                     "attention_heads": 4, "max_position_embeddings": 2048},
        latent_query_num=5,
    )  # fmt: skip
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 56},
                                      crop_size={"height": 56, "width": 56})  # fmt: skip
    save(folder, hf.Kosmos2ForConditionalGeneration(config), tokenizer, processor, 0.1, 0.4)
    write_settings(folder, "kosmos2", width=56, height=56)
    return folder


def make_florence2(folder: Path) -> Path:
    """Write a Florence-2 that sees 64 pixels as 4 x 4 places and their mean."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<image>"]
    tokenizer = byte_tokenizer(
        [*special, *(f"<loc_{k}>" for k in range(1000))], [], bos_token="<s>", pad_token="<pad>",
        eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    config = hf.Florence2Config(
        vision_config={"depths": [1, 1], "patch_size": [7, 3], "patch_stride": [8, 2],
                       "patch_padding": [3, 1], "patch_prenorm": [False, True],
                       "embed_dim": [16, 32], "num_heads": [2, 2], "num_groups": [2, 2],
                       "window_size": 2, "projection_dim": 32, "max_position_embeddings": 8,
                       "max_temporal_embeddings": 4},
        text_config={"model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32,
                     "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48,
                     "decoder_ffn_dim": 48, "encoder_attention_heads": 4,
                     "decoder_attention_heads": 4, "max_position_embeddings": 2048,
                     "decoder_start_token_id": 2},
        image_token_id=4,
    )  # fmt: skip
    model = hf.Florence2ForConditionalGeneration(config)
    model.generation_config.forced_bos_token_id = 0
    model.generation_config.eos_token_id = 2
    model.generation_config.decoder_start_token_id = 2
    processor = hf.CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_center_crop=False, image_seq_length=17
    )
    save(folder, model, tokenizer, processor, 0.7, 1.0)
    write_settings(folder, "florence2", width=64, height=64)
    return folder


def make_paligemma(folder: Path) -> Path:
    """Write a PaliGemma of 16 places."""
    return _make_paligemma(folder, model_type="gemma")


def make_paligemma2(folder: Path) -> Path:
    """Write a PaliGemma 2, whose second layer sees all and whose first only what is near."""
    return _make_paligemma(
        folder, model_type="gemma2", sliding_window=24, query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip


def _make_paligemma(folder: Path, **text: Any) -> Path:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<image>"]
    tokenizer = byte_tokenizer(
        special, [f"<loc{k:04d}>" for k in range(1024)], bos_token="<bos>", pad_token="<pad>",
        eos_token="<eos>", unk_token="<unk>",
    )  # fmt: skip
    config = hf.PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", "hidden_size": 32,
                       "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 56, "patch_size": 14, "vision_use_head": False},
        text_config={**TEXT, "vocab_size": len(tokenizer), "head_dim": 8, "bos_token_id": 2,
                     "eos_token_id": 1, "pad_token_id": 0, **text},
        image_token_index=4, projection_dim=32, hidden_size=32, vocab_size=len(tokenizer),
    )  # fmt: skip
    processor = hf.SiglipImageProcessor(size={"height": 56, "width": 56})
    model = hf.PaliGemmaForConditionalGeneration(config)
    save(folder, model, tokenizer, processor, 0.1, 0.4)
    write_settings(folder, "paligemma", width=56, height=56)
    return folder


def make_molmo2(folder: Path) -> Path:
    """Write a Molmo 2 of crops of 56 pixels with a margin of one patch on each side."""
    marks = ["<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>",
             "<|image|>", "<frame_start>", "<frame_end>", "<im_low>", "<|video|>"]  # fmt: skip
    tokenizer = byte_tokenizer(
        [*QWEN_CHAT, *marks], [], QWEN_TEMPLATE.replace("IMAGE", "<|image|>"),
        pad_token="<|endoftext|>", eos_token="<|im_end|>",
    )  # fmt: skip
    config = hf.Molmo2Config(
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                       "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
                       "image_size": [56, 56], "patch_size": 14},
        adapter_config={"vision_feature_layer": [1, 0], "hidden_size": 32, "head_dim": 16,
                        "num_attention_heads": 2, "num_key_value_heads": 2,
                        "intermediate_size": 48, "text_hidden_size": 32},
        text_config={**TEXT, "vocab_size": len(tokenizer), "additional_vocab_size": 0,
                     "head_dim": 8, "eos_token_id": 2,
                     "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        image_start_token_id=3, image_end_token_id=4, image_patch_id=5,
        low_res_image_start_token_id=7, frame_start_token_id=9, frame_end_token_id=10,
    )  # fmt: skip
    processor = Molmo2ImageProcessor(
        size={"height": 56, "width": 56}, max_crops=4, overlap_margins=[1, 1]
    )
    return save(folder, hf.Molmo2ForConditionalGeneration(config), tokenizer, processor)


MAKERS = {
    name.removeprefix("make_"): maker
    for name, maker in sorted(globals().items())
    if name.startswith("make_") and inspect.isfunction(maker)
}
