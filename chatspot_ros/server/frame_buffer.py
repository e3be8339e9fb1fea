"""The latest frames of one camera, by stamp: exactly the requested frame, or the reason why not.

Times are integers, nanoseconds in the camera's clock. Not thread-safe.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chatspot_ros.errors import FrameExpiredError, NoImageError, StaleImageError

NS = 1_000_000_000
# Frames of two publishers on one topic may come out of order by this much. A larger step back means
# that time was set back.
REORDERING_NS = NS // 2

T = TypeVar("T")


@dataclass(frozen=True)
class Frame(Generic[T]):
    """One entry of a buffer. See `request.Picture` for the identity of a picture.

    `arrived_s`: when the frame came, in seconds of `time.monotonic`; None if that is unknown.
    """

    stamp_ns: int
    payload: T = field(compare=False)
    size_bytes: int = field(compare=False, default=0)
    arrived_s: float | None = field(compare=False, default=None)


class FrameBuffer(Generic[T]):
    """The latest frames in order of their stamps, bounded in seconds and in bytes.

    The newest frame always stays, whatever its size and age. A stamp far before the newest one (a
    bag that loops, a simulation that restarts) sets time back: all earlier frames are dropped,
    because their stamps may come again on other pictures.
    """

    def __init__(
        self,
        *,
        name: str,
        max_seconds: float,
        max_bytes: int,
        reordering_ns: int = REORDERING_NS,
    ) -> None:
        """`name` is the camera's, for messages. `reordering_ns`: see REORDERING_NS."""
        self._name = name
        self._reordering_ns = reordering_ns
        self._max_ns = round(max_seconds * NS)
        self._max_bytes = max_bytes
        self._frames: list[Frame[T]] = []
        self._bytes = 0
        self._dropped_up_to_ns: int | None = None
        # How often all frames were forgotten: stamps of before may come again on other pictures.
        self.times_cleared = 0

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame[T]]:
        """Yield the frames held, oldest first."""
        return iter(self._frames)

    @property
    def total_bytes(self) -> int:
        """The sum of the frames' `size_bytes`."""
        return self._bytes

    def add(self, frame: Frame[T]) -> bool:
        """Store a frame; return True if its stamp set time back.

        A second frame of one stamp replaces the first.
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
        self._drop_old()
        return went_back

    def clear(self) -> None:
        """Return to the empty state."""
        self._remove(0, len(self._frames))
        self._dropped_up_to_ns = None
        self.times_cleared += 1

    def newest(
        self, *, now_ns: int | None = None, now_s: float | None = None, max_age_s: float = 0.0
    ) -> Frame[T]:
        """Return the frame with the latest stamp.

        `now_ns` reads the clock of the stamps, `now_s` the clock of `Frame.arrived_s`.

        Raises:
            NoImageError: the buffer is empty.
            StaleImageError: the frame is older than a positive `max_age_s`, by its stamp or by its
                arrival: a camera whose clock is ahead, or a clock that stands still, would else
                be answered from for ever.
        """
        frame = self._last()
        if now_ns is None or max_age_s <= 0:
            return frame
        age_s = (now_ns - frame.stamp_ns) / NS
        came_s = None if now_s is None or frame.arrived_s is None else now_s - frame.arrived_s
        if max(age_s, came_s or 0.0) > max_age_s:
            raise StaleImageError(
                f"the newest frame of camera '{self._name}' is older than {max_age_s:g} s",
                value=_ages(frame.stamp_ns, age_s, came_s, now_ns),
                remedy="look whether the camera still publishes and whether both clocks agree "
                "(use_sim_time?), "
                "or raise the parameter max_image_age",
            )
        return frame

    def at(self, stamp_ns: int, *, now_ns: int | None = None) -> Frame[T]:
        """Return the frame of exactly this stamp.

        Raises:
            FrameExpiredError: the frame may have been held and was dropped.
            NoImageError: no such frame has come yet; says so if the stamp lies in the future.
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
        """Return the frame of exactly this stamp; None if it is not held."""
        at = self._position(stamp_ns)
        if at < len(self._frames) and self._frames[at].stamp_ns == stamp_ns:
            return self._frames[at]
        return None

    def within(self, stamp_ns: int, tolerance_ns: int) -> list[Frame[T]]:
        """Return the frames at most `tolerance_ns` away from a stamp, oldest first."""
        first = self._position(stamp_ns - tolerance_ns)
        return self._frames[first : self._position(stamp_ns + tolerance_ns + 1)]

    def only_near(self, stamp_ns: int, tolerance_ns: int) -> Frame[T] | None:
        """Return the only frame that a stamp with an error of at most `tolerance_ns` can mean.

        None if no frame is that near, or if the stamp could mean another one: a dropped frame, or
        a frame that got lost, where frames follow each other within twice the tolerance. With fewer
        than two frames that interval is unknown.
        """
        near = self.within(stamp_ns, tolerance_ns)
        dropped_ns = self._dropped_up_to_ns
        may_be_dropped = dropped_ns is not None and dropped_ns >= stamp_ns - tolerance_ns
        if len(near) != 1 or may_be_dropped or self._closest_ns() <= 2 * tolerance_ns:
            return None
        return near[0]

    def newest_where(self, wanted: Callable[[Frame[T]], bool]) -> Frame[T] | None:
        """Return the latest frame for which `wanted` is true; None if there is none."""
        return next((frame for frame in reversed(self._frames) if wanted(frame)), None)

    def _last(self) -> Frame[T]:
        if not self._frames:
            raise NoImageError(
                f"no image of camera '{self._name}' has come yet",
                value="0 frames",
                remedy="start the camera, or remap `image` to its topic",
            )
        return self._frames[-1]

    def _position(self, stamp_ns: int) -> int:
        """Return the number of frames before the stamp."""
        return bisect.bisect_left(self._frames, stamp_ns, key=lambda frame: frame.stamp_ns)

    def _nearest(self, stamp_ns: int) -> int:
        stamps = (frame.stamp_ns for frame in self._frames)
        return min(stamps, key=lambda held_ns: abs(held_ns - stamp_ns))

    def _closest_ns(self) -> int:
        """Return the shortest interval between two frames; 0 with fewer than two."""
        pairs = itertools.pairwise(frame.stamp_ns for frame in self._frames)
        return min((later - earlier for earlier, later in pairs), default=0)

    def _drop_old(self) -> None:
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


def _ages(stamp_ns: int, age_s: float, came_s: float | None, now_ns: int) -> str:
    """Return when a frame came and what its stamp says."""
    came = "" if came_s is None else f"it came {came_s:.1f} s ago, "
    side = f"{age_s:.1f} s old" if age_s >= 0 else f"{-age_s:.1f} s ahead"
    stands = "" if now_ns else ", the clock stands at 0: no /clock for use_sim_time"
    return f"{came}stamp {format_ns(stamp_ns)} is {side}{stands}"


def format_ns(stamp_ns: int) -> str:
    """Write a stamp as seconds.nanoseconds, exactly: 12.000000345."""
    return f"{stamp_ns // NS}.{stamp_ns % NS:09d}"
