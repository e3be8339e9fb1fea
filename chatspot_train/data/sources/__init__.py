"""Readers of public data sets, one file each.

A new source is one new file here that calls `registry.register`: this package imports every module
of the folder, so `SOURCES`, `find_source` and the command line know it.
"""

from __future__ import annotations

import importlib
import pkgutil

from chatspot_train.data.sources.base import Source, SourceError
from chatspot_train.data.sources.registry import SOURCES, find_source, register

__all__ = ["SOURCES", "Source", "SourceError", "find_source", "import_sources", "register"]


def import_sources() -> None:
    """Import every module of this package, so that each source registers itself."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


import_sources()
