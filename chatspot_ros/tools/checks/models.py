"""The GPU, and which models fit into the memory of the device."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from chatspot_ros.engine.remote.config import is_remote, shown
from chatspot_ros.errors import ChatspotError
from chatspot_ros.tools.checks.finding import Finding, bad, ok, warn
from chatspot_ros.util.resources import bundled_models, find_model, share_folder

# The file by which a bundled model says how it reads regions; a detector has none.
_SPEC = "chatspot.yaml"


def check_gpu() -> Finding:
    """Look whether torch can use a GPU, and whether a machine with one has torch for it."""
    try:
        import torch
    except Exception as error:
        return bad("GPU", f"torch cannot be used: {error}", "install the package again")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return ok("GPU", f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    if shutil.which("nvidia-smi"):
        return warn(
            "GPU", f"there is NVIDIA's driver, and torch {torch.__version__} does not use the GPU",
            "install torch with CUDA (its own page says how), or look at nvidia-smi",
        )  # fmt: skip
    return ok("GPU", "none: models run on the processors (chatspot-tiny, chatspot-small)")


def check_models(given: Iterable[str], device: str = "auto") -> Iterator[Finding]:
    """Look whether the bundled models, and those that were named, fit into the device's memory.

    A bundled one that does not fit is a warning; a named one must fit.
    """
    for name in bundled_models():
        if (share_folder() / "models" / name / _SPEC).exists():
            yield _check_model(name, device, is_given=False)
    for name in given:
        is_server = is_remote(name)
        yield _check_server(name) if is_server else _check_model(name, device, is_given=True)


def _check_server(name: str) -> Finding:
    """Look whether the settings of a model on a server can be used; the server is not asked."""
    from chatspot_ros.engine.remote.config import read_config, read_key
    from chatspot_ros.engine.remote.engine import spec_of

    about = f"model {shown(name)}"
    try:
        config = read_config(name)
        key, family = read_key(config), spec_of(config).name
    except ChatspotError as error:
        return bad(about, f"{error.problem} ({error.value})", error.remedy)
    return ok(
        about,
        f"{config.model} at {config.url}, a {family}, {'with a' if key else 'without'} key; its "
        "server was not asked",
    )


def _check_model(name: str, device: str, *, is_given: bool) -> Finding:
    from chatspot_ros.engine.engine_config import EngineConfig
    from chatspot_ros.engine.loading.checkpoint import find_folder
    from chatspot_ros.engine.loading.fit import check_fit
    from chatspot_ros.engine.loading.memory_estimate import MB, Plan

    about, default = f"model {name}", EngineConfig()
    plan = Plan("none", default.memory_tokens, default.memory_reserve_mb * MB)
    try:
        folder = find_folder(find_model(name), local_only=True)
        needed, where = check_fit(Path(folder), device, "auto", plan)
    except ChatspotError as error:
        tell = bad if is_given else warn
        return tell(about, f"{error.problem} ({error.value})", error.remedy)
    except Exception as error:  # a broken folder, in whatever way
        return bad(about, f"cannot be read: {error}", "download or compose it again")
    return ok(about, f"needs {needed}: fits on {where}")
