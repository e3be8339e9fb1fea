"""Images of unseen kitchens with their truth, rendered once into a folder by several processes.

A kitchen K of a split is `K.jpg` and `K.json` in `folder/kitchens_SPLIT`. `K.json` is written last
and marks a complete kitchen; a run after a kill renders the missing ones. A rendering process ends
when it is done or its reader is gone.

`python -m chatspot_train.evaluation.kitchen.render FOLDER SPLIT FIRST STEP COUNT` is one of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from tqdm import tqdm

from chatspot_ros.errors import ChatspotError
from chatspot_sim.kitchen import Split, draw_kitchen
from chatspot_sim.truth import Truth

PROCESSES = 2
JPEG_QUALITY = 95


class RenderError(ChatspotError):
    """A rendering process failed."""


def folder_of(data: Path, split: Split) -> Path:
    """Return the folder of a split's kitchens."""
    return data / f"kitchens_{split}"


def name_of(number: int) -> str:
    """Return a kitchen's image file; the number is also the image's id in other layouts."""
    return f"{number}.jpg"


def render_kitchens(data: Path, split: Split, count: int, processes: int = PROCESSES) -> list[Path]:
    """Render the missing of the first `count` kitchens of a split; return the images.

    Raises RenderError.
    """
    folder = folder_of(data, split)
    folder.mkdir(parents=True, exist_ok=True)
    missing = count - sum(_truth_file(folder, k).exists() for k in range(count))
    if missing:
        _render(folder, split, count, missing, min(processes, missing))
    return [folder / name_of(number) for number in range(count)]


def truth_of(picture: Path) -> Truth:
    """Return the truth of a rendered image. Raises OSError if it was not rendered."""
    return Truth.from_json(picture.with_suffix(".json").read_text(encoding="utf-8"))


def _truth_file(folder: Path, number: int) -> Path:
    return folder / f"{number}.json"


def _render(folder: Path, split: Split, count: int, missing: int, processes: int) -> None:
    """Run the processes; each reports its kitchens as lines of one pipe, which ends with the
    last process."""
    source, sink = os.pipe()
    environment = {"LP_NUM_THREADS": "1", **os.environ}
    command = [sys.executable, "-m", __name__, str(folder), split]
    running = [
        subprocess.Popen([*command, str(first), str(processes), str(count)], stdout=sink,
                         stdin=subprocess.DEVNULL, env=environment)
        for first in range(processes)
    ]  # fmt: skip
    os.close(sink)
    try:
        with os.fdopen(source, encoding="utf-8") as lines:
            for _ in tqdm(lines, total=missing, desc=f"rendering {split} kitchens"):
                pass
    finally:
        # Without a reader each process ends at its next kitchen.
        codes = [process.wait() for process in running]
    if any(codes):
        raise RenderError(
            "kitchens could not be rendered", value=f"exit statuses {codes}",
            remedy="see what was said above; run it again to go on",
        )  # fmt: skip


def _render_some(folder: Path, split: Split, numbers: range) -> Iterator[int]:
    """Render the missing kitchens; yield each when it is complete."""
    # Imported here, as the import starts the renderer.
    import cv2

    from chatspot_sim.world import World

    cv2.setNumThreads(1)
    for number in numbers:
        done = _truth_file(folder, number)
        if done.exists():
            continue
        with World(draw_kitchen(number, split)) as world:
            frame = world.frame(measure_visibility=True)
        bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
        ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not ok:
            raise OSError(f"OpenCV could not encode the picture of kitchen {number} as JPEG")
        _write(folder / name_of(number), data.tobytes())
        _write(done, frame.truth.to_json().encode())
        yield number


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    part = path.with_suffix(f"{path.suffix}.part{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)


def main(arguments: list[str]) -> int:
    """Render every STEP-th kitchen from FIRST on, below COUNT."""
    folder, split, first, step, count = arguments
    numbers = range(int(first), int(count), int(step))
    try:
        for number in _render_some(Path(folder), cast(Split, split), numbers):
            print(number, flush=True)
    except BrokenPipeError:
        # The reader is gone: avoid another error when stdout is flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
