"""Annotations of the regions of images: Visual Genome's files, or your own in the same form.

`region_descriptions.json` lists the images; `attributes.json` and `relationships.json` are
optional, `image_data.json` has the sizes. An entry of your own may have `image`, `width` and
`height` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field

from chatspot_ros.core.regions import Region
from chatspot_train.data.sources.base import SourceError
from chatspot_train.data.sources.conversion_report import ENTRY_ERRORS, SkipError
from chatspot_train.data.sources.json_reader import (
    Schema,
    XywhBox,
    box_xywh,
    clean,
    items,
    load_json,
)

Size = tuple[int, int]
OnFault = Callable[[str, Exception], None]


@dataclass(frozen=True)
class Note:
    """One statement: `text` with a `{}` for each of its `boxes` (in pixels, inside the image)."""

    text: str
    boxes: tuple[Region, ...]


@dataclass(frozen=True)
class Annotated:
    """An image of `width` x `height` pixels and the notes about its regions.

    `image` is its path relative to the folder of images.
    """

    id: str
    image: str
    width: int
    height: int
    regions: tuple[Note, ...]
    attributes: tuple[Note, ...] = ()
    relations: tuple[Note, ...] = ()

    @property
    def boxes(self) -> tuple[Region, ...]:
        """All annotated boxes, in pixels."""
        notes = (*self.regions, *self.attributes, *self.relations)
        return tuple(box for note in notes for box in note.boxes)


class _Region(Schema):
    x: float
    y: float
    width: float
    height: float
    phrase: str


class _Object(XywhBox):
    names: tuple[str, ...] = ()
    name: str = ""
    attributes: tuple[str, ...] = ()

    def called(self) -> str:
        return _plain(self.names[0] if self.names else self.name)


class _Relation(Schema):
    predicate: str
    subject: _Object
    object: _Object


class _Picture(Schema):
    id: str = Field(validation_alias=AliasChoices("image_id", "id"))
    regions: tuple[Any, ...] = ()
    image: str = ""
    url: str = ""
    width: int = Field(default=0, ge=0)
    height: int = Field(default=0, ge=0)


def annotated(
    picture_id: str,
    image: str,
    size: Size,
    regions: Iterable[Any],
    attributes: Iterable[Any] = (),
    relations: Iterable[Any] = (),
    on_fault: OnFault | None = None,
) -> Annotated:
    """Convert Visual Genome's raw entries about one image to notes.

    A malformed entry is left out and its place and error, one of ENTRY_ERRORS, given to `on_fault`;
    without `on_fault` the error is raised. Raises SkipError where no region is described.
    """

    def notes(name: str, entries: Iterable[Any], read: Callable[[Any, Size], Note | None]) -> Any:
        for k, raw in enumerate(entries):
            try:
                note = read(raw, size)
            except ENTRY_ERRORS as error:
                if on_fault is None:
                    raise
                on_fault(f"picture {picture_id}: {name}[{k}]", error)
                continue
            if note is not None:
                yield note

    described = tuple(notes("regions", regions, _describe))
    if not described:
        raise SkipError("no region of the picture is described", picture_id)
    return Annotated(
        picture_id, image, *size, described,
        tuple(notes("attributes", attributes, _attribute)),
        tuple(notes("relationships", relations, _relate)),
    )  # fmt: skip


def _describe(raw: Any, size: Size) -> Note:
    said = _Region.model_validate(raw)
    box = box_xywh((said.x, said.y, said.width, said.height)).clipped(*size)
    return Note(f"{{}} {_plain(said.phrase)}", (box,))


def _attribute(raw: Any, size: Size) -> Note | None:
    thing = _Object.model_validate(raw)
    if not thing.attributes:  # many objects have none
        return None
    words = ", ".join(map(_plain, thing.attributes))
    return Note(f"{{}} {thing.called()}: {words}", (thing.region().clipped(*size),))


def _relate(raw: Any, size: Size) -> Note:
    said = _Relation.model_validate(raw)
    boxes = tuple(one.region().clipped(*size) for one in (said.subject, said.object))
    verb = _plain(said.predicate).lower()
    return Note(f"{{}} {said.subject.called()} - {verb} - {{}} {said.object.called()}", boxes)


def _plain(text: str) -> str:
    """Return the text on one line, without the braces that mark boxes in a note."""
    return clean(text).replace("{", "(").replace("}", ")")


class Annotations(Sequence[str]):
    """The ids of the annotated images, in the file's order; `read` returns the notes of one."""

    def __init__(
        self,
        regions: Path,
        attributes: Path | None = None,
        relationships: Path | None = None,
        images_info: Path | None = None,
    ) -> None:
        """Read the files. Raises SourceError where one is unreadable or not a list of images."""
        self.file = regions
        self._entries = dict(_by_id(regions, once=True))
        self._attributes = dict(_by_id(attributes)) if attributes else {}
        self._relations = dict(_by_id(relationships)) if relationships else {}
        self._info = dict(_by_id(images_info)) if images_info else {}
        self._ids = list(self._entries)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: Any) -> Any:
        return self._ids[index]

    def read(self, picture_id: str, on_fault: OnFault) -> Annotated:
        """Return the notes about an image. Raises one of ENTRY_ERRORS where it is unusable."""
        entry = _Picture.model_validate(self._entries[picture_id])
        info = entry
        if not (entry.width and entry.height):
            if picture_id not in self._info:
                raise SkipError(
                    "the picture's size is not known; give image_data.json with --images-info",
                    picture_id,
                )
            info = _Picture.model_validate(self._info[picture_id])
        if not (info.width and info.height):
            raise SkipError("the picture has no size", f"{info.width} x {info.height}")
        image = entry.image or info.image or _path(info.url) or f"{picture_id}.jpg"
        return annotated(
            picture_id, image, (info.width, info.height), entry.regions,
            _list(self._attributes.get(picture_id), "attributes"),
            _list(self._relations.get(picture_id), "relationships"), on_fault,
        )  # fmt: skip


def _by_id(file: Path, once: bool = False) -> Iterable[tuple[str, Any]]:
    """Yield (image id, entry) of a file; with `once` an image may have one entry only."""
    if not file.is_file():
        raise SourceError(
            "there is no such file of annotations", value=file,
            remedy="give the paths of Visual Genome's JSON files, or of your own in their form",
        )  # fmt: skip
    seen: set[str] = set()
    for where, entry in items(file, load_json(file)):
        found = entry.get("image_id", entry.get("id")) if isinstance(entry, dict) else None
        if found is None:
            raise SourceError(
                f"{where} has no image_id", value=f"{file}: {entry!r}",
                remedy="give a file in the form of Visual Genome's",
            )  # fmt: skip
        if once and str(found) in seen:
            raise SourceError(
                f"{where} is a picture for the second time", value=f"{file}: image_id {found}",
                remedy="put all regions of a picture into one entry",
            )  # fmt: skip
        seen.add(str(found))
        yield str(found), entry


def _path(url: str) -> str:
    """Return the last folder and the name, as in Visual Genome's archives: `VG_100K_2/1.jpg`."""
    return "/".join(PurePosixPath(urlsplit(url).path).parts[-2:]).strip("/")


def _list(entry: Any, name: str) -> Iterable[Any]:
    found = entry.get(name) if isinstance(entry, dict) else None
    return found if isinstance(found, list) else ()
