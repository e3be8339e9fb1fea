"""Pickled weights become safetensors; a pickle that would run code is refused and does not run."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chatspot_train.finetune.convert_weights import main


@pytest.fixture
def published(parts: dict[str, Any], tmp_path: Path) -> Path:
    """A language model as Vicuna is published: two .bin files, an index, no safetensors."""
    folder = tmp_path / "published"
    shutil.copytree(parts["language"], folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    weights = dict(model.state_dict())
    names = sorted(weights)
    files = {"pytorch_model-00001-of-00002.bin": names[:5],
             "pytorch_model-00002-of-00002.bin": names[5:]}  # fmt: skip
    for file, inside in files.items():
        torch.save({name: weights[name].half() for name in inside}, folder / file)
    places = {name: file for file, inside in files.items() for name in inside}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


def test_it_loads_with_the_same_weights(
    published: Path, parts: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(["--model", str(published), "--out", str(out)]) == 0
    assert not list(out.glob("*.bin*"))
    one, two = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16, use_safetensors=True)
        for folder in (parts["language"], out)
    )
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_tied_weights_in_one_file(tmp_path: Path) -> None:
    table = torch.arange(6.0).reshape(3, 2)
    folder = tmp_path / "old"
    folder.mkdir()
    torch.save({"a": table, "b": table, "c": table.T}, folder / "pytorch_model.bin",
               _use_new_zipfile_serialization=False)  # fmt: skip
    assert main(["--model", str(folder), "--out", str(tmp_path / "new")]) == 0
    from safetensors.torch import load_file

    found = load_file(tmp_path / "new" / "model.safetensors")
    assert torch.equal(found["b"], table)
    assert torch.equal(found["c"], table.T)


def test_a_tokenizer_model_is_read_as_vicuna_is_published(published: Path, tmp_path: Path) -> None:
    """Vicuna has no tokenizer.json: its tokenizer.model is sentencepiece's own format."""
    import sentencepiece

    for old in published.glob("tokenizer*"):
        old.unlink()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the red mug stands on the table"] * 20), model_type="bpe",
        model_prefix=str(published / "tokenizer"), vocab_size=290, byte_fallback=True,
        unk_id=0, bos_id=1, eos_id=2, minloglevel=2,
    )  # fmt: skip
    (published / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>",
         "unk_token": "<unk>", "add_bos_token": True}))  # fmt: skip
    out = tmp_path / "out"
    assert main(["--model", str(published), "--out", str(out)]) == 0
    tokenizer = AutoTokenizer.from_pretrained(out)
    ids = tokenizer("the red mug")["input_ids"]
    assert ids[0] == 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == "the red mug"


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("kind", ["code", "cut", "no tensors", "empty", "missing", "index"])
def test_what_is_not_tensors_is_refused_in_one_line(
    kind: str, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "ran"
    path = published / "pytorch_model-00002-of-00002.bin"
    if kind == "code":
        torch.save({"a": torch.zeros(2), "b": Evil(mark)}, path)
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "no tensors":
        torch.save({"a": [1, 2]}, path)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "missing":
        path.unlink()
    else:
        (published / "pytorch_model.bin.index.json").write_text('{"weight_map": 3}')
    out = tmp_path / "out"
    assert main(["--model", str(published), "--out", str(out)]) == 1
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert str(published) in said
    assert not mark.exists()
    assert not out.exists()
