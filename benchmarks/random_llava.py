"""A LLaVA with random weights and 576 tokens per picture, small enough for two cores."""

from __future__ import annotations

from pathlib import Path

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
)

from chatspot_train.tiny.tokenizer import CHAT_TEMPLATE

SPECIAL = ["<pad>", "<s>", "</s>", "<image>", "<box>", "</box>", "[short]", "USER:", "ASSISTANT:"]
SPEC = {
    "name": "random-llava",
    "dialect": {"name": "chatspot", "decimals": 2, "separator": " ", "lead": " "},
    "geometry": {"mode": "stretch", "width": 336, "height": 336},
    "prompt_style": "tags",
    "max_new_tokens": 24,
}


def make(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; its answers end only at the token limit."""
    torch.manual_seed(seed)
    tokenizer = _byte_tokenizer()
    model = LlavaForConditionalGeneration(LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=256, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=4,
            image_size=336, patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=512, intermediate_size=1408,
            num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8,
            max_position_embeddings=8192, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        ),
        image_token_index=3, vision_feature_layer=-1, vision_feature_select_strategy="default",
    )).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                scale = 0.7 if "embed" in name else 0.06
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
        model.lm_head.weight[2] = 0.0  # the end token is never the most likely
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"height": 336, "width": 336}, do_center_crop=False
        ),
        tokenizer=tokenizer, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=CHAT_TEMPLATE,
    )  # fmt: skip
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "chatspot.yaml").write_text(yaml.safe_dump(SPEC))
    return folder


def _byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False,
        additional_special_tokens=SPECIAL[3:], pad_token="<pad>", bos_token="<s>",
        eos_token="</s>",
    )  # fmt: skip
