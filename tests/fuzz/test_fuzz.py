"""Whatever comes in, a typed error or a good value comes out: no crash, no hang, no other error.

Images, compressed files, regions, questions, prompts, a model's words, requests. The shares of all
the examples that the tests draw add up to 1.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from chatspot_ros.msg import Region as RegionMessage
from chatspot_ros.srv import RegionQuery
from geometry_msgs.msg import Point32
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage

from chatspot_ros.core import prompts
from chatspot_ros.core.answer_parser import Answer, read
from chatspot_ros.core.model_spec import read_spec
from chatspot_ros.core.regions import Region, RegionKind, parse_typed_regions
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.errors import ChatspotError, ImageError, RegionError, RequestError
from chatspot_ros.images.decode import ENCODINGS, image_size, message_to_rgb
from chatspot_ros.images.headers import declared_size
from chatspot_ros.ros.conversions import to_query
from chatspot_ros.server import request_validation
from chatspot_ros.server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SPECS = [read_spec(path) for path in sorted((ROOT / "config" / "models").glob("*.yaml"))]
SKILLS = ("open", "close", "pick", "plug_in", "turn_on")
MAX_PIXELS = 10_000
DEFAULT_TOTAL = 4000
TOTAL = int(os.environ.get("CHATSPOT_FUZZ", DEFAULT_TOTAL))


def fuzz(share: float) -> settings:
    """Give a test its share of all examples. A hang is pytest-timeout's to end."""
    return settings(
        max_examples=max(1, round(TOTAL * share)),
        deadline=None,
        database=None,
        # The same examples in every default run, new ones where a number is asked for.
        derandomize="CHATSPOT_FUZZ" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )


def check_error(error: ChatspotError) -> None:
    """It says what is wrong, what to do, and which status a caller gets."""
    assert error.problem
    assert error.remedy
    assert getattr(RegionQuery.Response, error.status) > 0
    assert str(error)


# --- what is drawn

sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
numbers = st.one_of(
    st.floats(-50, 5000),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-2, 700).map(float),
)
points = st.tuples(numbers, numbers)
regions = st.lists(points, max_size=9).map(lambda found: Region(tuple(found)))
good_regions = st.one_of(
    st.just(Region.image()),
    st.tuples(st.floats(0, 640), st.floats(0, 480)).map(lambda p: Region.point(*p)),
    st.lists(st.tuples(st.floats(0, 640), st.floats(0, 480)), min_size=2, max_size=8).map(
        lambda found: Region(tuple(found))
    ),
)
PIECES = (
    *prompts.control_strings(), *(s for spec in SPECS for s in spec.dialect.make().control_strings),
    "<region>", "<box>1,2,3,4</box>", "<box>0.1 0.2 0.5 0.9</box>", "<box>", "</box>", "nan", "inf",
    "1e309", "door: open", "plug: in, door:", "open fridge; pick cola", "1. open", "nothing to do",
    "there is no mug", '{"bbox_2d": [1, 2, 3', '"point_2d": [5, 1e99]}', "[[", "((", "<|", ":",
    ";", ",", "\n", "\x00", "\u200b", "\ud800", "\u202e", "USER", " :", "what is", "this?", "-1",
    "<loc0001>", "<patch_index_0001>", '<point x="10.5" y="99">', "007", "999,999",
)  # fmt: skip
texts = st.lists(
    st.one_of(st.sampled_from(PIECES), st.text(max_size=12), st.integers().map(str)), max_size=12
).map("".join)
tasks = st.one_of(st.sampled_from(list(TASKS)), st.text(max_size=6))
specs = st.sampled_from(SPECS)


# --- images


