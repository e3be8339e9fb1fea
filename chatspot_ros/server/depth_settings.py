"""The parameters of region_query_node that say where depth pictures come from."""

from __future__ import annotations

from dataclasses import dataclass

from chatspot_ros.server.parameter_spec import parameter

OFF, RAW, COMPRESSED_DEPTH = "off", "raw", "compressedDepth"


@dataclass(frozen=True)
class DepthSettings:
    """The values of these parameters at one moment."""

    depth_images: str = parameter(
        OFF,
        "Where depth pictures come from, aligned to the images (docs/position.md). raw: "
        "sensor_msgs/Image on `depth/image`; compressedDepth: sensor_msgs/CompressedImage on "
        "`depth/image`/compressedDepth; each with a CameraInfo on `depth/camera_info`, and with "
        "several cameras below NAME/. off: no region has a position.",
        choices=(OFF, RAW, COMPRESSED_DEPTH),
        fixed=True,
    )
    depth_tolerance: float = parameter(
        0.02,
        "Largest difference between the stamps of an image and of its depth picture, in s; the "
        "nearest one is used, and one beyond that never. 0: the stamps must be equal.",
        low=0.0,
        high=10.0,
    )
    depth_rectified: bool = parameter(
        False,
        "The images and depth pictures are rectified (image_proc), so that the CameraInfo's "
        "projection `p` holds for them. Off: `k` and the distortion `d`.",
    )
    target_frame: str = parameter(
        "",
        "Frame into which positions are transformed as well, such as base_link: "
        "`position_in_target`, by tf2 at the image's stamp. Empty: none.",
        fixed=True,
    )
