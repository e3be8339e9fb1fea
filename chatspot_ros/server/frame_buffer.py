"""The last frames of one camera, by their stamps: exactly the frame that was asked about, or why
not.

Times are integers, nanoseconds in the camera's clock. One thread at a time may use a buffer:
callers on several threads hold a lock of their own.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chatspot_ros.errors import FrameExpiredError, NoImageError, StaleImageError

NS = 1_000_000_000
# Two publishers on one topic may overtake each other by this much; more means that time was set
# back.
REORDERING_NS = NS // 2

T = TypeVar("T")


@dataclass(frozen=True)
class Frame(Generic[T]):
    """One camera image as it came.

    `payload` is the message, converted by whoever needs its pixels.
    """

    stamp_ns: int
    payload: T = field(compare=False)
    size_bytes: int = field(compare=False, default=0)
    frame_id: str = ""


class FrameBuffer(Generic[T]):
    """A ring of frames bounded in seconds and in bytes.

    The newest frame always stays, however large and old it is. A frame whose stamp lies clearly
    before the newest one (a bag that loops, a simulation that restarts) sets time back: all frames
    of the round before are dropped, because their stamps may come again on other pictures.
    """

    def __init__(
        self,
        *,
        name: str,
        max_seconds: float,
        max_bytes: int,
        reordering_ns: int = REORDERING_NS,
    ) -> None:
        """`name` is the camera's, for messages; up to `reordering_ns` is no step back in time."""
        self._name = name
        self._reordering_ns = reordering_ns
        self._max_ns = round(max_seconds * NS)
        self._max_bytes = max_bytes
        self._frames: list[Frame[T]] = []
        self._bytes = 0
        self._dropped_up_to_ns: int | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame[T]]:
        """Yield the frames held, oldest first."""
        return iter(self._frames)

    @property
    def total_bytes(self) -> int:
        """Bytes held, as counted by the frames' `size_bytes`."""
        return self._bytes

    def add(self, frame: Frame[T]) -> bool:
        """Put a frame in.

        A second frame of one stamp replaces the first. Return True when time was set back.
        """
        went_back = (
            bool(self._frames) and frame.stamp_ns < self._frames[-1].stamp_ns - self._reordering_ns
        )
        if went_back:
            self.clear()
        at = self._position(frame.stamp_ns)
        if at < len(self._frames) and self._frames[at].stamp_ns == frame.stamp_ns:
            self._remove(at, at + 1)
        self._frames.insert(at, frame)
        self._bytes += frame.size_bytes
        self._forget_old()
        return went_back

    def clear(self) -> None:
        """Forget all frames, as if none had ever come."""
        self._remove(0, len(self._frames))
        self._dropped_up_to_ns = None

    def newest(self, *, now_ns: int | None = None, max_age_s: float = 0.0) -> Frame[T]:
        """Return the frame of the latest stamp.

        With `now_ns` and a positive `max_age_s`, a frame older than that is refused.

        Raises:
            NoImageError: nothing has come yet.
            StaleImageError: the newest frame is too old.
        """
        frame = self._last()
        if now_ns is not None and max_age_s > 0:
            age_s = (now_ns - frame.stamp_ns) / NS
            if age_s > max_age_s:
                raise StaleImageError(
                    f"the newest frame of camera '{self._name}' is older than {max_age_s:g} s",
                    value=f"{age_s:.1f} s old, stamp {format_ns(frame.stamp_ns)}",
                    remedy="look whether the camera still publishes and whether both clocks agree "
                    "(use_sim_time?), "
                    "or raise the parameter max_image_age",
                )
        return frame

    def at(self, stamp_ns: int, *, now_ns: int | None = None) -> Frame[T]:
        """Return the frame of exactly this stamp.

        Raises:
            FrameExpiredError: the stamp lies before what is still held.
            NoImageError: no such frame has come (yet); says so when the stamp lies in the future.
        """
        newest = self._last()
        found = self.get(stamp_ns)
        if found is not None:
            return found
        oldest, latest = format_ns(self._frames[0].stamp_ns), format_ns(newest.stamp_ns)
        held = f"held are {len(self._frames)} frames from {oldest} to {latest}"
        if (
            stamp_ns < self._frames[0].stamp_ns
            and self._dropped_up_to_ns is not None
            and stamp_ns <= self._dropped_up_to_ns
        ):
            raise FrameExpiredError(
                f"the frame of camera '{self._name}' is no longer held ({held})",
                value=format_ns(stamp_ns),
                remedy="ask sooner, or raise the parameters buffer_seconds and buffer_megabytes",
            )
        if now_ns is not None and stamp_ns > max(now_ns, newest.stamp_ns):
            raise NoImageError(
                f"the stamp lies {(stamp_ns - now_ns) / NS:.3f} s in the future ({held})",
                value=format_ns(stamp_ns),
                remedy="copy header.stamp of a frame that has come; do both clocks agree "
                "(use_sim_time?)",
            )
        raise NoImageError(
            f"no frame of camera '{self._name}' with that stamp has come ({held}, "
            f"the nearest is {format_ns(self._nearest(stamp_ns))})",
            value=format_ns(stamp_ns),
            remedy="copy header.stamp of a frame of this camera exactly, or leave the stamp 0 for "
            "the newest",
        )

    def get(self, stamp_ns: int) -> Frame[T] | None:
        """Return the frame of exactly this stamp; None when it is not held."""
        at = self._position(stamp_ns)
        if at < len(self._frames) and self._frames[at].stamp_ns == stamp_ns:
            return self._frames[at]
        return None

    def within(self, stamp_ns: int, tolerance_ns: int) -> list[Frame[T]]:
        """Return the frames at most `tolerance_ns` away from a stamp, oldest first."""
        first = self._position(stamp_ns - tolerance_ns)
        return self._frames[first : self._position(stamp_ns + tolerance_ns + 1)]

    def only_near(self, stamp_ns: int, tolerance_ns: int) -> Frame[T] | None:
        """Return the frame that a stamp must mean when it is off by at most `tolerance_ns`.

        None when no frame is so near, and when another could be meant: frames that follow each
        other within twice the tolerance, or one that was dropped. With fewer than two frames
        nobody knows how closely they follow each other.
        """
        near = self.within(stamp_ns, tolerance_ns)
        dropped_ns = self._dropped_up_to_ns
        may_be_dropped = dropped_ns is not None and dropped_ns >= stamp_ns - tolerance_ns
        if len(near) != 1 or may_be_dropped or self._closest_ns() <= 2 * tolerance_ns:
            return None
        return near[0]

    def newest_where(self, wanted: Callable[[Frame[T]], bool]) -> Frame[T] | None:
        """Return the latest frame for which `wanted` is true; None when there is none."""
        return next((frame for frame in reversed(self._frames) if wanted(frame)), None)

    def _last(self) -> Frame[T]:
        if not self._frames:
            raise NoImageError(
                f"no image of camera '{self._name}' has come yet",
                value="0 frames",
                remedy="look whether the camera publishes, on which topic, and with which QoS",
            )
        return self._frames[-1]

    def _position(self, stamp_ns: int) -> int:
        """Return how many frames are older than the stamp."""
        return bisect.bisect_left(self._frames, stamp_ns, key=lambda frame: frame.stamp_ns)

    def _nearest(self, stamp_ns: int) -> int:
        stamps = (frame.stamp_ns for frame in self._frames)
        return min(stamps, key=lambda held_ns: abs(held_ns - stamp_ns))

    def _closest_ns(self) -> int:
        """Return how closely two frames followed each other at least; 0 with fewer than two."""
        pairs = itertools.pairwise(frame.stamp_ns for frame in self._frames)
        return min((later - earlier for earlier, later in pairs), default=0)

    def _forget_old(self) -> None:
        oldest_kept_ns = self._frames[-1].stamp_ns - self._max_ns
        count, held = 0, self._bytes
        for frame in self._frames[:-1]:
            if frame.stamp_ns >= oldest_kept_ns and held <= self._max_bytes:
                break
            held -= frame.size_bytes
            count += 1
        if count:
            self._dropped_up_to_ns = self._frames[count - 1].stamp_ns
            self._remove(0, count)

    def _remove(self, start: int, stop: int) -> None:
        self._bytes -= sum(frame.size_bytes for frame in self._frames[start:stop])
        del self._frames[start:stop]


def format_ns(stamp_ns: int) -> str:
    """Write a stamp as seconds.nanoseconds, exactly: 12.000000345."""
    return f"{stamp_ns // NS}.{stamp_ns % NS:09d}"