@st.composite
def raw_images(draw: st.DrawFn) -> Any:
    encoding = draw(st.one_of(st.sampled_from(ENCODINGS), st.text(max_size=8)))
    width, height = draw(st.integers(0, 24)), draw(st.integers(0, 24))
    step = draw(st.one_of(st.integers(0, 256), st.sampled_from((width, 3 * width, 4 * width))))
    length = draw(st.one_of(st.integers(0, 600), st.just(step * height), st.just(width * height)))
    if draw(st.integers(0, 19)) == 0:
        width = draw(st.integers(0, 2**32 - 1))
    data = draw(st.binary(min_size=min(length, 64), max_size=64)) * 400
    return SimpleNamespace(
        encoding=encoding, width=width, height=height, step=step,
        is_bigendian=draw(st.integers(0, 255)), data=data[:length],
    )  # fmt: skip


@fuzz(0.2)
@given(raw_images())
def test_raw_images(message: Any) -> None:
    check_picture(message)


def _files() -> list[bytes]:
    rgb = np.random.default_rng(1).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    return [cv2.imencode(kind, rgb)[1].tobytes() for kind in (".jpg", ".png", ".webp", ".bmp")]


FILES = _files()


@st.composite
def compressed_images(draw: st.DrawFn) -> Any:
    data = bytearray(draw(st.one_of(st.sampled_from(FILES), st.binary(max_size=80))))
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    form = draw(st.one_of(st.sampled_from(("jpeg", "png", "rgb8; jpeg compressed bgr8",
                                           "16UC1; compressedDepth png")),
                          st.text(max_size=8)))  # fmt: skip
    return SimpleNamespace(format=form, data=bytes(data))


@fuzz(0.15)
@given(compressed_images())
def test_compressed_images(message: Any) -> None:
    check_picture(message)


def check_picture(message: Any) -> None:
    """Either an ImageError, or a picture of the declared size."""
    try:
        width, height = image_size(message, MAX_PIXELS)
        rgb = message_to_rgb(message, MAX_PIXELS)
    except ImageError as error:
        check_error(error)
        return
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8
    assert width * height <= MAX_PIXELS


@fuzz(0.05)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_file_that_declares_a_huge_picture_is_not_decoded(width: int, height: int) -> None:
    assume(width * height > MAX_PIXELS)
    png = bytearray(FILES[1])
    struct.pack_into(">II", png, 16, width, height)
    struct.pack_into(">I", png, 29, zlib.crc32(png[12:29]))
    assert declared_size(bytes(png)) == (width, height)
    with pytest.raises(ImageError, match="larger than"):
        message_to_rgb(SimpleNamespace(format="png", data=bytes(png)), MAX_PIXELS)


# --- regions


@fuzz(0.1)
@given(regions, sizes)
def test_regions(region: Region, size_wh: tuple[int, int]) -> None:
    try:
        clipped = region.clipped(*size_wh)
    except RegionError as error:
        check_error(error)
        return
    for x, y in clipped.points_px:
        assert 0 <= x <= size_wh[0]
        assert 0 <= y <= size_wh[1]
    if clipped.kind in (RegionKind.BOX, RegionKind.POLYGON):
        left, top, right, bottom = clipped.box_xyxy_px
        assert left < right
        assert top < bottom
    # What was clipped once stays.
    assert clipped.clipped(*size_wh).kind is clipped.kind


@fuzz(0.1)
@given(texts, sizes)
def test_typed_regions(question: str, size_wh: tuple[int, int]) -> None:
    try:
        text, found = parse_typed_regions(question, *size_wh)
    except (RegionError, RequestError) as error:
        check_error(error)
        return
    assert text.count("<region>") >= len(found)
    assert all(found_one.points_px for found_one in found)


# --- what a model is told, and what it says


@fuzz(0.15)
@given(texts, st.lists(good_regions, max_size=3), tasks, specs, sizes)
def test_prompts(question: str, asked: list[Region], task: str, spec: Any,
                 size_wh: tuple[int, int]) -> None:  # fmt: skip
    dialect, fit = spec.dialect.make(), spec.geometry.fit(size_wh)
    try:
        inside = [region.clipped(*size_wh) for region in asked]
        said = prompts.build(
            question, inside, task, fit, dialect, spec.prompt_style, SKILLS,
            control=("<mine>", "x"),
        )  # fmt: skip
    except (RequestError, RegionError) as error:
        check_error(error)
        return
    assert isinstance(said, str)
    assert said.encode()
    # Nothing that a person wrote can pass for what only the program says.
    forbidden = (*prompts.control_strings(), *dialect.control_strings, "<mine>")
    spoken = "".join(dialect.say(region, fit) for region in inside)
    for control in forbidden:
        own = said.removeprefix(TASKS[task].tag if task in TASKS else "").count(control)
        assert own <= spoken.count(control), (control, said)


