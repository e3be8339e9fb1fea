"""Detections from the detector's pixels to the camera's.

Many detectors report boxes on the picture that their network saw. NVIDIA's Isaac ROS Grounding DINO
(release 4) scales the image evenly, fills up at the right and at the bottom to 960 x 544, and
reports boxes of that picture: `letterboxed 960x544`. Ultralytics' YOLO fills up on all sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RequestError

_LAYOUTS = {
    "resized": PictureGeometry.STRETCH,
    "letterboxed": PictureGeometry.PAD_TOP_LEFT,
    "letterboxed_centre": PictureGeometry.PAD_CENTRE,
}
PATTERN = rf"camera|({'|'.join(_LAYOUTS)}) ([1-9]\d{{0,4}})x([1-9]\d{{0,4}})"


@dataclass(frozen=True)
class DetectionSpace:
    """The picture whose pixels a detector's boxes are in.

    `size_wh` is its width and height in pixels, None for the camera's own picture; `layout` is that
    of the camera's picture on it.
    """

    size_wh: tuple[int, int] | None = None
    layout: PictureGeometry = PictureGeometry.STRETCH

    @classmethod
    def parse(cls, text: str) -> DetectionSpace:
        """Read `camera`, `resized WxH`, `letterboxed WxH` or `letterboxed_centre WxH`.

        Raises:
            RequestError: it is none of these.
        """
        found = re.fullmatch(PATTERN, text)
        if found is None:
            raise RequestError(
                "this is no space that detections can be in",
                value=text,
                remedy="use `camera`, or `resized`, `letterboxed` or `letterboxed_centre` with a "
                "size, such as `letterboxed 960x544`",
            )
        if found[1] is None:
            return cls()
        return cls((int(found[2]), int(found[3])), _LAYOUTS[found[1]])

    def to_image(self, regions: Iterable[Region], image_wh: tuple[int, int]) -> tuple[Region, ...]:
        """Return regions of this space in pixels of the camera's image of `image_wh` (width,
        height); points on the filling lie outside the image."""
        if self.size_wh is None:
            return tuple(regions)
        picture = fit(self.layout, image_wh, self.size_wh)
        width, height = self.size_wh

        def back(region: Region) -> Region:
            unit = ((x / width, y / height) for x, y in region.points_px)
            return replace(region, points_px=picture.to_px(unit))

        return tuple(back(region) for region in regions)
