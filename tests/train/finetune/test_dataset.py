"""What is learned from when: weights, replay, packing, like lengths; and broken records."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from chatspot_train.data.records import Record, RecordError, RecordTurn, write_records
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import (
    AugmentSettings,
    ModelSettings,
    ReplaySettings,
    SourceSettings,
)
from chatspot_train.finetune.dataset import ExampleDataset, PictureRecords, by_length, draw_epoch
from chatspot_train.finetune.model import load_start

Painted = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def encoder(parts: dict[str, Any]) -> Encoder:
    return Encoder(load_start(ModelSettings.model_validate(parts)), 400)


def source(made: dict[str, str], weight: float = 1.0) -> SourceSettings:
    return SourceSettings.model_validate({**made, "weight": weight})


def test_each_source_is_seen_as_often_as_its_weight_says(painted: Painted) -> None:
    sources = [PictureRecords(source(painted(10), w)) for w in (1.0, 0.5, 2.2)]
    pairs = draw_epoch(sources, [], 0.0, 4, np.random.default_rng(0))
    seen = [[k for s, k in pairs if s == number] for number in range(3)]
    assert sorted(seen[0]) == list(range(10))
    assert len(seen[1]) == len(set(seen[1])) == 5
    assert len(seen[2]) == 22
    assert {seen[2].count(k) for k in range(10)} == {2, 3}


def test_replay_is_its_share_of_the_whole(painted: Painted) -> None:
    taught = [PictureRecords(source(painted(60)))]
    earlier = [PictureRecords(source(painted(5, source="old")))]
    pairs = draw_epoch(taught, earlier, 0.25, 4, np.random.default_rng(0))
    replayed = [pair for pair in pairs if pair[0] == 1]
    assert len(pairs) == 80
    assert len(replayed) == 20


def test_batches_hold_items_of_like_length_and_lose_none() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 1000, 203)
    order = by_length(lengths, 8, rng)
    assert sorted(order) == list(range(203))
    batches = [lengths[order[k : k + 8]] for k in range(0, 200, 8)]
    spread = np.mean([b.max() - b.min() for b in batches])
    assert spread < 100  # of single batches drawn anyhow: about 780
    firsts = [int(b.max()) for b in batches]
    assert firsts != sorted(firsts, reverse=True)


def test_neighbours_on_one_picture_are_put_together(tmp_path: Path) -> None:
    turn = RecordTurn("What?", "a mug")
    names = ["a.png", "a.png", "b.png", "a.png"]
    records = [Record("made", str(k), name, 9, 9, (turn,)) for k, name in enumerate(names)]
    write_records(records, tmp_path)
    found = PictureRecords(SourceSettings(records=tmp_path, images=tmp_path))
    assert [(r.image, len(r.turns)) for r in (found[k] for k in range(len(found)))] == [
        ("a.png", 2), ("b.png", 1), ("a.png", 1),
    ]  # fmt: skip


def test_a_run_draws_the_same_examples_again(painted: Painted, encoder: Encoder) -> None:
    data = source(painted(12))
    one, two = (ExampleDataset([data], encoder, epochs=2, batch=3, seed=5) for _ in range(2))
    other = ExampleDataset([data], encoder, epochs=2, batch=3, seed=6)
    names = [one.name(k) for k in range(24)]
    assert names == [two.name(k) for k in range(24)]
    assert names != [other.name(k) for k in range(24)]
    assert sorted(names[:12]) == sorted(names[12:])
    assert len(ExampleDataset([data], encoder, epochs=0.5)) == 6


def test_a_broken_picture_is_named_and_the_next_takes_its_place(
    painted: Painted, encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    made = painted(3)
    (Path(made["images"]) / "painted1.png").write_bytes(b"not a picture")
    examples = ExampleDataset([source(made)], encoder)
    with caplog.at_level(logging.WARNING):
        names = [examples[k]["name"] for k in range(3)]
    assert len(names) == 3
    assert "painted/1" not in names
    assert "painted/1: the picture cannot be decoded" in caplog.text


def test_when_nothing_can_be_used_it_says_so(painted: Painted, encoder: Encoder) -> None:
    made = painted(2)
    for picture in Path(made["images"]).iterdir():
        picture.unlink()
    with pytest.raises(RecordError, match="in a row cannot be used"):
        ExampleDataset([source(made)], encoder)[0]


def test_replay_reaches_the_examples(painted: Painted, encoder: Encoder) -> None:
    replay = ReplaySettings(data=[source(painted(4, source="old"))], share=0.5)
    examples = ExampleDataset([source(painted(4))], encoder, replay=replay)
    names = [examples.name(k).split("/")[0] for k in range(len(examples))]
    assert names.count("old") == names.count("painted") == 4


def test_pictures_and_texts_are_varied_the_same_way_for_the_same_seed(
    painted: Painted, encoder: Encoder
) -> None:
    data = [source(painted(6))]
    varied = AugmentSettings(pictures=True, texts=Path("config/train/synonyms.yaml"))
    plain, one, two = (
        [ExampleDataset(data, encoder, augment=augment)[k] for k in range(6)]
        for augment in (None, varied, varied)
    )

    def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
        return a["input_ids"].tolist() == b["input_ids"].tolist() and bool(
            (
                np.asarray(a["inputs"]["pixel_values"]) == np.asarray(b["inputs"]["pixel_values"])
            ).all()
        )

    assert all(same(a, b) for a, b in zip(one, two, strict=True))
    assert not all(same(a, b) for a, b in zip(one, plain, strict=True))


def many(folder: Path, count: int, group: int, monkeypatch: pytest.MonkeyPatch) -> SourceSettings:
    """Records in row groups of `group`, each of its own picture and length."""
    write = pq.write_table
    monkeypatch.setattr(
        "chatspot_train.data.records.pq.write_table",
        lambda *args, **more: write(*args, **{**more, "row_group_size": group}),
    )
    records = [
        Record("made", str(k), f"{k}.png", 9, 9, (RecordTurn("What?", "m" * (1 + k % 97)),))
        for k in range(count)
    ]
    write_records(records, folder)
    return SourceSettings(records=folder, images=folder)


class Reads:
    """Counts the row groups that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        read = pq.ParquetFile.read_row_group

        def counted(file: Any, *args: Any, **more: Any) -> Any:
            self.count += 1
            return read(file, *args, **more)

        monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)


