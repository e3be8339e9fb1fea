"""Embeddings of texts by a published text encoder, to rank notes by their meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from chatspot_ros.engine.loading.checkpoint import find_folder
from chatspot_ros.errors import ModelLoadError, shorten
from chatspot_ros.knowledge.index import Embed
from chatspot_ros.util.resources import find_model

MAX_TOKENS = 256
_AT_A_TIME = 32


def load_embedder(model: str, *, local_only: bool = True) -> Embed:
    """Return a function from texts to unit vectors, (n, d): the mean of the encoder's last states.

    `model` is a folder or a hub id of an encoder that was trained for that, as all-MiniLM-L6-v2.
    It runs on the processor, from safetensors, without code of its own.

    Raises:
        ModelLoadError: there is no such encoder, or it does not run.
    """
    folder = find_folder(find_model(model), local_only)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        encoder = AutoModel.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        ).eval()
        embedder = _Embedder(tokenizer, encoder)
        embedder(["a note"])
    except Exception as error:  # a folder of another kind fails in many ways
        raise ModelLoadError(
            f"the text encoder of the notes cannot be used: {shorten(error)}", value=model,
            remedy="set the parameter knowledge_embeddings to a text encoder in safetensors, or to "
            "nothing",
        ) from error  # fmt: skip
    return embedder


class _Embedder:
    """Calls an encoder. The thread of the notes and that of the model may call it at once."""

    def __init__(self, tokenizer: object, encoder: torch.nn.Module) -> None:
        self._tokenizer, self._encoder = tokenizer, encoder

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        parts = [
            self._some(list(texts[first : first + _AT_A_TIME]))
            for first in range(0, len(texts), _AT_A_TIME)
        ]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _some(self, texts: list[str]) -> NDArray[np.float32]:
        read = self._tokenizer(  # type: ignore[operator]
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        states = self._encoder(**read).last_hidden_state
        there = read["attention_mask"].unsqueeze(-1).to(states.dtype)
        mean = (states * there).sum(1) / there.sum(1).clamp(min=1)
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return vectors
