"""The changes of state that were seen, for the service ~/history."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from chatspot_ros.errors import shorten
from chatspot_ros.server.watch_tracker import Change


@dataclass(frozen=True)
class SeenChange:
    """A change, and the stamp and frame_id of the picture that shows it."""

    change: Change
    stamp_ns: int = 0
    frame_id: str = ""


class WatchHistory:
    """The newest changes, at most `limit`, in the order in which they were seen."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: deque[SeenChange] = deque(maxlen=limit)
        self._dropped = 0
        # Changes up to this number, counted from the first one ever, are of a time before.
        self._set_back_at = 0

    def add(self, seen: SeenChange) -> None:
        """Store a change; the oldest one makes room for it."""
        self._dropped += len(self._seen) == self._limit
        self._seen.append(seen)

    def time_was_set_back(self) -> None:
        """Store that further stamps may be before those of the changes so far."""
        self._set_back_at = self._dropped + len(self._seen)

    def find(
        self, thing: str = "", attribute: str = "", since_ns: int = 0, limit: int = 0
    ) -> tuple[list[SeenChange], str]:
        """Return the changes, oldest first, and a note for a person, empty if there is none.

        Empty and 0 are no limits. Names are compared without case.
        """
        found = [
            one
            for one in self._seen
            if thing.casefold() in ("", one.change.thing.casefold())
            and attribute.casefold() in ("", one.change.attribute.casefold())
            and one.stamp_ns >= since_ns
        ]
        notes = list(self._notes(bool(found), thing))
        return found[-limit:] if limit else found, "; ".join(notes)

    def _notes(self, is_found: bool, thing: str) -> Iterator[str]:
        if not self._limit:
            yield "no change is kept: set the parameter watch_history"
            return
        names = sorted({one.change.thing for one in self._seen})
        if not names:
            yield "nothing has changed yet"
        elif thing and thing.casefold() not in map(str.casefold, names):
            yield f"{shorten(thing)!r} has not changed; what has: {shorten(', '.join(names), 1000)}"
        elif not is_found:
            yield "no kept change is like that"
        if self._dropped:
            yield f"{self._dropped} older changes were dropped (parameter watch_history)"
        if self._dropped < self._set_back_at:
            yield "time was set back in between: the order is that in which they were seen"
