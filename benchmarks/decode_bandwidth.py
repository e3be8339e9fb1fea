"""Speed of decoding on a GPU, relative to the limit that its memory bandwidth sets.

`python -m benchmarks.decode_bandwidth --json FILE`. A LLaVA-1.5 of 7B with random bfloat16 weights
is made on the GPU; nothing is downloaded. Each token reads every weight of the language model and
all keys and values once, so the limit is the bandwidth, measured in the same run by a large copy,
divided by their bytes. Without a GPU no row is written; `--tiny` tests the program with a small
model on the CPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    DynamicCache,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from chatspot_ros.engine.decoding.cuda_graphs import CudaGraphSteps
from chatspot_ros.engine.decoding.packed_batch import PackedBatch
from chatspot_ros.engine.decoding.sequence import TokenSequence

PROMPT = 640
TOKENS = 128
REPEATS = 3
COPY_BYTES = 2**32
WAYS = {"plain": None, "graph": "", "compiled graph": "inductor"}


def make(device: torch.device, tiny: bool) -> Any:
    """Return a LLaVA with random weights, made on the device: LLaVA-1.5 of 7B, or a tiny one."""
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
        image_size=336, patch_size=14, projection_dim=768,
    )  # fmt: skip
    text = LlamaConfig(vocab_size=32064, max_position_embeddings=4096)
    if tiny:
        vision = CLIPVisionConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            image_size=56, patch_size=14,
        )  # fmt: skip
        text = LlamaConfig(
            vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=4096,
        )  # fmt: skip
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=3)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if tiny else torch.bfloat16)
    try:
        with device:
            return LlavaForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(usual)


def bytes_per_token(model: Any, tokens: int) -> int:
    """Return the bytes that a token reads: the language model without embeddings, and the cache."""
    embeddings = model.get_input_embeddings().weight
    text = model.config.get_text_config()
    weights = sum(one.nbytes for one in model.model.language_model.parameters())
    weights += model.lm_head.weight.nbytes - embeddings.nbytes
    size = text.hidden_size // text.num_attention_heads
    cached = 2 * text.num_hidden_layers * text.num_key_value_heads * size * tokens
    return int(weights + cached * embeddings.dtype.itemsize)


def seconds(what: Callable[[], Any], device: torch.device, repeats: int = REPEATS) -> float:
    """Return the time of the fastest run, until the device is idle."""
    best = float("inf")
    for _ in range(repeats):
        _wait(device)
        began = time.perf_counter()
        what()
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return best


def bandwidth(device: torch.device, size: int) -> float:
    """Return bytes per second of a large copy, which reads and writes each byte once."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * size / seconds(lambda: target.copy_(source), device, 10)


class Decoding:
    """Decodes one answer about a picture, as the engine does."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self.cache = DynamicCache(config=model.config.get_text_config())
        ids = torch.randint(10, 500, (1, PROMPT), device=device)
        model(input_ids=ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.runner: Any = SimpleNamespace(
            model=model, device=device, dtype=model.dtype, end_ids=frozenset()
        )

    def steps(self, compiler: str) -> CudaGraphSteps | None:
        """Return recorded steps; None if the device cannot record them."""
        on_gpu = self.runner.device.type == "cuda"
        settings: dict[str, Any] = {} if on_gpu else {"record": None}
        if compiler and not on_gpu:
            compiler = "eager"
        steps = CudaGraphSteps(
            self.runner.model, tokens=1024, compiler=compiler or None, **settings
        )
        return steps if steps.prepare(self.cache) else None

    def run(self, steps: CudaGraphSteps | None, tokens: int = TOKENS) -> list[int]:
        """Decode an answer to a question of one token."""
        pack = PackedBatch(self.runner, self.cache, steps)
        sequence = TokenSequence([300], tokens)
        pack.admit(sequence)
        while not sequence.done:
            pack.step()
        if sequence.error is not None:
            raise sequence.error
        return sequence.answer


def measure(device: torch.device, tiny: bool) -> dict[str, float]:
    """Return tokens per second of each way, and the fastest divided by the limit."""
    torch.manual_seed(0)
    speed = bandwidth(device, 2**24 if tiny else COPY_BYTES)
    model = make(device, tiny)
    size = bytes_per_token(model, PROMPT + TOKENS // 2)
    limit = speed / size
    print(f"copy {speed / 1e9:.0f} GB/s, {size / 1e9:.3f} GB a token, limit {limit:.1f} tokens/s")
    rows = {"copy_gb_per_s": speed / 1e9, "decode_limit_tokens_per_s": limit}
    with torch.inference_mode():
        decoded = Decoding(model, device)
        expected: list[int] = []
        for name, compiler in WAYS.items():
            steps = None if compiler is None else decoded.steps(compiler)
            if compiler is not None and steps is None:
                continue
            ids = decoded.run(steps)
            expected = expected or ids
            same = sum(a == b for a, b in zip(ids, expected, strict=True))
            # The time before the first token is not decoding.
            whole = seconds(lambda steps=steps: decoded.run(steps), device)  # type: ignore[misc]
            first = seconds(lambda steps=steps: decoded.run(steps, 2), device)  # type: ignore[misc]
            rate = (TOKENS - 2) / (whole - first)
            rows[f"decode_tokens_per_s_{name.replace(' ', '_')}"] = rate
            print(f"{name:16} {rate:8.1f} tokens/s, {rate / limit:.2f} of the limit, "
                  f"{same} of {len(ids)} tokens equal to the plain way's")  # fmt: skip
    fastest = max(value for name, value in rows.items() if name.startswith("decode_tokens"))
    return rows | {"decode_over_bandwidth_limit": fastest / limit}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure decoding against memory bandwidth.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a small model, to test the program")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.tiny:
        print("no NVIDIA GPU here: decode_over_bandwidth_limit is not measured")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = measure(device, options.tiny)
    for name, value in rows.items():
        print(f"{name:36} {value:8.3f}")
    # The figures of a small model say nothing about a large one.
    if options.json and not options.tiny:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
