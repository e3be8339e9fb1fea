"""Validates a query and composes the questions for the engine. No ROS, no torch."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence

from chatspot_ros.core.answer_form import read_form
from chatspot_ros.core.prompts import check_question
from chatspot_ros.core.regions import REGION_MARK, Region, parse_typed_regions
from chatspot_ros.core.tasks import TASKS, find_task
from chatspot_ros.engine.api import Question
from chatspot_ros.errors import RegionError, RequestError, shorten
from chatspot_ros.server.request import MarkedPicture, Picture, Query
from chatspot_ros.server.settings import Settings

# A label for the model: no mark that a prompt, a chat template or a region is written with.
_LABEL_CHARS = 64
_LABEL_MARKS = "-_.,'/&"


def check(query: Query, settings: Settings) -> str:
    """Validate the parts of a query that need no picture; return the question's text.

    Raises:
        RequestError: unknown task, empty or too long question or name, negative time limit, choices
            or a JSON schema that cannot be used.
        RegionError: too many regions.
    """
    task = find_task(query.task)
    read_form(query.task, query.choices, query.json_schema)
    if query.timeout_s < 0 or not math.isfinite(query.timeout_s):
        raise RequestError(
            "the timeout is negative",
            value=f"{query.timeout_s:g} s",
            remedy="give a positive one, or 0 for the default",
        )
    text = query.question.strip() or task.question
    if not text:
        raise RequestError(
            "the question is empty",
            value=query.question,
            remedy="say what to ask, or give a task that brings its own question "
            f"({', '.join(one.name for one in TASKS.values() if one.question)})",
        )
    check_question(text, settings.max_question_chars)
    _check_count(len(query.regions), settings)
    _check_names(query, settings)
    return text


def compose(
    query: Query,
    text: str,
    detections: tuple[Region, ...],
    size_wh: tuple[int, int],
    settings: Settings,
) -> list[Question]:
    """Return the questions in order, their regions clipped to the picture of `size_wh` pixels.

    With `marks` one question about the whole picture, on which `mark` draws the regions. Without a
    `<region>` in the text: one question for each region, or one about the whole picture
    if there is no region. Else a single question about all regions. An empty list: all detections
    were requested, and there is none.

    Raises:
        RegionError: an unusable region, or too many.
        RequestError: `<region>`s and regions do not match in number, or regions are given in two
        ways.
    """
    given = (*query.regions, *detections)
    text, typed = parse_typed_regions(text, *size_wh)
    if typed and (given or text.count(REGION_MARK) != len(typed)):
        raise RequestError(
            "regions are typed into the question and given besides",
            value=f"{len(typed)} typed, {len(given)} in the request, {text.count(REGION_MARK)} "
            f"{REGION_MARK} in all",
            remedy="give all regions in one way",
        )
    _check_count(len(typed) + len(given), settings)
    _check_repair(typed or given, settings)
    regions = tuple(
        _clipped(index, region, size_wh, settings) for index, region in enumerate(typed or given)
    )
    marks = text.count(REGION_MARK)
    if marks and marks != len(regions):
        raise RequestError(
            f"the question has {marks} {REGION_MARK} for {len(regions)} regions",
            value=text,
            remedy=f"write as many {REGION_MARK} as there are regions, or none to ask about each "
            "by itself",
        )
    if query.marks and regions:
        for number in range(1, marks + 1):
            text = text.replace(REGION_MARK, str(number), 1)
        return [_ask(query, text, (Region.image(),))]
    if marks:
        return [_ask(query, text, regions)]
    if not regions:
        return [] if query.use_detections else [_ask(query, text, (Region.image(),))]
    return [_ask(query, text, (region,), _hint(region, settings)) for region in regions]


def _ask(query: Query, text: str, regions: tuple[Region, ...], hint: str = "") -> Question:
    return Question(
        text, regions, query.task, hint=hint, choices=query.choices, json_schema=query.json_schema
    )


def mark(
    query: Query,
    picture: Picture,
    detections: tuple[Region, ...],
    size_wh: tuple[int, int],
    settings: Settings,
) -> Picture:
    """Return the picture as the model sees it: with the regions drawn on it, if the query wants so.

    The query has been composed: its regions are usable.
    """
    given = (*query.regions, *detections)
    if not query.marks or not given:
        return picture
    clipped = [_clipped(index, region, size_wh, settings) for index, region in enumerate(given)]
    return MarkedPicture(picture, clipped)


def _check_names(query: Query, settings: Settings) -> None:
    names = [("session", query.session)]
    for region in query.regions:
        names += [("region's id", region.id), ("region's label", region.label)]
    for what, name in names:
        if len(name) > settings.max_name_chars:
            raise RequestError(
                f"the {what} is longer than {settings.max_name_chars} characters",
                value=f"{len(name)} characters",
                remedy="shorten it, or raise the parameter max_name_chars",
            )


def _check_count(count: int, settings: Settings) -> None:
    if count > settings.max_regions:
        raise RegionError(
            f"there are more than {settings.max_regions} regions",
            value=count,
            remedy="ask about fewer at a time, or raise the parameter max_regions",
        )


def _check_repair(regions: Sequence[Region], settings: Settings) -> None:
    """Raise RegionError if the self-crossing polygons take the executor too long to repair.

    The time grows with the square of a polygon's corners.
    """

    def cost(some: Iterable[Region]) -> int:
        counts = [len(region.points_px) for region in some]
        return sum(min(count, settings.max_corners) ** 2 for count in counts if count > 2)

    if cost(regions) <= settings.max_corners**2:
        return
    crossing = [region for region in regions if region.crosses_itself]
    if cost(crossing) > settings.max_corners**2:
        raise RegionError(
            "the polygons that cross themselves have too many corners in all",
            value=sum(len(region.points_px) for region in crossing),
            remedy="give outlines that do not cross themselves, ask about fewer at a time, or "
            "raise the parameter max_corners",
        )


def _clipped(index: int, region: Region, size_wh: tuple[int, int], settings: Settings) -> Region:
    """Clip one region; an error names which one it was."""
    try:
        return region.clipped(*size_wh, settings.max_corners)
    except RegionError as error:
        name = f" '{shorten(region.id)}'" if region.id else ""
        raise RegionError(
            f"region {index}{name}: {error.problem}", value=error.value, remedy=error.remedy
        ) from error


def _hint(region: Region, settings: Settings) -> str:
    """Return what the detector calls a region: its letters and digits, of one line."""
    kept = "".join(
        one if unicodedata.category(one)[0] in "LMN" or one in _LABEL_MARKS else " "
        for one in region.label[: 4 * _LABEL_CHARS]
    )
    label = " ".join(kept.split())[:_LABEL_CHARS].strip()
    return f" (A detector calls it: {label})" if settings.show_labels and label else ""
