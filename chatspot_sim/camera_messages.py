"""A frame of the kitchen as ROS messages: compressed image, depth image, camera info."""

from __future__ import annotations

import array
import math

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header


def camera_info(fovy_deg: float, width: int, height: int, header: Header) -> CameraInfo:
    """Return the intrinsics of an ideal pinhole; `fovy_deg` is its vertical field of view.

    Pixels are square. As in every CameraInfo, (0, 0) is the centre of the top-left pixel.
    """
    focal = height / 2 / math.tan(math.radians(fovy_deg) / 2)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    info = CameraInfo(header=header, height=height, width=width, distortion_model="plumb_bob")
    info.d = [0.0] * 5
    info.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def compressed_image(rgb: NDArray[np.uint8], kind: str, header: Header) -> CompressedImage:
    """Encode a picture (uint8 H x W x 3, RGB) as a `kind` ("jpeg" or "png") file.

    Raises RuntimeError if OpenCV cannot encode it.
    """
    done, file = cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not done:
        raise RuntimeError(f"OpenCV cannot write a {kind} of {rgb.shape[1]} x {rgb.shape[0]}")
    # rclpy takes an array as it is, and checks anything else byte by byte.
    data = array.array("B", file.tobytes())
    return CompressedImage(header=header, format=f"rgb8; {kind} compressed bgr8", data=data)


def depth_image(depths_m: NDArray[np.float32], encoding: str, header: Header) -> Image:
    """Return depths (H x W, in m; NaN: none) as 32FC1 in metres or 16UC1 in millimetres."""
    pixels: NDArray[np.float32] | NDArray[np.uint16] = depths_m.astype("<f4")
    if encoding == "16UC1":
        millimetres = np.nan_to_num(np.round(depths_m * 1000.0), nan=0.0)
        pixels = np.where(millimetres < 2**16, millimetres, 0).astype("<u2")
    height, width = depths_m.shape
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * pixels.itemsize,
        data=array.array("B", pixels.tobytes()),
    )
