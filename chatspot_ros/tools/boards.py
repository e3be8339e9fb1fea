"""Names this machine, and writes the table of machines in docs/boards.md."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

from chatspot_ros.errors import ChatspotError
from chatspot_ros.tools.bench_run import COUNTS, Measured
from chatspot_ros.util.atomic_write import write_whole

# Jetsons and other boards name themselves here, PCs in the second.
_NAMES = (
    Path("/proc/device-tree/model"),
    Path("/sys/devices/virtual/dmi/id/product_name"),
)
_CPUINFO = Path("/proc/cpuinfo")
_ROWS = "<!-- rows -->"
COLUMNS = (
    "machine", "processor or GPU", "model", "precision", "torch", "load", "peak memory",
    "first token, new picture", "first token, same picture", "tokens/s",
    *(f"regions/s, {count}" for count in COUNTS), "measured",
)  # fmt: skip
_SAME = 4  # the first columns name the row


class TableError(ChatspotError):
    """A file has no table of machines."""


def machine_name(names: tuple[Path, ...] = _NAMES) -> str:
    """Return what the machine calls itself, such as `NVIDIA Jetson AGX Orin`; else its kind."""
    for path in names:
        try:
            name = path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
        except OSError:
            continue
        if name:
            return name
    return f"{platform.system()} {platform.machine()}"


def processor_name(device: str, threads: int, cpuinfo: Path = _CPUINFO) -> str:
    """Return the GPU of a CUDA device, else the processor with the number of threads in use."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    name = platform.machine()
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                name = value.strip()
                break
    except OSError:
        pass
    return f"{name}, {threads} thread{'s' if threads != 1 else ''} of {os.cpu_count()}"


def row_cells(measured: Measured, *, model: str, machine: str, note: str) -> list[str]:
    """Return the cells of a row, in the order of COLUMNS."""
    import torch

    memory = f"{measured.peak_rss_bytes / 1e9:.2f} GB"
    if measured.peak_device_bytes is not None:
        memory += f", GPU {measured.peak_device_bytes / 1e9:.2f} GB"
    cells = [
        machine,
        processor_name(measured.device, measured.threads),
        model,
        measured.dtype,
        torch.__version__,
        f"{measured.load_s:.1f} s",
        memory,
        f"{measured.first_token_s:.3f} s",
        f"{measured.next_first_token_s:.3f} s",
        _rate(measured.tokens_per_s),
        *(_rate(measured.regions_per_s.get(count)) for count in COUNTS),
        time.strftime("%Y-%m-%d") + (f"; {note}" if note else ""),
    ]
    return [" ".join(cell.replace("|", "/").split()) for cell in cells]


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def as_row(cells: list[str]) -> str:
    """Return cells as a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def put_row(file: Path, cells: list[str]) -> None:
    """Put a row into the table of a file; it replaces one of the same machine, processor, model and
    precision.

    Raises:
        TableError: the file cannot be read, or has no place for rows.
        OutputError: it cannot be written.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        lines.index(_ROWS)
    except (OSError, ValueError) as error:
        raise TableError(
            f"there is no table with the line {_ROWS}", value=str(file),
            remedy="name docs/boards.md of this package, or leave the file out to print the row",
        ) from error  # fmt: skip
    key = cells[:_SAME]
    kept = [line for line in lines if _cells(line)[:_SAME] != key]
    kept.insert(kept.index(_ROWS), as_row(cells))
    write_whole(file, "\n".join(kept) + "\n")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def lines_for_people(cells: list[str]) -> Mapping[str, str]:
    """Return the row as names and values."""
    return dict(zip(COLUMNS, cells, strict=True))
