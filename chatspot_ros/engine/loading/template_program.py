"""The program that tries a chat template. It reads what to render from its standard input.

It ends with 0, with NO_MEMORY, or by the signal of its alarm.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

NO_MEMORY = 3


def _bound(seconds: float, megabytes: int) -> None:
    """Let the process have this much more memory, and the system end it after this time."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    room = int(pages[0]) * resource.getpagesize() + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> int:
    """Render all conversations; return the exit status."""
    from transformers.utils.chat_template_utils import render_jinja_template

    task = json.load(sys.stdin)
    _bound(task["seconds"], task["megabytes"])
    for messages in task["conversations"]:
        try:
            render_jinja_template(
                conversations=[messages],
                chat_template=task["template"],
                add_generation_prompt=True,
                enable_thinking=False,
                **task["variables"],
            )
        except MemoryError:
            return NO_MEMORY
        except Exception:  # a template is a program: any error may come of it, and is an end
            continue
    return 0


if __name__ == "__main__":
    os._exit(main())
