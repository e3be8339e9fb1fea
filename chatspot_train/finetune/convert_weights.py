"""Make safetensors of a checkpoint's pickled weights (`pytorch_model.bin`), without running code.

`chatspot convert-weights --model DIR --out DIR`. A pickle may call any function; torch's
`weights_only` reader builds tensors and refuses all else, and so does this command.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from chatspot_ros.errors import ModelLoadError
from chatspot_ros.util.command_line import Command
from chatspot_train.common.whole_checkpoints import whole_folder

_INDEX, _SINGLE = "pytorch_model.bin.index.json", "pytorch_model.bin"
_KEPT = ("*.json", "*.model", "*.txt", "*.jinja", "*.md", "LICENSE*")


def convert_weights(model: Path, out: Path) -> Path:
    """Write the checkpoint in the folder `model` to `out`, its weights as safetensors.

    Raises ModelLoadError where there are no pickled weights, one is damaged, or one holds more
    than tensors.
    """
    pickled = _pickled(model)
    places: dict[str, str] = {}
    size = 0
    with whole_folder(out) as folder:
        for path in (path for kept in _KEPT for path in sorted(model.glob(kept))):
            if path.name != _INDEX:
                shutil.copyfile(path, folder / path.name)
        for number, path in enumerate(pickled, start=1):
            weights = read_tensors(path)
            name = (
                f"model-{number:05d}-of-{len(pickled):05d}.safetensors"
                if len(pickled) > 1
                else "model.safetensors"
            )
            save_file(dict(_apart(weights)), folder / name, {"format": "pt"})
            places |= dict.fromkeys(weights, name)
            size += sum(weight.nbytes for weight in weights.values())
        if len(pickled) > 1:
            index = {"metadata": {"total_size": size}, "weight_map": places}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    return out


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a pickled file by name. Raises ModelLoadError, as convert_weights."""
    try:
        found = _load(path)
    except (pickle.UnpicklingError, AttributeError, EOFError, LookupError, RuntimeError, ValueError,
            OSError) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise ModelLoadError(
            f"the weights are damaged or hold more than tensors, and are not read: {reason}",
            value=path, remedy="download them again, from their makers",
        ) from error  # fmt: skip
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(one, Tensor) for name, one in found.items()
    ):
        raise ModelLoadError(
            "the file is no dictionary of tensors", value=path,
            remedy="give a folder as transformers wrote it, not a training checkpoint",
        )  # fmt: skip
    return found


def _load(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):  # of a file older than torch 1.6
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _pickled(model: Path) -> list[Path]:
    names: list[str] = [_SINGLE]
    if (model / _INDEX).is_file():
        try:
            names = sorted(set(json.loads((model / _INDEX).read_text())["weight_map"].values()))
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise ModelLoadError(
                "the index of the weights cannot be read", value=model / _INDEX,
                remedy="download it again",
            ) from error  # fmt: skip
    files = [model / Path(name).name for name in names]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ModelLoadError(
            f"there are no pickled weights: {', '.join(missing)} is missing", value=model,
            remedy="give a folder with all pytorch_model*.bin; safetensors need no conversion",
        )  # fmt: skip
    return files


def _apart(weights: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights, each with memory of its own: safetensors refuses shared memory."""
    seen: set[int] = set()
    for name, weight in weights.items():
        start = weight.untyped_storage().data_ptr()
        own = weight.contiguous()
        yield name, own.clone() if start in seen and own is weight else own
        seen.add(start)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="folder with pytorch_model*.bin")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new checkpoint")


def _run(options: argparse.Namespace) -> None:
    print(f"wrote {convert_weights(options.model, options.out)}")


main = Command(
    "convert-weights", _add_arguments, _run, failed=1,
    description="Make safetensors of pickled weights (pytorch_model.bin), without running code.",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
