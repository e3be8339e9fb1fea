"""Tiny random detectors of real classes, written as checkpoints without any download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    PreTrainedTokenizerFast,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

CLASSES = ("mug", "fridge", "kettle")


def make_rt_detr(folder: Path, seed: int = 0) -> Path:
    """Write an RT-DETR of three classes and 20 queries, on a ResNet of 64 x 64 pixels."""
    torch.manual_seed(seed)
    config = RTDetrConfig(
        backbone_config=RTDetrResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1],
            layer_type="basic", out_features=["stage2", "stage3", "stage4"],
        ),
        encoder_hidden_dim=16, encoder_in_channels=[8, 16, 16], feat_strides=[8, 16, 32],
        encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2,
        encode_proj_layers=[2], hidden_expansion=0.5,
        d_model=16, num_queries=20, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16,
        num_feature_levels=3, decoder_n_points=2, decoder_layers=2, decoder_attention_heads=2,
        num_denoising=0, anchor_image_size=None,
        id2label=dict(enumerate(CLASSES)), label2id={name: k for k, name in enumerate(CLASSES)},
    )  # fmt: skip
    model = RTDetrForObjectDetection(config).eval()
    _enliven(model)
    model.save_pretrained(folder)
    RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def make_owlv2(folder: Path, seed: int = 0) -> Path:
    """Write an OWLv2 of 4 x 4 patches, with a tokenizer of whole words."""
    torch.manual_seed(seed)
    tokenizer = word_tokenizer(pad="!", start="<start>", end="<end>", length=8)
    config = Owlv2Config(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 8,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
        },
        projection_dim=16,
    )  # fmt: skip
    model = Owlv2ForObjectDetection(config).eval()
    _enliven(model)
    model.save_pretrained(folder)
    images = Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    Owlv2Processor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def make_grounding_dino(folder: Path, seed: int = 0) -> Path:
    """Write a Grounding DINO of 12 queries, on a Swin of 64 pixels and a BERT of whole words."""
    torch.manual_seed(seed)
    tokenizer = word_tokenizer(pad="[PAD]", start="[CLS]", end="[SEP]", length=64)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1],
            num_heads=[1, 2, 2, 4], window_size=2, out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16,
            num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=64,
        ),
        d_model=32, num_queries=12, encoder_layers=1, encoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_layers=2, decoder_ffn_dim=16,
        decoder_attention_heads=2, num_feature_levels=4, encoder_n_points=2,
        decoder_n_points=2, max_text_len=64, disable_custom_kernels=True,
    )  # fmt: skip
    model = GroundingDinoForObjectDetection(config).eval()
    _enliven(model)
    model.save_pretrained(folder)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 128, "longest_edge": 256})
    GroundingDinoProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def word_tokenizer(*, pad: str, start: str, end: str, length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, with the special tokens where the models look for them."""
    words = [pad, "[UNK]", start, end, ".", "?", *CLASSES, "door", "red"]
    if pad == "[PAD]":
        # Grounding DINO finds the ends of its phrases by BERT's own numbers.
        words = [pad, *(f"[unused{k}]" for k in range(1, 100)), "[UNK]", start, end]
        words += [f"[unused{k}]" for k in range(103, 1012)] + ["."]
        words += [f"[unused{k}]" for k in range(1013, 1029)] + ["?", *CLASSES, "door", "red"]
    vocabulary = {word: k for k, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=length, pad_token=pad, unk_token="[UNK]",
        bos_token=start, eos_token=end, cls_token=start, sep_token=end,
    )  # fmt: skip


def _enliven(model: torch.nn.Module) -> None:
    """Make weights large enough that the picture changes what is found, and where."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)


MAKERS = {"rt_detr": make_rt_detr, "owlv2": make_owlv2, "grounding_dino": make_grounding_dino}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a tiny detector of each kind, by its family."""
    folder = tmp_path_factory.mktemp("detectors")
    return {name: make(folder / name) for name, make in MAKERS.items()}


@pytest.fixture(scope="session")
def image_rgb() -> np.ndarray:
    """A wide picture of noise, uint8 97 x 211 x 3."""
    return np.random.default_rng(3).integers(0, 256, (97, 211, 3), dtype=np.uint8)
