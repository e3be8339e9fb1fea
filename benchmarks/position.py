"""How far positions are off in simulated kitchens, beside the plain mean of the box.

`python -m benchmarks.position [--kitchens 20] [--noise 0.01] [--holes 0.2] [--json FILE]`

Each kitchen of the test split is seen from three distances, so that things are 0.5 to 4 m away.
The depth camera has an error of `--noise` of the depth (standard deviation), no depth in `--holes`
of the pixels and at edges, and sends millimetres (16UC1). Asked are every thing's true box, its
outline, and a random pixel of it as a point.

The truth comes from MuJoCo's own depth without noise or holes. Of a point: the surface seen in
that pixel. Of a box or an outline: the median along each axis of all surface points in the thing's
true mask, which only what is seen of it has. The error is the distance between both, as a share of
the truth's distance from the camera. The other side, in the same run: the mean of all points that
have a depth in the box.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from chatspot_ros.core.camera_model import CameraModel
from chatspot_ros.core.depth_view import DepthView, locate
from chatspot_ros.core.place import Vector
from chatspot_ros.core.regions import Region
from chatspot_ros.images.depth import message_to_metres
from chatspot_sim.camera_messages import camera_info, depth_image
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.sensor import sense_depth
from chatspot_sim.world import World

WIDTH, HEIGHT = 640, 480
# The camera's distance from what it looks at, as a share of the kitchen's own view.
STAND_OFFS = (0.5, 1.0, 1.8)
NEAREST_M, FARTHEST_M = 0.5, 4.0
BINS_M = (0.5, 1.0, 2.0, 3.0, 4.0)
LIMIT = 0.02
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One region: its kind (box, outline or point), its thing, and both errors (shares).

    `error` is NaN where no position was given; `mean_error` where there is no other side.
    """

    region: str
    thing: str
    distance_m: float
    error: float
    mean_error: float
    extent_ratio: float
    seconds: float


def measure(seeds: Iterable[int], noise: float, holes: float) -> Iterator[Row]:
    """Yield a row for every region of the kitchens."""
    rng = np.random.default_rng(0)
    for seed in seeds:
        with World(draw_kitchen(seed, "test"), WIDTH, HEIGHT) as world:
            own = world.kitchen.view
            for stand_off in STAND_OFFS:
                way = np.subtract(own.position, own.target) * stand_off
                x, y, z = (float(value) for value in np.add(own.target, way))
                world.look_from(replace(own, position=(x, y, z)))
                yield from _measure_view(world, noise, holes, rng)


def _measure_view(
    world: World, noise: float, holes: float, rng: np.random.Generator
) -> Iterator[Row]:
    frame, true_m = world.frame(), world.depth_m()
    info = camera_info(world.kitchen.view.fovy_deg, WIDTH, HEIGHT, Header())
    sensed = depth_image(sense_depth(true_m, noise, holes, rng), "16UC1", Header())
    camera = CameraModel.from_info(info)
    view = DepthView(message_to_metres(sensed), (WIDTH, HEIGHT), camera)
    for number, thing in enumerate(frame.truth.things, start=1):
        rows, columns = np.nonzero(frame.labels == number)
        surface = _points(camera, rows, columns, true_m)
        truth, box = np.median(surface, 0), Region.box(*thing.box_xyxy_px)
        if not NEAREST_M <= np.linalg.norm(truth) <= FARTHEST_M:
            continue
        width_m = float(np.ptp(np.percentile(surface[:, 0], (1, 99))))
        mean = _mean_of_box(box, view)
        yield _row("box", thing.name, box, view, truth, mean, width_m)
        outline = Region.polygon(thing.polygon_px).clipped(WIDTH, HEIGHT)
        yield _row("outline", thing.name, outline, view, truth, None, width_m)
        one = int(rng.integers(len(rows)))
        point = Region.point(columns[one] + 0.5, rows[one] + 0.5)
        yield _row("point", thing.name, point, view, surface[one], None, 0.0)


def _row(
    kind: str, name: str, region: Region, view: DepthView, truth: Floats,
    mean: Floats | None, width_m: float,
) -> Row:  # fmt: skip
    began_s = time.perf_counter()
    place = locate(region, view)
    seconds = time.perf_counter() - began_s
    ratio = place.extent_m[0] / width_m if width_m else float("nan")
    return Row(
        kind,
        name,
        float(np.linalg.norm(truth)),
        _error(place.xyz_m, truth),
        _error(mean, truth),
        ratio if place.xyz_m is not None else float("nan"),
        seconds,
    )


def _points(
    camera: CameraModel, rows: NDArray[np.intp], columns: NDArray[np.intp], depths_m: Any
) -> Floats:
    pixels = np.column_stack([columns, rows]).astype(np.float64) + 0.5
    return camera.points(pixels, depths_m[rows, columns])


def _mean_of_box(box: Region, view: DepthView) -> Floats | None:
    left, top, right, bottom = (round(edge) for edge in box.box_xyxy_px)
    rows, columns = np.nonzero(np.isfinite(view.depths_m[top:bottom, left:right]))
    if not len(rows):
        return None
    return _points(view.camera, rows + top, columns + left, view.depths_m).mean(0)


def _error(found: Vector | Floats | None, truth: Floats) -> float:
    if found is None:
        return float("nan")
    return float(np.linalg.norm(np.subtract(found, truth)) / np.linalg.norm(truth))


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return median, 90th percentile and count of the errors; those without a position apart."""
    errors = np.array([row.error for row in rows])
    known = errors[np.isfinite(errors)]
    if not len(known):
        return {"value": None, "n": 0, "unknown": len(errors)}
    return {
        "value": round(float(np.median(known)), 5),
        "p90": round(float(np.percentile(known, 90)), 5),
        "n": len(known),
        "unknown": len(errors) - len(known),
    }


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """Return all figures by name; `position_error_median` is of boxes and points together."""
    of = {kind: [row for row in rows if row.region == kind] for kind in ("box", "outline", "point")}
    asked = [*of["box"], *of["point"]]
    pairs = [row for row in of["box"] if np.isfinite([row.error, row.mean_error]).all()]
    ours, means = (np.median([getattr(row, name) for row in pairs]) for name in _SIDES)
    by_thing: dict[str, list[Row]] = defaultdict(list)
    for row in of["box"]:
        by_thing[row.thing].append(row)
    ratios = [row.extent_ratio for row in of["box"] if np.isfinite(row.extent_ratio)]
    return {
        "position_error_median": {**summary(asked), "limit": LIMIT},
        **{f"position_error_{kind}": summary(found) for kind, found in of.items()},
        "mean_of_box_error": {"value": round(float(means), 5), "n": len(pairs)},
        "position_error_over_mean_of_box": {"value": round(float(ours / means), 3)},
        "extent_over_truth": {"value": round(float(np.median(ratios)), 3), "n": len(ratios)},
        "by_distance": {
            f"{low:g} to {high:g} m": summary([r for r in asked if low <= r.distance_m < high])
            for low, high in itertools.pairwise(BINS_M)
        },
        "by_thing": {name: summary(found) for name, found in sorted(by_thing.items())},
        "median_ms": round(1000 * float(np.median([row.seconds for row in of["box"]])), 2),
    }


_SIDES = ("error", "mean_error")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kitchens", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--holes", type=float, default=0.2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = report(list(measure(range(options.kitchens), options.noise, options.holes)))
    print(json.dumps(found, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
