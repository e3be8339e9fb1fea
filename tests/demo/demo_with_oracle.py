"""The demo with the oracle instead of the bundled model, as a program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from chatspot_sim import demo
from chatspot_sim.processes import installed

ORACLE = (sys.executable, str(Path(__file__).with_name("oracle_node.py")))


def command(name: str) -> tuple[str, ...]:
    if name != demo.NODE:
        return installed(name)
    return ("false",) if os.environ.get("ORACLE_DIES") else ORACLE


demo.installed = command  # type: ignore[assignment]
sys.exit(demo.main(sys.argv[1:]))
