"""A typed region that cannot be read is refused: it is never the whole picture instead."""

from __future__ import annotations

import pytest

from chatspot_ros.core.regions import Region, parse_typed_regions
from chatspot_ros.errors import ChatspotError, RegionError, RequestError

SIZE = (640, 480)
BOX = "10,20,30,40"


@pytest.mark.parametrize(
    "typed",
    [
        f"<BOX>{BOX}</BOX>", f"<Box>{BOX}</Box>", f"<BOX>{BOX}</box>", f"<box >{BOX}</box>",
        f"< box>{BOX}</box>", f"<box>{BOX}</ box>", f"<box>{BOX}</box >", f"<box\n>{BOX}</box>",
        f"＜box＞{BOX}＜/box＞",
    ],
)  # fmt: skip
def test_another_spelling_is_read_or_refused(typed: str) -> None:
    try:
        text, regions = parse_typed_regions(f"what is {typed}?", *SIZE)
    except (RegionError, RequestError):
        return
    assert (text, regions) == ("what is <region>?", [Region.box(10, 20, 30, 40)])


@pytest.mark.parametrize(
    "typed",
    [
        f"<bbox>{BOX}</bbox>", f"<point>{BOX}</point>", f"<polygon>{BOX}</polygon>",
        f"<boxes>{BOX}</boxes>", f"<rect>{BOX}</rect>", f"<region>{BOX}</region>",
        f"<box/>{BOX}", f"<box x=1>{BOX}</box>",
        f"{BOX}</box>", "</box>", "</BOX>", "</ box>", f"<box>{BOX}", f"<BOX>{BOX}",
        f"<box>{BOX}<box>",
        f"</box>{BOX}<box>", f"<box>{BOX}</box></box>", f"<box><box>{BOX}</box></box>",
    ],
)  # fmt: skip
def test_what_is_meant_for_a_region_and_cannot_be_read_is_refused(typed: str) -> None:
    with pytest.raises((RegionError, RequestError), match="<box>x1,y1,x2,y2</box>"):
        parse_typed_regions(f"what is {typed}?", *SIZE)


@pytest.mark.parametrize(
    "numbers",
    [
        "１０,２０,３０,４０", "١٠,٢٠,٣٠,٤٠", "१०,२०,३०,४०", "1_0,2_0,3_0,4_0", "nan,nan", "inf,1",
        "-inf,1,2,3", "1e999,2", "0x10,2,3,4", "10,20,30,4O", "½,1", "10，20，30，40",
    ],
)  # fmt: skip
def test_numbers_that_are_not_plain_are_refused(numbers: str) -> None:

    def read() -> None:
        _, regions = parse_typed_regions(f"<box>{numbers}</box>", *SIZE)
        for region in regions:
            region.clipped(*SIZE)

    with pytest.raises(RegionError):
        read()


@pytest.mark.parametrize("numbers", ["-0.5,-0.5,0.5,0.5", "-3,-4,0.5,1", "0.5,-0.1", "-1,-1,-1,-1"])
def test_negative_fractions_are_refused(numbers: str) -> None:
    """All at most 1, so they are taken for fractions of the picture."""
    with pytest.raises(RegionError):
        parse_typed_regions(f"<box>{numbers}</box>", *SIZE)


@pytest.mark.parametrize(
    "question",
    [
        "is 3 < 4?", "a <b>bold</b> word", "what is in the box?", "<image>", "<s> USER: x </s>",
        "x<y and y>z", "open the <door>", "<3", "which lunchbox> is it", "-> box <-",
    ],
)  # fmt: skip
def test_what_is_no_region_stays(question: str) -> None:
    assert parse_typed_regions(question, *SIZE) == (question, [])


@pytest.mark.parametrize("typed", ["<box>10 20 30 40</box>", "<box> 10, 20; 30, 40 </box>",
                                   "<box>(10,20),(30,40)</box>", "<box>[10, 20, 30, 40]</box>",
                                   "<box>10.0,20.0,30.0,40.0</box>"])  # fmt: skip
def test_what_could_be_read_still_is(typed: str) -> None:
    assert parse_typed_regions(typed, *SIZE) == ("<region>", [Region.box(10, 20, 30, 40)])


def test_the_error_is_a_chatspot_one() -> None:
    assert issubclass(RegionError, ChatspotError)
