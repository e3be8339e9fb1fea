"""Embeddings of notes, by a text encoder of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from chatspot_ros.engine.text_embeddings import load_embedder
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.knowledge.index import NoteIndex
from chatspot_ros.knowledge.passages import passages_of

WORDS = "[PAD] [UNK] the fridge tap opens left drips a note".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    config = BertConfig(vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=32)  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def test_vectors_are_units_and_do_not_depend_on_their_company(encoder: Path) -> None:
    embed = load_embedder(str(encoder))
    texts = ["the fridge", "the tap drips the tap", "opens left"]
    together = embed(texts)
    assert together.shape == (3, 32)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    for one, text in zip(together, texts, strict=True):
        assert one == pytest.approx(embed([text])[0], abs=1e-5)


def test_an_index_ranks_by_meaning(encoder: Path) -> None:
    note = "the fridge opens left\n\nthe tap drips"
    index = NoteIndex(passages_of(note, "n.txt", markdown=False), load_embedder(str(encoder)))
    assert index.by_embeddings
    found = index.search("the tap drips")
    assert found[0].passage.text == "the tap drips"
    assert found[0].score == pytest.approx(1, abs=1e-5)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelLoadError, match="knowledge_embeddings"):
        load_embedder(str(tmp_path))
