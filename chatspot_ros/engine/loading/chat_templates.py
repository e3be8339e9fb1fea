"""The chat template of a checkpoint: published in several files, of which some know no picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatspot_ros.engine.loading.template_trial import find_endless
from chatspot_ros.errors import ModelLoadError, shorten

_ASKED = "What is this?"
# Written where a template prints the parts of a message instead of reading them.
_PRINTED = ("'type'", '"type"')


def choose(folder: Path, tokenizer: Any) -> tuple[str, str]:
    """Return the first template that can carry a picture, and what is wrong with those before it.

    The order is that of transformers' processors: `chat_template.jinja`, `chat_template.json`,
    `processor_config.json`; then the tokenizer's, which is often for text alone. The template is
    empty where none can carry a picture. Raises ModelLoadError for a file that cannot be read.
    """
    faults: list[str] = []
    for source, template in _candidates(folder, tokenizer):
        fault = find_fault(tokenizer, template)
        if not fault:
            return template, "; ".join(faults)
        faults.append(f"{source}: {fault}")
    return "", "; ".join(faults)


def find_fault(tokenizer: Any, template: str) -> str:
    """Return why a template cannot carry a picture; empty: it can. Raises ModelLoadError."""
    if endless := find_endless(tokenizer, template):
        return endless
    shown = _message({"type": "image"}, {"type": "text", "text": _ASKED})
    try:
        with_picture = render(tokenizer, template, shown, True)
        without = render(tokenizer, template, _message({"type": "text", "text": _ASKED}), True)
    except Exception as error:  # a template is a program: any error may come of it
        return shorten(f"{type(error).__name__}: {error}")
    if _ASKED not in with_picture or any(mark in with_picture for mark in _PRINTED):
        return "it reads no list of parts"
    return "" if with_picture != without else "it leaves the picture out"


def render(
    tokenizer: Any, template: str, messages: list[dict[str, Any]], add_generation_prompt: bool
) -> str:
    """Return a conversation as text. Whatever a template raises goes through.

    Models that reason or answer at once, as asked (Qwen3.5, Gemma 4), are asked to answer at once.
    """
    return str(
        tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            tokenize=False,
            enable_thinking=False,
        )
    )


def _message(*parts: dict[str, str]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def _candidates(folder: Path, tokenizer: Any) -> Iterator[tuple[str, str]]:
    """Yield the templates of a checkpoint with the names of their files, the best first."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        yield own.name, _read_text(own)
    for name in ("chat_template.json", "processor_config.json"):
        if (folder / name).is_file():
            yield from ((name, one) for one in _default_of(_read_json(folder / name)))
    # The tokenizer's class reads chat_template.jinja too.
    known = tokenizer.chat_template
    yield from (("tokenizer_config.json", one) for one in _default_of({"chat_template": known}))


def _default_of(settings: Any) -> Iterator[str]:
    """Yield the template of settings; of several named ones that with the name `default`."""
    found = settings.get("chat_template") if isinstance(settings, dict) else None
    if isinstance(found, dict):
        found = found.get("default")
    if isinstance(found, str) and found:
        yield found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except ValueError as error:
        raise _unreadable(path, error) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ModelLoadError:
    return ModelLoadError(
        f"{path.name} cannot be read: {error}",
        value=path,
        remedy="download or copy the checkpoint again",
    )
