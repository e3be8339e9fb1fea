"""Load a checkpoint from a folder or hub id onto a device; every error has a remedy."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
)
from transformers.utils import logging as transformers_logging

from chatspot_ros.engine.loading import (
    chat_templates,
    generation_settings,
    memory_estimate,
    quantised_formats,
    quantization,
)
from chatspot_ros.engine.loading.model_classes import import_classes
from chatspot_ros.errors import ModelLoadError

# The files of a checkpoint; its pickled weights and code are never downloaded.
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "chatspot.yaml"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_DOWNLOAD_AGAIN = "download or copy the checkpoint again"
_ANYHOW = memory_estimate.Plan()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory: the model, its tokenizer and its image processor.

    `chat_template` is the one that can carry a picture, empty: none can; `template_faults` says
    why others were passed over.
    """

    folder: Path
    model: Any
    tokenizer: Any
    image_processor: Any
    chat_template: str
    device: torch.device
    dtype: torch.dtype
    template_faults: str = ""


def find_folder(model: str, local_only: bool) -> Path:
    """Return the folder of a checkpoint: the given one, or a hub id's in the cache.

    Raises:
        ModelLoadError: there is no such folder, or the hub id cannot be fetched.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        quantised_formats.refuse_gguf(path)
    if path.exists() or model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelLoadError(
            "there is no such model folder", value=model, remedy="give the folder with config.json"
        )
    try:
        return Path(snapshot_download(model, local_files_only=local_only, allow_patterns=_PATTERNS))
    except LocalEntryNotFoundError as error:
        raise ModelLoadError(
            "the model is not in the local cache" if local_only else "the hub cannot be reached",
            value=model,
            remedy=f"give a folder, allow the download, or fetch it once: hf download {model}",
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelLoadError(
            f"the model cannot be downloaded: {error}",
            value=model,
            remedy="check the id and the access token, or give a folder",
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json. Raises ModelLoadError when it is missing, broken or has no model_type."""
    path = folder / "config.json"
    if not path.is_file():
        quantised_formats.refuse_gguf(folder)
    config = _read_json(path)
    if not isinstance(config, dict) or not config.get("model_type"):
        raise ModelLoadError("config.json has no model_type", value=path, remedy=_DOWNLOAD_AGAIN)
    return config


def check_weights(folder: Path) -> list[Path]:
    """Return the files of the weights.

    Raises:
        ModelLoadError: weights are missing, damaged or no safetensors.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        data = _read_json(index)
        names = data.get("weight_map", {}).values() if isinstance(data, dict) else ()
        files = sorted({folder / str(name) for name in names})
    else:
        files = [folder / "model.safetensors"]
    missing = [path.name for path in files if not path.is_file()]
    if not files or missing:
        quantised_formats.refuse_gguf(folder)
        pickled = [path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
                   for path in sorted(folder.glob(pattern))]  # fmt: skip
        if pickled:
            raise ModelLoadError(
                "the weights are pickled files, which may run code and are not loaded",
                value=pickled[0],
                remedy="convert them with save_pretrained(folder, safe_serialization=True), "
                "or use a checkpoint in safetensors",
            )
        raise ModelLoadError(
            f"weights are missing: {', '.join(missing) or index.name + ' names none'}",
            value=folder,
            remedy=_DOWNLOAD_AGAIN,
        )
    for path in files:
        try:
            # Reading the header compares the file's length with the announced one.
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelLoadError(
                f"the weights are cut off or damaged: {error}",
                value=path,
                remedy=f"{_DOWNLOAD_AGAIN} (of a git clone: git lfs pull)",
            ) from error
    return files


def choose_device(device: str) -> torch.device:
    """Return the device of a name; `auto` prefers CUDA. Raises ModelLoadError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ModelLoadError(
            f"the device cannot be used: {str(error).splitlines()[0]}",
            value=device,
            remedy="use auto, cpu, or cuda on a machine with an NVIDIA GPU and its PyTorch",
        ) from error
    return chosen


