"""What chatspot-small learned, apart from its pretrained parts: `chatspot compose`, and back.

An adaptation is a folder with everything of the model but the pretrained weights: its settings,
tokenizer and processor, and `adaptation.safetensors` with the whole projection, the weights of the
vision tower where they changed, the rows of the embedding that are new (`<name>.new_rows`), and for
each other changed matrix of the language model two thin factors (LoRA), W = W0 + B A
(`<name>.lora_A`, `.lora_B`).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from chatspot_ros.chatspot_small.pretrained import (
    LANGUAGE_FOLDER,
    SOURCE_STAMP,
    VISION_FOLDER,
    make_readable,
)
from chatspot_ros.errors import ModelLoadError, shorten

ADAPTATION, WEIGHTS, STAMP = "adaptation.safetensors", "model.safetensors", "composed.sha256"
# What is learned of a pretrained weight: all of it, two factors of its change, further rows.
_WHOLE, _DOWN, _UP, _ROWS = "", ".lora_A", ".lora_B", ".new_rows"
_KINDS = (_WHOLE, _DOWN, _UP, _ROWS)
_VISION, _LANGUAGE, _HEAD = "vision_tower.", "language_model.", "language_model.lm_head.weight"
# Differences below this share of a tensor's largest value are rounding.
_ROUNDING = 2e-3


def base_weights(parts: Path) -> dict[str, Tensor]:
    """Return the pretrained weights by the composed model's names. Raises ModelLoadError."""
    named: dict[str, Tensor] = {}
    for folder, prefix in ((VISION_FOLDER, _VISION), (LANGUAGE_FOLDER, _LANGUAGE)):
        weights = _load(parts / folder / WEIGHTS, "run chatspot pretrained")
        named.update({f"{prefix}{name}": value for name, value in weights.items()})
    return named


def joined(base: Mapping[str, Tensor], learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the composed model's weights in float16. Raises ModelLoadError where the two do not
    belong together."""
    used: set[str] = set()
    made: dict[str, Tensor] = {}
    for name, value in base.items():
        parts = {kind: learned[name + kind] for kind in _KINDS if name + kind in learned}
        used |= {name + kind for kind in parts}
        if name != _HEAD:  # the embedding, once more
            made[name] = _half(_changed(name, value, parts))
    if foreign := [one for one in learned if one not in used and one.endswith(_KINDS[1:])]:
        raise _foreign(foreign[0])
    return made | {name: _half(value) for name, value in learned.items() if name not in used}


def _changed(name: str, value: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    """Return a pretrained weight with what was learned. Raises ModelLoadError."""
    if _WHOLE in parts:
        value = parts[_WHOLE]
    try:
        if _DOWN in parts:
            value = value.float() + parts[_UP].float() @ parts[_DOWN].float()
        if _ROWS in parts:
            value = torch.cat([value.float(), parts[_ROWS].float()])
    except (KeyError, RuntimeError) as error:
        raise _foreign(name) from error
    return value


def split(
    base: Mapping[str, Tensor], trained: Mapping[str, Tensor], rank: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield the adaptation that makes `trained` of `base`, its factors of at most `rank`.

    A sum of low-rank changes is one of their ranks' sum; beyond `rank` the smallest are lost.
    """
    for name, value in trained.items():
        if name == _HEAD:
            continue
        before = base.get(name)
        if before is None:
            yield name, _half(value)
        elif value.shape != before.shape:
            yield name + _ROWS, _half(value[len(before) :])
        elif _differs(value, before):
            if value.dim() == 2 and name.startswith(_LANGUAGE):
                down, up = _factors(value.float() - before.float(), rank)
                yield name + _DOWN, _half(down)
                yield name + _UP, _half(up)
            else:
                yield name, _half(value)


def compose(parts: Path, adaptation: Path, out: Path) -> bool:
    """Write the model as an ordinary folder, unless `out` is composed of the same already.

    Return whether it was written. Raises ModelLoadError: a missing or damaged part.
    """
    stamp = _stamp(parts, adaptation)
    if (out / STAMP).is_file() and (out / STAMP).read_text().strip() == stamp:
        return False
    weights = joined(base_weights(parts), _load(adaptation / ADAPTATION, "check the checkout out"))
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(adaptation, part, ignore=shutil.ignore_patterns(ADAPTATION))
    save_file(weights, part / WEIGHTS, {"format": "pt"})
    (part / STAMP).write_text(stamp + "\n")
    make_readable(part)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return True


def extract(parts: Path, trained: Path, out: Path, rank: int) -> int:
    """Write the adaptation of a trained folder; return the bytes of its weights. Raises
    ModelLoadError."""
    weights = _load(trained / WEIGHTS, "give the folder that training exported")
    learned = dict(split(base_weights(parts), weights, rank))
    shutil.copytree(trained, out, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns(WEIGHTS, STAMP))  # fmt: skip
    save_file(learned, out / ADAPTATION, {"format": "pt"})
    make_readable(out)
    return (out / ADAPTATION).stat().st_size


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    kept = max(1, min(rank, int((sizes > sizes[0] * 1e-3).sum())))
    root = sizes[:kept].sqrt()
    return root[:, None] * right[:kept], left[:, :kept] * root


def _differs(value: Tensor, before: Tensor) -> bool:
    if not value.is_floating_point():
        return False
    change = (value.float() - before.float()).abs().max()
    return bool(change > _ROUNDING * before.float().abs().max())


def _half(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).contiguous()


def _load(file: Path, remedy: str) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelLoadError(
            f"the weights cannot be read: {shorten(str(error))}", value=file, remedy=remedy
        ) from error


def _foreign(name: str) -> ModelLoadError:
    return ModelLoadError(
        "the adaptation does not belong to these pretrained parts", value=name,
        remedy="check out the folder of the adaptation anew",
    )  # fmt: skip


def _stamp(parts: Path, adaptation: Path) -> str:
    """Return a hash of everything that the composed folder is made of."""
    digest = hashlib.sha256()
    sources = [parts / folder / SOURCE_STAMP for folder in (VISION_FOLDER, LANGUAGE_FOLDER)]
    for path in [*sources, *sorted(p for p in adaptation.iterdir() if p.is_file())]:
        try:
            digest.update(path.name.encode() + path.read_bytes())
        except OSError as error:
            raise ModelLoadError(
                "a part of the model is missing", value=path, remedy="run chatspot pretrained"
            ) from error
    return digest.hexdigest()
