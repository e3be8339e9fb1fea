"""The pictures of a data set: found by name, their sizes read from the files' headers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from chatspot_train.data.sources.conversion_report import SkipError

Size = tuple[int, int]


class ImageFolder:
    """The pictures under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Questions about one picture stand next to each other.
        self._size = lru_cache(maxsize=64)(self._read_size)

    def size(self, name: str, declared: Size | None = None) -> Size:
        """Return (width, height) in pixels of the picture; its pixels are not decoded.

        `declared` is what the annotations say of it: regions are of no use in another size.

        Raises:
            SkipError: no such picture, not a picture, or not of the declared size.
        """
        size = self._size(name)
        if declared is not None and declared != size:
            raise SkipError(
                "the picture is not of the size that the annotations say",
                f"{name} is {size[0]} x {size[1]}, not {declared[0]} x {declared[1]}",
            )
        return size

    def find(self, names: Iterable[str]) -> str:
        """Return the first of the names that is there. Raises SkipError where none is."""
        tried = list(names)
        for name in tried:
            if self._path(name).is_file():
                return name
        raise SkipError("the picture is missing", " or ".join(tried))

    def _path(self, name: str) -> Path:
        parts = PurePosixPath(name)
        if not name or parts.is_absolute() or ".." in parts.parts or "\0" in name:
            raise SkipError("the picture's name leads out of the images folder", repr(name))
        return self.folder / name

    def _read_size(self, name: str) -> Size:
        path = self._path(name)
        try:
            with Image.open(path) as picture:
                return picture.size
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise SkipError("the picture is missing", name) from error
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
            raise SkipError("the picture cannot be read", f"{name}: {error}") from error


def visual_genome_names(image_id: object) -> tuple[str, ...]:
    """Where a Visual Genome picture may lie: its two archives, or all in one folder."""
    return tuple(f"{folder}{image_id}.jpg" for folder in ("", "VG_100K/", "VG_100K_2/"))
