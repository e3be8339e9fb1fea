"""Memory and cores that the process may use, within its control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_TOPOLOGY = Path("/sys/devices/system/cpu")
# Version 1 writes "no limit" as the largest number of whole pages.
_NO_LIMIT = 2**60


def free_memory(device: torch.device) -> int:
    """Return the bytes that can still be allocated on a device.

    On a GPU with its own memory: CUDA's free bytes and PyTorch's unused ones. A Jetson's GPU shares
    the CPU's memory, and CUDA does not count the file cache there, which the system frees on
    demand: so the larger of both numbers.
    """
    if device.type != "cuda":
        return free_host_memory()
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if torch.cuda.get_device_properties(device).is_integrated:
        return max(free, free_host_memory())
    return int(free)


def free_host_memory(
    meminfo: Path = _MEMINFO, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP
) -> int:
    """Return the usable bytes of main memory, within the control groups' limits."""
    available = _entry(meminfo, "MemAvailable:") * 1024
    return min([available, *_cgroup_memory(cgroups, membership)])


def cores(
    cpus: Iterable[int] | None = None,
    topology: Path = _TOPOLOGY,
    cgroups: Path = _CGROUPS,
    membership: Path = _MEMBERSHIP,
) -> int:
    """Return the number of cores for the process: hyperthreads counted once, at least 1.

    `cpus` None: those of the process's affinity. A quota of CPU time counts as whole cores,
    rounded up.
    """
    allowed = os.sched_getaffinity(0) if cpus is None else set(cpus)
    physical = {
        _read(topology / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in allowed
    }
    quotas = [math.ceil(quota) for quota in _cgroup_cpus(cgroups, membership)]
    return max(1, min([len(physical), *quotas]))


def _cgroup_memory(cgroups: Path, membership: Path) -> Iterator[int]:
    """Yield the bytes left in each control group of the process."""
    for folder in _groups(cgroups, membership, "memory"):
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None and most < _NO_LIMIT:
                yield max(0, most - now + _entry(folder / "memory.stat", cache))


def _cgroup_cpus(cgroups: Path, membership: Path) -> Iterator[float]:
    """Yield the CPU quota of each control group of the process, in CPUs."""
    for folder in _groups(cgroups, membership, "cpu"):
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit():
            yield int(words[0]) / int(words[1])
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            yield quota / period


def _groups(cgroups: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the process's group for a controller and of all its parents."""
    for line in _read(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controllers if controllers else cgroups
        folder = root / path.lstrip("/")
        # Inside a container the path may be the host's: then only the root exists.
        yield from (one for one in (folder, *folder.parents) if one.is_relative_to(root))


def _entry(path: Path, name: str) -> int:
    """Return the number behind a name in a file of lines `name number`; 0 without one."""
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value.removesuffix("kB"))
    return 0


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text.lstrip("-").isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
