"""cv_bridge, the converter of ROS distributions, if it is installed and works."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.errors import ImageError

_log = logging.getLogger(__name__)
_PROBE_S = 60.0
_PROBE = """
import sys
from types import SimpleNamespace
from cv_bridge import CvBridge
image = SimpleNamespace(encoding="bgr8", width=2, height=1, step=6, is_bigendian=0,
                        data=bytes(range(6)))
sys.exit(CvBridge().imgmsg_to_cv2(image, "rgb8").tolist() != [[[2, 1, 0], [5, 4, 3]]])
"""
# Encodings that cv_bridge has other names for.
_NAMES = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}


class CvBridgeConverter:
    """Converts checked images with cv_bridge."""

    def __init__(self, bridge: Any) -> None:
        """`bridge` is a cv_bridge.CvBridge."""
        self._bridge = bridge

    def to_rgb(
        self, rows: npt.NDArray[np.uint8], encoding: str, width: int, *, is_bigendian: bool
    ) -> RgbImage:
        """Convert rows of bytes without padding to RGB, uint8 H x W x 3. Raises ImageError."""
        native_is_big = sys.byteorder == "big"
        if encoding.endswith("16") and is_bigendian != native_is_big:
            # cv_bridge swaps bytes by a method that numpy 2 no longer has.
            rows = rows.view(np.uint16).byteswap().view(np.uint8)
        image = SimpleNamespace(
            encoding=_NAMES.get(encoding, encoding),
            width=width,
            height=len(rows),
            step=rows.shape[1],
            is_bigendian=native_is_big,
            data=rows,
        )
        try:
            return np.asarray(self._bridge.imgmsg_to_cv2(image, "rgb8"), np.uint8)
        except (TypeError, RuntimeError) as error:  # CvBridgeError is a TypeError
            raise ImageError(
                f"the image cannot be converted to RGB: {error}",
                value=f"{encoding}, {width} x {len(rows)}",
                remedy="publish rgb8 or bgr8",
            ) from error


@functools.cache
def load_cv_bridge() -> CvBridgeConverter | None:
    """Return the converter; None if cv_bridge is missing or does not work. Takes up to seconds.

    Another process tries it first: a cv_bridge that was built for numpy 1 may crash its process
    under numpy 2, even where its import succeeds.
    """
    if importlib.util.find_spec("cv_bridge") is None:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.info("cv_bridge is not used: it cannot be tried (%s)", error)
        return None
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        _log.info(
            "cv_bridge is not used: it does not work with numpy %s (exit status %d: %s)",
            np.__version__, done.returncode, last,
        )  # fmt: skip
        return None
    return CvBridgeConverter(importlib.import_module("cv_bridge").CvBridge())
