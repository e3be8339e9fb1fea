"""What a record may say or show: no word of it is learned as control, no picture ends a run."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from chatspot_ros.core.regions import Region
from chatspot_ros.images.decode import DEFAULT_MAX_PIXELS
from chatspot_train.common.labels import IGNORE
from chatspot_train.data.records import Record, RecordError, RecordTurn, write_records
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import AugmentSettings, ModelSettings, SourceSettings
from chatspot_train.finetune.dataset import ExampleDataset
from chatspot_train.finetune.drops import Drop, DropLog
from chatspot_train.finetune.model import load_start

Painted = Callable[..., dict[str, str]]
PICTURE = np.zeros((30, 40, 3), np.uint8)
BOX = Region.box(0, 5, 20, 25)


@pytest.fixture(scope="module")
def encoder(parts: dict[str, Any]) -> Encoder:
    return Encoder(load_start(ModelSettings.model_validate(parts)), 400)


CONTROL = ["<image>", "</s>", "<s>", "<pad>", "<box>0.1 0.2 0.3 0.4</box>", "[locate]", "USER: ok"]


@pytest.mark.parametrize("task", ["", "describe", "read", "state", "plan", "locate"])
@pytest.mark.parametrize("said", CONTROL)
def test_an_answer_is_words_whatever_it_says(encoder: Encoder, said: str, task: str) -> None:
    """Today `<image>` ends the run in the model, and `</s>` is learned within an answer."""
    about = RecordTurn("What is this?", f"a mug {said} there", (BOX,), task)
    last = RecordTurn("And?", "a cup", (BOX,))
    example = encoder.example(Record("made", "1", "a.png", 40, 30, (about, last)), PICTURE)
    tokenizer = encoder._start.tokenizer
    ids, labels = example["input_ids"].tolist(), example["labels"]
    learned = labels[labels != IGNORE].tolist()
    assert ids.count(encoder._start.image_token_id) == 4  # 2 x 2 patches
    spoken = tokenizer.convert_ids_to_tokens(learned)
    assert spoken.count("</s>") == 2  # the ends of both answers
    assert not {"<image>", "<s>", "<pad>", "<box>", "[locate]"} & set(spoken)
    assert "a mug" in tokenizer.decode(learned)


def test_the_places_of_an_answer_stay_places(encoder: Encoder) -> None:
    turn = RecordTurn("Where?", "<box> <region> and <region></s>", (), "describe", (BOX, BOX))
    example = encoder.example(Record("made", "1", "a.png", 40, 30, (turn,)), PICTURE)
    labels = example["labels"]
    spoken = encoder._start.tokenizer.convert_ids_to_tokens(labels[labels != IGNORE].tolist())
    assert (spoken.count("<box>"), spoken.count("</box>"), spoken.count("</s>")) == (2, 2, 1)


def test_what_a_tokenizer_joins_again_is_dropped(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where breaking a string open does not help, the ids are looked at."""
    monkeypatch.setattr("chatspot_ros.core.prompts.neutralise", lambda text, forbidden: text)
    for said in ("a </s> mug", "an <image> of a mug"):
        turn = RecordTurn("What?", said, (BOX,))
        with pytest.raises(RecordError, match="control tokens"):
            encoder.example(Record("made", "1", "a.png", 40, 30, (turn,)), PICTURE)


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG that declares a size, whatever it holds."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def cut(picture: bytes) -> bytes:
    """A picture whose header is whole."""
    return picture[: len(picture) // 2]


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "bomb": lambda _: png(60_000, 60_000),
    "large": lambda _: png(1, DEFAULT_MAX_PIXELS + 1),
    "of another size": lambda _: png(41, 30, b"\0" * 124 * 30),
    "without pixels": lambda _: png(40, 30),
    "cut": cut,
    "no picture": lambda _: b"<html>404</html>",
    "a TIFF": lambda _: cv2.imencode(".tif", PICTURE)[1].tobytes(),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_picture_is_dropped_and_named(
    kind: str, painted: Painted, encoder: Encoder
) -> None:
    made = painted(3)
    path = Path(made["images"]) / "painted1.png"
    path.write_bytes(BROKEN[kind](path.read_bytes()))
    examples = ExampleDataset([SourceSettings.model_validate(made)], encoder)
    items = [examples[k] for k in range(3)]
    assert all(item["name"] != "painted/1" for item in items)
    batch = encoder.collate(items)
    assert {(d.source, d.record, d.picture) for d in batch["dropped"]} == {
        (0, "painted/1", "painted1.png")
    }


@pytest.mark.parametrize("name", ["../../etc/passwd", "nul\0l.png", "a" * 5000, "."])
def test_no_name_of_a_picture_ends_a_run(name: str, tmp_path: Path, encoder: Encoder) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    turn = RecordTurn("What?", "a mug", (BOX,))
    records = [Record("made", str(k), n, 40, 30, (turn,)) for k, n in enumerate(("a.png", name))]
    write_records(records, tmp_path / "records")
    source = SourceSettings(records=tmp_path / "records", images=tmp_path)
    examples = ExampleDataset([source], encoder)
    assert {examples[k]["name"] for k in range(2)} == {"made/0"}


@pytest.mark.parametrize("size", [(1, 1), (1, 40_000), (40_000, 1), (3, 700), (2, 33_000)])
def test_odd_sizes_are_learned_from_or_dropped(
    size: tuple[int, int], tmp_path: Path, encoder: Encoder
) -> None:
    width, height = size
    for k in range(12):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.zeros((height, width, 3), np.uint8))
    turn = RecordTurn("What is in <region>?", "a mug", (Region.box(0, 0, width, height),))
    records = [Record("made", str(k), f"{k}.png", width, height, (turn,)) for k in range(12)]
    write_records(records, tmp_path / "records")
    source = SourceSettings(records=tmp_path / "records", images=tmp_path)
    examples = ExampleDataset([source], encoder, augment=AugmentSettings(pictures=True))
    for k in range(12):
        assert tuple(examples[k]["inputs"]["pixel_values"].shape) == (1, 3, 32, 32)