def make_current(device: torch.device) -> None:
    """Make a GPU the current one of this thread, which is to own the model.

    Libraries allocate, record and ask for memory there where nobody names a device.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the number format; `auto` is bfloat16 on CUDA and float32 elsewhere."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        raise ModelLoadError(
            "there is no such number format", value=dtype, remedy=f"use auto, {', '.join(_DTYPES)}"
        )
    return _DTYPES[dtype]


def load(
    folder: Path,
    device: str,
    dtype: str,
    plan: memory_estimate.Plan = _ANYHOW,
    packing: Any = None,
    empty: bool = False,
) -> Loaded:
    """Load a checkpoint from a folder onto a device.

    `packing` is a quantisation config of transformers instead of the plan's own. `empty`: its
    weights take no memory and have no values; another process hands them on.

    Raises:
        ModelLoadError: the checkpoint is broken or does not fit.
    """
    import_classes(read_config(folder))
    weights = memory_estimate.read_shapes(check_weights(folder))
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    chosen_device = choose_device(device)
    make_current(chosen_device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    config = _build(
        folder,
        lambda: AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
    )
    plan = replace(plan, dtype=chosen_dtype)
    quantization.check(plan.quantisation, config, chosen_dtype, chosen_device)
    quantised_formats.check(folder, config)
    memory_estimate.check_fit(str(folder), weights, config, plan, chosen_device)
    tokenizer = load_tokenizer(folder, str(config.model_type))
    image_processor = _load_part(
        AutoImageProcessor, folder, "image processor (preprocessor_config.json)"
    )
    template, template_faults = chat_templates.choose(folder, tokenizer)
    shapes = [one.shape for one in weights if quantization.takes(one.name, one.shape)]
    packing = packing or quantization.config_for(plan.quantisation, shapes, chosen_device)
    if empty:
        model = _empty_model(folder, config, chosen_dtype)
    else:
        model = _load_model(folder, chosen_device, chosen_dtype, packing, config)
    return Loaded(
        folder=folder,
        model=model,
        tokenizer=tokenizer,
        image_processor=image_processor,
        chat_template=template,
        device=chosen_device,
        dtype=quantised_formats.compute_dtype(model, config, chosen_dtype),
        template_faults=template_faults,
    )


def load_tokenizer(folder: Path, model_type: str) -> Any:
    """Return the tokenizer of a checkpoint. Raises ModelLoadError.

    The tokenizer.json of Mistral Small 3.1 and 3.2 parts words and numbers wrongly, which
    transformers mends when asked to; with mistral-common it would read their tekken.json instead.
    """
    options = {"fix_mistral_regex": True, "mistral_format": False}
    given = options if model_type == "mistral3" else {}
    return _load_part(AutoTokenizer, folder, "tokenizer (tokenizer.json)", **given)


def _empty_model(folder: Path, config: Any, dtype: torch.dtype) -> Any:
    def build() -> Any:
        with init_empty_weights(include_buffers=False):
            maker: Any = AutoModelForImageTextToText
            return maker.from_config(config, dtype=dtype)

    return _build(folder, build)


def _load_model(
    folder: Path, device: torch.device, dtype: torch.dtype, packing: Any, config: Any
) -> Any:
    options: dict[str, Any] = {"quantization_config": packing} if packing is not None else {}
    quantised = quantization.is_quantised_already(config)
    if packing is not None or quantised or device.type == "cuda":
        # Straight onto the device, weight by weight: on a Jetson, where CPU and GPU share their
        # memory, the model would else be in it twice.
        options["device_map"] = {"": device}
    loaded: Any = _build(
        folder,
        lambda: AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        ),
    )
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelLoadError(
            f"{len(missing)} weights are not in the files, the first is {missing[0]}",
            value=folder,
            remedy="use a checkpoint that belongs to its config.json",
        )
    left = generation_settings.unused(model.generation_config)
    if left:
        said = ", ".join(f"{name} {value}" for name, value in left.items())
        _log.warning("answers are decoded greedily: not used of generation_config.json: %s", said)
    if quantised:
        # It is on its device, and some formats cannot be moved.
        return quantised_formats.settle(model.eval(), config, dtype, device)
    return _build(folder, lambda: model.to(device).eval())


def _build(folder: Path, build: Callable[[], Any]) -> Any:
    """Call `build` for a folder; return its result. Raises ModelLoadError."""
    try:
        return build()
    except torch.OutOfMemoryError as error:
        raise ModelLoadError(
            "the model does not fit into the device's memory",
            value=f"{folder}: {_first_line(error)}",
            remedy="use a smaller model, another device, dtype bfloat16, or quantisation int8 or "
            "int4",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError,
            AttributeError) as error:  # fmt: skip
        raise ModelLoadError(
            f"the model cannot be built: {_first_line(error)}",
            value=folder,
            remedy="use an image-text-to-text checkpoint that transformers knows without remote "
            "code, complete and unchanged",
        ) from error


def _load_part(loader: Any, folder: Path, what: str, **options: Any) -> Any:
    try:
        return loader.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:  # any failure of a damaged file: the libraries' own vary
        raise ModelLoadError(
            f"the {what} cannot be loaded: {_first_line(error)}",
            value=folder,
            remedy="add the files of the checkpoint's processor (processor.save_pretrained)",
        ) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelLoadError(
            f"there is no {path.name}", value=path.parent, remedy="give a checkpoint's folder"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelLoadError(
            f"{path.name} cannot be read: {error}", value=path, remedy=_DOWNLOAD_AGAIN
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
