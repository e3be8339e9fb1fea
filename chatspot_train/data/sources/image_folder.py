"""The images of a data set, found by name; sizes come from the file headers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from chatspot_ros.errors import ImageError
from chatspot_ros.images.decode import check_size
from chatspot_train.data.sources.conversion_report import SkipError

Size = tuple[int, int]
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # what `images.decode` reads


class ImageFolder:
    """The images in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Questions about one image follow each other.
        self._size = lru_cache(maxsize=64)(self._read_size)

    def size(self, name: str, declared: Size | None = None) -> Size:
        """Return (width, height) of an image in pixels, without decoding it.

        `declared` is its size in the annotations, whose regions are useless in another size.
        Raises SkipError where it is missing, not an image, or not of the declared size.
        """
        size = self._size(name)
        if declared is not None and declared != size:
            raise SkipError(
                "the picture is not of the size that the annotations say",
                f"{name} is {size[0]} x {size[1]}, not {declared[0]} x {declared[1]}",
            )
        return size

    def find(self, names: Iterable[str]) -> str:
        """Return the first name that exists. Raises SkipError where none does."""
        tried = list(names)
        for name in tried:
            path = self._path(name)
            with suppress(OSError, UnicodeError):  # a name too long, or not Unicode
                if path.is_file():
                    return name
        raise SkipError("the picture is missing", " or ".join(tried))

    def relative(self, name: str) -> str:
        """Return a name relative to the folder where it is the whole path of a file in it, or a
        `file://` address; other names stay."""
        path, folder = Path(name.removeprefix("file://")), self.folder.resolve()
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else name

    def _path(self, name: str) -> Path:
        """Return the path of an image. Raises SkipError where the name leaves the folder."""
        parts = PurePosixPath(name)
        if not name or parts.is_absolute() or ".." in parts.parts or "\0" in name:
            raise SkipError("the picture's name leads out of the images folder", repr(name))
        return self.folder / name

    def _read_size(self, name: str) -> Size:
        path = self._path(name)
        try:
            with Image.open(path, formats=_FORMATS) as picture:
                return check_size(*picture.size)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise SkipError("the picture is missing", name) from error
        except (UnidentifiedImageError, Image.DecompressionBombError, ImageError, OSError,
                ValueError) as error:  # fmt: skip
            raise SkipError("the picture cannot be read", f"{name}: {error}") from error


def visual_genome_names(image_id: object) -> tuple[str, ...]:
    """Return the possible paths of a Visual Genome image: in two archives, or in one folder."""
    return tuple(f"{folder}{image_id}.jpg" for folder in ("", "VG_100K/", "VG_100K_2/"))
