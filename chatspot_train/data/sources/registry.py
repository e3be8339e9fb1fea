"""The table of data sources. A source registers itself; importing the package fills the table."""

from __future__ import annotations

from chatspot_train.data.sources.base import Source, SourceError

SOURCES: dict[str, Source] = {}


def register(source: Source) -> Source:
    """Add a source to SOURCES and return it. Raises ValueError where the name is taken."""
    if source.name in SOURCES:
        raise ValueError(f"two sources are named {source.name!r}: rename one of them")
    SOURCES[source.name] = source
    return source


def find_source(name: str) -> Source:
    """Return the source of this name. Raises SourceError for an unknown one."""
    if name not in SOURCES:
        raise SourceError(
            "there is no such source", value=name, remedy=f"use one of {', '.join(SOURCES)}"
        )
    return SOURCES[name]
