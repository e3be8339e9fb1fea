"""From pixels to rays and back, by the calibration in a CameraInfo.

Pixels are those of core/regions.py: (0, 0) is the corner of the top-left pixel. Calibrations count
from its centre, so half a pixel is taken off. The camera's frame: x right, y down, z forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_ros.errors import CalibrationError

Floats = NDArray[np.float64]
# Distortion model -> the numbers of coefficients that OpenCV takes for it.
_POLYNOMIALS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14)}
_EQUIDISTANT = "equidistant"
MODELS = (*_POLYNOMIALS, _EQUIDISTANT)
_UNTIL = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-10)
# A pixel whose ray leads back to another pixel lies where the model has no inverse.
_OFF_PX = 0.1
# Sizes that differ by less than this share of their ratio are of one shape (rounded pixels).
_SHAPE = 0.01


@dataclass(frozen=True)
class CameraModel:
    """One camera's intrinsics for pictures of `size_wh` pixels.

    `focal_px`, `centre_px` and `distortion` are those of the calibrated resolution; a pixel of the
    picture becomes one of it by `scale_xy` and `offset_px` (binning, a region of interest, another
    size). `shift_m` moves the point after projection, in m: the baseline of a rectified pair.
    """

    size_wh: tuple[int, int]
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()
    scale_xy: tuple[float, float] = (1.0, 1.0)
    offset_px: tuple[float, float] = (0.0, 0.0)
    shift_m: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def from_info(cls, info: Any, *, rectified: bool = False) -> CameraModel:
        """Return the model of a sensor_msgs/CameraInfo.

        Of a `rectified` picture the projection `p` is used, which has no distortion; else `k`
        and `d`. Raises CalibrationError: what the camera says of itself cannot be used.
        """
        binning = (max(1, int(info.binning_x)), max(1, int(info.binning_y)))
        roi = info.roi
        whole = (int(roi.width) or int(info.width), int(roi.height) or int(info.height))
        size_wh = (whole[0] // binning[0], whole[1] // binning[1])
        if min(size_wh) < 1:
            raise CalibrationError(
                "the CameraInfo has no size",
                value=f"{info.width} x {info.height}",
                remedy="let the camera's driver fill width and height",
            )
        matrix = [float(value) for value in (info.p if rectified else info.k)]
        width = 4 if rectified else 3
        fx, fy, cx, cy = matrix[0], matrix[width + 1], matrix[2], matrix[width + 2]
        if not all(map(math.isfinite, matrix)) or fx <= 0 or fy <= 0:
            raise CalibrationError(
                f"the CameraInfo's {'p' if rectified else 'k'} is no camera's",
                value=f"fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g}",
                remedy="calibrate the camera: zeros mean that nobody has",
            )
        shift = (matrix[3] / fx, matrix[7] / fy) if rectified else (0.0, 0.0)
        model, distortion = ("", ()) if rectified else _distortion(info.distortion_model, info.d)
        return cls(
            size_wh=size_wh,
            focal_px=(fx, fy),
            centre_px=(cx, cy),
            distortion_model=model,
            distortion=distortion,
            scale_xy=(float(binning[0]), float(binning[1])),
            offset_px=(float(roi.x_offset), float(roi.y_offset)),
            shift_m=shift,
        )

    def resized(self, size_wh: tuple[int, int]) -> CameraModel:
        """Return the model for the same picture in another size (width, height).

        Raises CalibrationError if the shapes differ: then a part was cut off, nobody knows where.
        """
        if size_wh == self.size_wh:
            return self
        by_x, by_y = (mine / theirs for mine, theirs in zip(self.size_wh, size_wh, strict=True))
        if abs(by_x / by_y - 1) > _SHAPE:
            raise CalibrationError(
                "a depth picture and its CameraInfo have different shapes",
                value=f"{size_wh[0]} x {size_wh[1]} and {self.size_wh[0]} x {self.size_wh[1]}",
                remedy="publish the CameraInfo of the depth picture beside it",
            )
        scale = (self.scale_xy[0] * by_x, self.scale_xy[1] * by_y)
        return replace(self, size_wh=size_wh, scale_xy=scale)

    def rays(self, points_px: Floats) -> Floats:
        """Return the ray of each pixel, as its point at a depth of 1 m.

        Points are N x 2 in pixels, rays N x 2 as (x / z, y / z); NaN where the calibration has no
        ray for a pixel.
        """
        full = np.asarray(points_px, np.float64).reshape(-1, 2)
        full = full * self.scale_xy + self.offset_px - 0.5
        plain = (full - self.centre_px) / self.focal_px
        if not self.distortion or not len(full):
            return plain
        coefficients = np.array(self.distortion)
        given = full[:, None]
        if self.distortion_model == _EQUIDISTANT:
            found = cv2.fisheye.undistortPoints(given, self._matrix, coefficients, criteria=_UNTIL)
        else:
            found = cv2.undistortPoints(given, self._matrix, coefficients, criteria=_UNTIL)
        rays = np.asarray(found, np.float64).reshape(-1, 2)
        wrong = ~np.isfinite(rays).all(1)
        rays[wrong] = 0.0
        back = self._distorted(rays)
        wrong |= ~(np.abs(back - full).max(1) <= _OFF_PX * max(self.scale_xy))
        rays[wrong] = np.nan
        return rays

    def project(self, points_m: Floats) -> Floats:
        """Return the pixels (N x 2) of points in the camera's frame (N x 3, in m, z above 0)."""
        points = np.asarray(points_m, np.float64).reshape(-1, 3)
        rays = (points[:, :2] + self.shift_m) / points[:, 2:]
        full = self._distorted(rays) if self.distortion else rays * self.focal_px + self.centre_px
        return np.asarray((full + 0.5 - self.offset_px) / self.scale_xy, np.float64)

    def points(self, points_px: Floats, depths_m: Floats) -> Floats:
        """Return the points (N x 3, in m) seen in pixels (N x 2) at depths along z (N, in m)."""
        depths = np.asarray(depths_m, np.float64).reshape(-1, 1)
        return np.hstack([self.rays(points_px) * depths - self.shift_m, depths])

    @property
    def _matrix(self) -> Floats:
        (fx, fy), (cx, cy) = self.focal_px, self.centre_px
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)

    def _distorted(self, rays: Floats) -> Floats:
        """Return the pixels of the calibrated resolution, from pixel centres, of rays (N x 2)."""
        still = np.zeros(3)
        coefficients = np.array(self.distortion)
        if self.distortion_model == _EQUIDISTANT:
            points = np.hstack([rays, np.ones((len(rays), 1))])[:, None]
            pixels, _ = cv2.fisheye.projectPoints(points, still, still, self._matrix, coefficients)
        else:
            points = np.hstack([rays, np.ones((len(rays), 1))])
            pixels, _ = cv2.projectPoints(points, still, still, self._matrix, coefficients)
        return np.asarray(pixels, np.float64).reshape(-1, 2)


def _distortion(model: str, coefficients: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Return a distortion model that OpenCV has, and its coefficients; none for a perfect lens."""
    values = tuple(float(value) for value in coefficients)
    if not any(values):
        return "", ()
    if not all(map(math.isfinite, values)):
        raise CalibrationError(
            "the CameraInfo's d is not finite", value=values, remedy="calibrate the camera"
        )
    counts = (4,) if model == _EQUIDISTANT else _POLYNOMIALS.get(model, ())
    if not counts:
        raise CalibrationError(
            "the CameraInfo's distortion model is unknown",
            value=model,
            remedy=f"use {', '.join(MODELS)}, or a rectified picture",
        )
    if len(values) not in counts:
        raise CalibrationError(
            f"{model} has {' or '.join(map(str, counts))} coefficients",
            value=len(values),
            remedy="calibrate the camera",
        )
    return model, values
