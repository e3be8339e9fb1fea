"""Records a second of random access: by whole row groups, and as a training run reads.

`scripts/run python -m benchmarks.record_reading [--records N]` writes records of some 1 kB (three
turns with boxes) and reads them in a random order and in the order of a training run, in one
process, as each worker of a run does. Pictures are not read. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import Record, Records, RecordTurn, write_records
from chatspot_train.finetune.config import SourceSettings
from chatspot_train.finetune.dataset import PictureRecords, draw_epoch

WORDS = ("the", "red", "mug", "stands", "on", "a", "table", "next", "to", "white", "plates")


def make_records(count: int, seed: int = 0) -> Iterable[Record]:
    """Yield records with three turns each, of random words and boxes."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        turns = []
        for _ in range(3):
            x, y = int(rng.integers(300)), int(rng.integers(200))
            answer = " ".join(rng.choice(WORDS, int(rng.integers(20, 90))))
            box = Region.box(x, y, x + 40, y + 30)
            turns.append(RecordTurn("What is <region>?", answer, (box,)))
        yield Record("made", str(k), f"{k}.jpg", 640, 480, tuple(turns))


def decode_whole_groups(records: Records, order: Sequence[int]) -> None:
    """Make Python objects of the whole row group of each record, as once was done."""
    kept, rows = -1, []
    for index in order:
        group = records.group_of(index)
        if group != kept:
            kept, rows = group, records.table(group).to_pylist()
        rows[index - records.first_of(group)]


def per_second(read: Callable[[], object], count: int) -> float:
    """Return the records a second of processor time of a call that reads `count` records."""
    began_s = time.process_time()
    read()
    return count / (time.process_time() - began_s)


def main() -> None:
    """Print the rates and the ratio of the last to the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(make_records(options.records), folder)
        whole = Records(folder, groups_kept=1)
        anyhow = np.random.default_rng(1).permutation(len(whole))[:200].tolist()
        before = per_second(lambda: decode_whole_groups(whole, anyhow), len(anyhow))
        single = per_second(lambda: [whole[k] for k in anyhow], len(anyhow))
        source = PictureRecords(
            SourceSettings.model_validate({"records": folder, "images": folder})
        )
        order = draw_epoch([source], [], 0.0, 8, np.random.default_rng(1))
        after = per_second(lambda: [source[k] for _, k in order], len(order))
    print(f"whole row groups, any order {before:8.0f} records/s")
    print(f"single rows, any order      {single:8.0f} records/s")
    print(f"a run's order               {after:8.0f} records/s, {after / before:.0f} times")


if __name__ == "__main__":
    main()
