"""Tries a chat template in a process of its own, bounded in time and memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatspot_ros.engine.prompting.template_program import NO_MEMORY

SECONDS = 10.0
MEGABYTES = 512
# Within which the process must have started, on a busy machine.
_START_SECONDS = 110.0
_PROGRAM = Path(__file__).with_name("template_program.py")


def ends_soon(
    template: str,
    conversations: Sequence[dict[str, Any]],
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
) -> bool:
    """Return whether a template renders all conversations within this time and this much memory.

    A conversation is the arguments of `transformers`' rendering besides the template: `messages`
    and other variables. An error of the template is an end too. What was tried once in this process
    is not tried again. Raises ChildProcessError where the process could not try it.
    """
    task = {
        "path": sys.path, "template": template, "conversations": conversations,
        "seconds": seconds, "megabytes": megabytes,
    }  # fmt: skip
    return _try(json.dumps(task, default=str))


@lru_cache
def _try(task: str) -> bool:
    limit = json.loads(task)["seconds"] + _START_SECONDS
    program = [sys.executable, "-I", str(_PROGRAM)]
    done = subprocess.run(
        program, input=task, capture_output=True, text=True, timeout=limit, check=False
    )
    if done.returncode not in (0, NO_MEMORY, -signal.SIGALRM):
        raise ChildProcessError(
            f"the chat template could not be tried: exit status {done.returncode}, "
            f"{done.stderr.strip().rpartition(chr(10))[2]}"
        )
    return done.returncode == 0
