"""Tries a chat template in a process of its own, bounded in time and memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatspot_ros.engine.loading.template_program import NO_MEMORY
from chatspot_ros.errors import ModelLoadError

SECONDS = 10.0
MEGABYTES = 512
# Within which the process must have started, on a busy machine.
_START_SECONDS = 110.0
_PROGRAM = Path(__file__).with_name("template_program.py")
_TEXT = {"type": "text", "text": "What is this?"}
_SHOWN = {"role": "user", "content": [{"type": "image"}, _TEXT]}
_ASKED = {"role": "user", "content": [_TEXT]}
_SAID = {"role": "assistant", "content": [_TEXT]}
# A template may treat pictures, and conversations of several turns, differently.
_CONVERSATIONS = [[_SHOWN], [_ASKED], [_SHOWN, _SAID, _ASKED, _SAID, _ASKED]]


def find_endless(tokenizer: Any, template: str) -> str:
    """Return what is wrong with a template that takes too much time or memory; empty: nothing.

    An error of the template is an end too. What was tried once in this process is not tried again.
    Raises ModelLoadError where it cannot be tried.
    """
    task = {
        "template": template, "variables": tokenizer.special_tokens_map,
        "conversations": _CONVERSATIONS, "seconds": SECONDS, "megabytes": MEGABYTES,
    }  # fmt: skip
    try:
        ended = _try(json.dumps(task, default=str))
    except (OSError, subprocess.SubprocessError) as error:
        raise ModelLoadError(
            "the chat template could not be tried",
            value=error,
            remedy="see whether this machine can start another Python process",
        ) from error
    return "" if ended else f"it does not end within {SECONDS:g} s and {MEGABYTES} MB"


@lru_cache
def _try(task: str) -> bool:
    done = subprocess.run(
        [sys.executable, str(_PROGRAM)], input=task, capture_output=True, text=True,
        timeout=SECONDS + _START_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode not in (0, NO_MEMORY, -signal.SIGALRM):
        said = done.stderr.strip().rpartition("\n")[2]
        raise ChildProcessError(f"exit status {done.returncode}, {said}")
    return done.returncode == 0
