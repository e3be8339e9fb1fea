"""The data sets that records are made of, one file each with its reader and its questions."""

from __future__ import annotations

from chatspot_train.data.sources import (
    art,
    cc595k,
    coco_text,
    docvqa,
    hiertext,
    kitchen,
    objects365,
    ocr_vqa,
    pointqa,
    refcoco,
    region_chat,
    st_vqa,
    textvqa,
    visual_genome,
)  # fmt: skip
from chatspot_train.data.sources.base import Source, SourceError

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        cc595k.SOURCE, ocr_vqa.SOURCE, st_vqa.SOURCE, docvqa.SOURCE, textvqa.SOURCE,
        objects365.IMAGE, objects365.REGION, coco_text.SOURCE, hiertext.SOURCE, art.SOURCE,
        pointqa.LOOK_TWICE, pointqa.LOCAL, visual_genome.SOURCE, region_chat.SOURCE,
        *refcoco.SOURCES, kitchen.SOURCE,
    )
}  # fmt: skip


def find_source(name: str) -> Source:
    """Return the source of this name. Raises SourceError for an unknown one."""
    if name not in SOURCES:
        raise SourceError(
            "there is no such source", value=name, remedy=f"use one of {', '.join(SOURCES)}"
        )
    return SOURCES[name]