def test_drops_are_counted_once_and_bounded(tmp_path: Path) -> None:
    notes = [{"name": "one", "pictures": 100}, {"name": "two", "pictures": 3}]
    drops = DropLog(tmp_path, notes, 0.02)
    for _ in range(5):
        drops.add(Drop(0, "one/1", "1.png", "broken"))
    drops.add(Drop(0, "one/2", "2.png", "broken"))
    drops.add(Drop(1, "two/7", "", "its first turn takes 900 tokens of 400"))
    assert len((tmp_path / "dropped-0.jsonl").read_text().splitlines()) == 3
    with pytest.raises(RecordError, match=r"one: 3 of 100 pictures .* max_missing 0\.02"):
        drops.add(Drop(0, "one/3", "3.png", "broken"))
    # Mended, then started again: the old ones are not held against it.
    DropLog(tmp_path, notes, 0.02).add(Drop(0, "one/4", "4.png", "broken"))


def run_file(tmp_path: Path, parts: dict[str, Any], data: dict[str, str], **more: Any) -> Path:
    optim = {"learning_rate": 1e-3, "batch": 2, "per_device": 2, "workers": 1, "warmup": 0.0,
             "bf16": False, "progress": False, "save_every": 100,
             "gradient_checkpointing": False}  # fmt: skip
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({
        "recipe": "instruct", "out": str(tmp_path / "out"), "model": parts, "data": [data],
        "learn": ["projection"], "optim": optim, **more}))  # fmt: skip
    return file


def test_a_run_drops_counts_and_goes_on(
    parts: dict[str, Any], painted: Painted, tmp_path: Path, train_as: Callable[[Path], None]
) -> None:
    """The header is whole, so only the decoder notices."""
    made = painted(10)
    path = Path(made["images"]) / "painted4.png"
    path.write_bytes(png(40, 30))
    train_as(run_file(tmp_path, parts, made, max_missing=0.1))
    (line,) = (tmp_path / "out" / "dropped-0.jsonl").read_text().splitlines()
    assert json.loads(line)["picture"] == "painted4.png"
    folder = tmp_path / "out" / "model"
    (source,) = json.loads((folder / "training.json").read_text())["sources"]
    assert (source["missing"], source["dropped"]) == (0, 1)
    assert "unusable: 1" in (folder / "README.md").read_text()


def test_more_than_the_share_stops_the_run(
    parts: dict[str, Any], painted: Painted, tmp_path: Path, train_as: Callable[[Path], None]
) -> None:
    made = painted(10)
    for k in (2, 5):
        (Path(made["images"]) / f"painted{k}.png").write_bytes(png(40, 30))
    with pytest.raises(SystemExit, match=r"painted: 2 of 10 pictures cannot be used.*max_missing"):
        train_as(run_file(tmp_path, parts, made, max_missing=0.1))
    assert not (tmp_path / "out" / "model").exists()
