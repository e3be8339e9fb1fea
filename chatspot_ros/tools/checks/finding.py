"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: `BAD` must be mended, `WARN` may be meant so."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found there, and what to do about it (empty: nothing)."""

    about: str
    level: Level
    says: str
    remedy: str = ""


def ok(about: str, says: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(about, Level.OK, says)


def warn(about: str, says: str, remedy: str) -> Finding:
    """Return a finding that may be meant so."""
    return Finding(about, Level.WARN, says, remedy)


def bad(about: str, says: str, remedy: str) -> Finding:
    """Return a finding that must be mended."""
    return Finding(about, Level.BAD, says, remedy)
