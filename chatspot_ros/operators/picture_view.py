"""Where a picture lies in a view: image pixels to view pixels and back, at any zoom.

Image pixels have their origin at the top-left corner of the top-left pixel, as in core.regions.
View pixels are those of the toolkit's pointer events: logical ones, whatever the screen's density.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Xy = tuple[float, float]

# A pixel of the picture is never drawn larger than this, in view pixels.
_LARGEST_PIXEL = 48.0


@dataclass(frozen=True)
class PictureView:
    """A picture of `image_wh` pixels in a view of `view_wh`, both above 0.

    At `zoom` 1 the whole picture fits, with equal margins on two sides where the forms differ.
    `centre_px`: the place of the picture in the middle of the view; None: the picture's own.
    """

    image_wh: tuple[int, int]
    view_wh: Xy
    zoom: float = 1.0
    centre_px: Xy | None = None

    @property
    def scale(self) -> float:
        """View pixels per image pixel."""
        return self._fit * self.zoom

    @property
    def _fit(self) -> float:
        return min(
            max(view, 1.0) / image for view, image in zip(self.view_wh, self.image_wh, strict=True)
        )

    @property
    def _centre(self) -> Xy:
        """The place in the middle of the view, such that no margin is wider than it must be."""
        wished = self.centre_px or (self.image_wh[0] / 2, self.image_wh[1] / 2)
        x, y = (
            size / 2 if size * self.scale <= view else min(
                max(at, view / self.scale / 2), size - view / self.scale / 2
            )
            for at, size, view in zip(wished, self.image_wh, self.view_wh, strict=True)
        )  # fmt: skip
        return x, y

    def to_view(self, point_px: Xy) -> Xy:
        """Return where an image pixel lies in the view."""
        x, y = self._centre
        return (
            self.view_wh[0] / 2 + (point_px[0] - x) * self.scale,
            self.view_wh[1] / 2 + (point_px[1] - y) * self.scale,
        )

    def to_image(self, point: Xy) -> Xy:
        """Return the image pixel at a place of the view; outside the picture it lies outside."""
        x, y = self._centre
        return (
            x + (point[0] - self.view_wh[0] / 2) / self.scale,
            y + (point[1] - self.view_wh[1] / 2) / self.scale,
        )

    def zoomed(self, factor: float, about: Xy | None = None) -> PictureView:
        """Return the view with a zoom by `factor`; the place `about` of the view stays."""
        most = max(1.0, _LARGEST_PIXEL / self._fit)
        zoom = min(max(self.zoom * factor, 1.0), most)
        at = about or (self.view_wh[0] / 2, self.view_wh[1] / 2)
        kept_px = self.to_image(at)
        scale = self._fit * zoom
        centre = (
            kept_px[0] - (at[0] - self.view_wh[0] / 2) / scale,
            kept_px[1] - (at[1] - self.view_wh[1] / 2) / scale,
        )
        return replace(self, zoom=zoom, centre_px=centre)._settled()

    def panned(self, right: float, down: float) -> PictureView:
        """Return the view with the picture moved by view pixels, as a hand that drags it does."""
        x, y = self._centre
        return replace(self, centre_px=(x - right / self.scale, y - down / self.scale))._settled()

    def whole(self) -> PictureView:
        """Return the view of the whole picture."""
        return replace(self, zoom=1.0, centre_px=None)

    def of_view(self, width: float, height: float) -> PictureView:
        """Return it in a view of another size; the place in the middle stays."""
        return replace(self, view_wh=(max(width, 1.0), max(height, 1.0)))

    def of_image(self, width: int, height: int) -> PictureView:
        """Return it for a picture of this size; the zoom stays if the size does."""
        if (width, height) == self.image_wh:
            return self
        return PictureView((width, height), self.view_wh)

    def _settled(self) -> PictureView:
        return replace(self, centre_px=self._centre)