def test_a_run_reads_each_row_group_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read in any order, 3,000 records decode nearly as many groups of 8."""
    monkeypatch.setattr("chatspot_train.finetune.dataset.WINDOW", 16)
    source = PictureRecords(many(tmp_path, 3000, 8, monkeypatch))
    source._records._groups_kept = 32
    order = [k for _, k in draw_epoch([source], [], 0.0, 4, np.random.default_rng(0))]
    assert sorted(order) == list(range(3000))
    reads = Reads(monkeypatch)
    assert [source[k].id for k in order] == [str(k) for k in order]
    assert reads.count <= 1.2 * 375
    # Four workers or ranks, each with every fourth batch, read no more than each group once.
    mine = PictureRecords(source.source)
    mine._records._groups_kept = 32
    reads.count = 0
    for first in range(0, 3000, 16):
        [mine[k] for k in order[first : first + 4]]
    assert reads.count <= 1.2 * 375


def test_windows_mix_near_and_far_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatspot_train.finetune.dataset.WINDOW", 16)
    source = PictureRecords(many(tmp_path, 3000, 8, monkeypatch))
    order = np.array([k for _, k in draw_epoch([source], [], 0.0, 4, np.random.default_rng(0))])
    again = [k for _, k in draw_epoch([source], [], 0.0, 4, np.random.default_rng(0))]
    assert order.tolist() == again
    assert abs(np.corrcoef(order, np.arange(3000))[0, 1]) < 0.1
    followed = np.mean(np.diff(order) == 1)
    assert followed < 0.05
    lengths = source.lengths[order]
    spread = np.mean(np.ptp(lengths[: 3000 // 4 * 4].reshape(-1, 4), axis=1))
    assert spread < 10  # of batches drawn anyhow: about 58


def test_what_is_learned_often_is_spread_over_the_epoch(
    painted: Painted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small source replayed a thousand times is in one row group, not in one window."""
    monkeypatch.setattr("chatspot_train.finetune.dataset.WINDOW", 16)
    large = PictureRecords(many(tmp_path, 2000, 8, monkeypatch))
    small = PictureRecords(source(painted(4, source="old")))
    pairs = draw_epoch([large], [small], 1 / 3, 4, np.random.default_rng(0))
    replayed = np.array([s for s, _ in pairs])
    assert replayed.sum() == 1000
    quarters = replayed.reshape(4, -1).mean(1)
    assert quarters.min() > 0.15
    assert quarters.max() < 0.55