@fuzz(0.05)
@given(texts, st.lists(st.text(min_size=1, max_size=6), max_size=6))
def test_neutralised_text_holds_no_control_string(text: str, controls: list[str]) -> None:
    said = prompts.neutralise(text, controls)
    assert not [one for one in controls if one.strip() and one in said]
    assert prompts.neutralise("what is this mug", ("<s>",)) == "what is this mug"


@fuzz(0.15)
@given(texts, tasks, specs, sizes, st.floats(), st.booleans(), st.booleans())
def test_answers(text: str, task: str, spec: Any, size_wh: tuple[int, int], confidence: float,
                 truncated: bool, with_skills: bool) -> None:  # fmt: skip
    skills = SKILLS if with_skills else ()
    answer: Answer = read(
        text, task=task, regions=(), fit=spec.geometry.fit(size_wh), dialect=spec.dialect.make(),
        skills=skills, confidence=confidence, truncated=truncated,
    )  # fmt: skip
    assert 0 <= answer.confidence <= 1 or math.isnan(confidence)
    assert all(step.action in skills for step in answer.steps if with_skills)
    assert "\x00" not in answer.text
    for region in answer.grounded:
        for x, y in region.points_px:
            assert 0 <= x <= size_wh[0]
            assert 0 <= y <= size_wh[1]


# --- requests

floats32 = st.floats(width=32)
messages = st.builds(
    RegionMessage,
    id=st.text(max_size=5),
    label=st.one_of(st.text(max_size=8), st.sampled_from(PIECES).filter(str.isprintable)),
    points=st.lists(
        st.builds(
            lambda x, y: Point32(x=x, y=y),
            st.one_of(floats32, st.floats(-5, 700, width=32)),
            st.one_of(floats32, st.floats(-5, 500, width=32)),
        ),
        max_size=6,
    ),
)
requests = st.builds(
    RegionQuery.Request,
    camera=st.sampled_from(("", "camera", "nowhere")),
    stamp=st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1)),
    image=st.one_of(
        st.just(CompressedImage()),
        st.binary(max_size=20).map(lambda data: CompressedImage(data=data)),
    ),
    regions=st.lists(messages, max_size=5),
    use_detections=st.booleans(),
    question=texts,
    task=tasks,
    session=st.text(max_size=5),
    timeout=st.builds(
        Duration, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1)
    ),
)
some_settings = st.builds(
    Settings,
    max_regions=st.integers(1, 6),
    max_question_chars=st.integers(1, 60),
    show_labels=st.booleans(),
)


@fuzz(0.05)
@given(requests, st.lists(good_regions, max_size=3), sizes, some_settings, specs)
def test_requests(request: Any, detections: list[Region], size_wh: tuple[int, int],
                  limits: Settings, spec: Any) -> None:  # fmt: skip
    """From the message to the words that a model reads, as the service does it."""
    try:
        query = to_query(request)
        text = request_validation.check(query, limits)
        assert 0 < len(text) <= max(limits.max_question_chars, 30)
        asks = request_validation.compose(query, text, tuple(detections), size_wh, limits)
        for ask in asks:
            words = prompts.build(
                ask.text, ask.regions, query.task, spec.geometry.fit(size_wh),
                spec.dialect.make(), spec.prompt_style, SKILLS,
            )  # fmt: skip
            assert words
    except ChatspotError as error:
        check_error(error)
        return
    assert sum(len(ask.regions) for ask in asks) <= max(1, limits.max_regions)
    for ask in asks:
        for region in ask.regions:
            assert all(math.isfinite(value) for point in region.points_px for value in point)
