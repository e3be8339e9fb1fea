"""A SAM of random weights, as transformers publishes one."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

SIDE = 64


def save(folder: Path) -> Path:
    """Save a SAM that sees 64 x 64 pixels; return its folder."""
    torch.manual_seed(0)
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16, output_channels=16, num_hidden_layers=2, num_attention_heads=2,
            image_size=SIDE, patch_size=8, window_size=4, global_attn_indexes=[1],
            num_pos_feats=8, mlp_dim=32,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=16, image_size=SIDE, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2,
            iou_head_hidden_dim=16,
        ),
    )  # fmt: skip
    model = SamModel(config)
    for weight in model.parameters():
        # With weights as small as they begin, no mask would depend on the picture.
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    whole, mask = {"height": SIDE, "width": SIDE}, {"height": SIDE // 4, "width": SIDE // 4}
    images = SamImageProcessor(
        size={"longest_edge": SIDE}, pad_size=whole,
        mask_size={"longest_edge": SIDE // 4}, mask_pad_size=mask,
    )  # fmt: skip
    SamProcessor(images).save_pretrained(folder)
    return folder
