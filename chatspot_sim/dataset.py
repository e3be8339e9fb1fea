"""Kitchens rendered once to disk by several processes, and read back without copying.

A folder holds shards `NNNN/`: `rgb.npy` (uint8 N x H x W x 3, RGB), `labels.npy` (uint8 N x H x W,
numbers of the truth's things from 1, 0 the room) and `truth.jsonl`, one line a picture. The
pictures are already stretched to the model's size; truth is in pixels of the camera's picture.
A shard is moved into place when it is whole: a run that was killed resumes there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from chatspot_ros.util.command_line import Command
from chatspot_sim.kitchen import Split, draw_kitchen
from chatspot_sim.truth import Truth

CAMERA_SIZE = (640, 480)
KITCHENS_PER_SHARD = 50


@dataclass(frozen=True)
class Job:
    """One shard: kitchens `first` .. `first + count - 1` of a split, several moments of each."""

    out: str
    split: Split
    first: int
    count: int
    moments: int
    size: int


def render_shard(job: Job) -> str:
    """Render one shard unless it exists; return its folder."""
    os.environ.setdefault("LP_NUM_THREADS", "1")
    import cv2

    from chatspot_sim.world import World

    cv2.setNumThreads(1)
    folder = Path(job.out) / f"{job.first:06d}"
    if folder.exists():
        return str(folder)
    total = job.count * job.moments
    rgb = np.zeros((total, job.size, job.size, 3), np.uint8)
    labels = np.zeros((total, job.size, job.size), np.uint8)
    lines: list[str] = []
    for seed in range(job.first, job.first + job.count):
        rng = np.random.default_rng([seed, 31])
        with World(draw_kitchen(seed, job.split), *CAMERA_SIZE) as world:
            for moment in range(job.moments):
                if moment:
                    world.rearrange(rng)
                frame = world.frame(measure_visibility=True)
                k = len(lines)
                wanted = (job.size, job.size)
                rgb[k] = cv2.resize(frame.rgb, wanted, interpolation=cv2.INTER_AREA)
                labels[k] = cv2.resize(frame.labels, wanted, interpolation=cv2.INTER_NEAREST)
                lines.append(frame.truth.to_json())
    part = folder.with_suffix(f".part{os.getpid()}")
    part.mkdir(parents=True, exist_ok=True)
    np.save(part / "rgb.npy", rgb)
    np.save(part / "labels.npy", labels)
    (part / "truth.jsonl").write_text("\n".join(lines) + "\n")
    try:
        part.rename(folder)
    except OSError:
        shutil.rmtree(part)  # another run finished this shard first
    return str(folder)


def render(
    out: Path, split: Split, kitchens: int, moments: int = 4, size: int = 224, processes: int = 2,
    first: int = 0,
) -> None:  # fmt: skip
    """Render `kitchens` kitchens of a split, from number `first` on, into `out`."""
    jobs = [
        Job(
            str(out), split, begin, min(KITCHENS_PER_SHARD, first + kitchens - begin), moments, size
        )
        for begin in range(first, first + kitchens, KITCHENS_PER_SHARD)
    ]
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "split": split, "first": first, "kitchens": kitchens, "moments": moments, "size": size,
    }  # fmt: skip
    (out / "settings.json").write_text(json.dumps(settings, indent=1))
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        done = pool.imap_unordered(render_shard, jobs)
        for _ in tqdm(done, total=len(jobs), desc=f"kitchens ({split})", unit="shard"):
            pass


class RenderedKitchens:
    """The pictures of a folder, by number. Arrays are memory-mapped."""

    def __init__(self, folder: Path) -> None:
        """Open all finished shards. Raises FileNotFoundError if there is none."""
        self._rgb: list[NDArray[np.uint8]] = []
        self._labels: list[NDArray[np.uint8]] = []
        self._lines: list[str] = []
        self._where: list[tuple[int, int]] = []
        shards = sorted(p for p in Path(folder).glob("[0-9]*") if p.suffix == "")
        if not shards:
            raise FileNotFoundError(
                f"no rendered kitchens in {folder}; run `chatspot render` first"
            )
        for number, shard in enumerate(shards):
            self._rgb.append(np.load(shard / "rgb.npy", mmap_mode="r"))
            self._labels.append(np.load(shard / "labels.npy", mmap_mode="r"))
            self._lines += (shard / "truth.jsonl").read_text().splitlines()
            self._where += [(number, k) for k in range(len(self._rgb[-1]))]

    def __len__(self) -> int:
        return len(self._where)

    def rgb(self, index: int) -> NDArray[np.uint8]:
        """Return a picture: uint8 H x W x 3, RGB."""
        shard, k = self._where[index]
        return self._rgb[shard][k]

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Return the thing number of each pixel, from 1; 0 is the room. uint8 H x W."""
        shard, k = self._where[index]
        return self._labels[shard][k]

    def truth(self, index: int) -> Truth:
        """Return the truth of a picture."""
        return Truth.from_json(self._lines[index])


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train")
    parser.add_argument("--kitchens", type=int, default=2500, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first kitchen")
    parser.add_argument("--moments", type=int, default=4, help="pictures of each kitchen")
    parser.add_argument("--size", type=int, default=224, help="side of the stored pictures")
    parser.add_argument("--processes", type=int, default=2)


def _run(options: argparse.Namespace) -> None:
    render(options.out, options.split, options.kitchens, options.moments, options.size,
           options.processes, options.first)  # fmt: skip


main = Command(
    "render", _add_arguments, _run, description="Render simulated kitchens to disk.", failed=1
)

if __name__ == "__main__":
    sys.exit(main())
