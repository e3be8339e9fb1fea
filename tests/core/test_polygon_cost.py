"""A request's polygons cost little: their corners are bounded, and the repair is the cheap one."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
import shapely

from chatspot_ros.core.regions import MAX_CORNERS, Region, parse_typed_regions
from chatspot_ros.errors import RegionError

MOST = MAX_CORNERS


def scribble(count: int) -> tuple[tuple[float, float], ...]:
    """Corners anywhere: nearly all edges cross."""
    rng = random.Random(count)
    return tuple((rng.uniform(0, 640), rng.uniform(0, 480)) for _ in range(count))


def typed(count: int) -> str:
    numbers = ",".join(f"{x:.0f},{y:.0f}" for x, y in scribble(count))
    return f"<box>{numbers}</box>"


# Printed at the end; what hangs does not come so far.
CLIP = """
import random, sys
from chatspot_ros.core.regions import MAX_CORNERS, Region
from chatspot_ros.errors import RegionError
rng = random.Random(0)
try:
    Region.polygon((rng.uniform(0, 640), rng.uniform(0, 480)) for _ in range(int(sys.argv[1]))
                   ).clipped(640, 480, MAX_CORNERS)
except RegionError as error:
    assert "corners" in str(error), error
print("done")
"""


@pytest.mark.timeout(200)
@pytest.mark.parametrize("count", [MOST, 300, 10_000])
def test_a_scribble_ends(count: int) -> None:
    """300 corners took 30 s, 10,000 never ended; a generous minute, most of it imports."""
    done = subprocess.run([sys.executable, "-c", CLIP, str(count)], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("count", [MOST + 1, 300])
def test_too_many_corners_are_refused_with_the_remedy(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapely, "make_valid", lambda *_, **__: pytest.fail("it was repaired"))
    with pytest.raises(RegionError, match=rf"corners.*{count}.*max_corners"):
        Region.polygon(scribble(count)).clipped(640, 480, MOST)


def test_corners_that_say_nothing_are_not_counted() -> None:
    """A fine outline that is a plain shape: points along a line, and repeated ones."""
    side = [(float(k), 0.0) for k in range(200)]
    outline = [*side, (200.0, 200.0), (0.0, 200.0), (0.0, 200.0)]
    clipped = Region.polygon(outline).clipped(640, 480, MOST)
    assert clipped.box_xyxy_px == (0.0, 0.0, 200.0, 200.0)
    assert len(clipped.points_px) <= MOST


def test_a_typed_polygon_is_refused_too() -> None:
    """2,000 typed characters hold more than 300 corners."""

    def read() -> None:
        _, (region,) = parse_typed_regions(typed(300), 640, 480)
        region.clipped(640, 480, MOST)

    with pytest.raises(RegionError, match="corners"):
        read()


def test_the_repair_follows_the_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way makes a line of every crossing first: 190 times as long for 64 corners."""
    methods: list[Any] = []
    real = shapely.make_valid

    def make_valid(shape: Any, *args: Any, **more: Any) -> Any:
        methods.append(more.get("method"))
        return real(shape, *args, **more)

    monkeypatch.setattr(shapely, "make_valid", make_valid)
    Region.polygon([(0, 0), (100, 100), (100, 0), (0, 100)]).clipped(640, 480, MOST)
    Region.polygon(scribble(MOST)).clipped(640, 480, MOST)
    assert methods == ["structure"] * len(methods)


@pytest.mark.parametrize(
    ("corners", "box"),
    [
        ([(10, 10), (110, 110), (110, 10), (10, 110)], (10, 10, 110, 110)),  # wrong order
        ([(0, 0), (100, 0), (100, 100), (0, 100), (0, 50), (-5, 55)], (0, 0, 100, 100)),
    ],
)
def test_what_a_repair_gives_stays(
    corners: list[tuple[float, float]], box: tuple[float, ...]
) -> None:
    assert Region.polygon(corners).clipped(640, 480, MOST).box_xyxy_px == box
