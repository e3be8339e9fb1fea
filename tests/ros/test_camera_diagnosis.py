"""The sentence that says why no image comes, and the losses that it believes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chatspot_ros.errors import ModelLoadError, NotActiveError, RequestError
from chatspot_ros.ros.camera_diagnosis import COMPRESSED, RAW, Listening, diagnose
from chatspot_ros.ros.camera_subscriber import CameraSubscriber
from chatspot_ros.ros.conversions import to_time
from chatspot_ros.util.resources import find_model


def said(**changes: Any) -> str:
    given: dict[str, Any] = {
        "topic": "/cam", "wanted": RAW, "reliable": False, "publishers": [(RAW, True)],
        "images": {}, "quiet_s": 9.0,
    }  # fmt: skip
    return diagnose(Listening(**{**given, **changes}))


@pytest.mark.parametrize(
    ("changes", "words", "never"),
    [
        ({"publishers": []}, ("no publisher", "/cam"), ("reliab",)),
        ({"publishers": [], "images": {"/front": RAW}}, ("/front", "remap"), ()),
        ({"publishers": [(COMPRESSED, True)]}, (COMPRESSED, f"not {RAW}"), ("reliab",)),
        ({"topic": "/cam/compressed", "publishers": [(COMPRESSED, True)]},
         ("image_transport:=compressed", "`image` to /cam"), ()),
        ({"reliable": True}, ("image_reliability:=best_effort",), ("image_reliability:=reliable",)),
        ({"reliable": True, "publishers": [(RAW, False)]}, ("does publish",), ("best_effort",)),
        ({"frames": 3}, ("1 publisher on /cam", "9 s ago"), ("reliab", "FASTDDS")),
        ({"frames": 3, "lost": 5}, ("5 frames lost", "FASTDDS", "reliable"), ()),
        ({"topic": "/a/compressed/compressed", "wanted": COMPRESSED, "publishers": [],
          "images": {"/a/compressed": COMPRESSED}}, ("twice", "`image` to /a"), ()),
    ],
)  # fmt: skip
def test_one_cause_and_no_contradiction(
    changes: dict[str, Any], words: tuple[str, ...], never: tuple[str, ...]
) -> None:
    text = said(**changes)
    assert all(word in text for word in words), text
    assert not any(word in text for word in never), text


def test_a_reset_of_the_middlewares_count_is_no_loss() -> None:
    """`frames dropped: 2147483786` was 139 and the largest int32."""
    counted = SimpleNamespace(_lost=0)
    for change in (100, 2**31 - 1, -5, 39):
        CameraSubscriber._on_message_lost(counted, SimpleNamespace(total_count_change=change))  # type: ignore[arg-type]
    assert counted._lost == 139


@pytest.mark.parametrize("value", ["", " ", None, (), []])
def test_nothing_is_not_shown_as_a_value(value: object) -> None:
    assert str(RequestError("it is empty", value=value, remedy="fill it")) == "it is empty: fill it"
    assert "(got 0)" in str(RequestError("it is wrong", value=0, remedy="raise it"))


def test_a_reason_is_not_shown_as_a_value() -> None:
    error = NotActiveError("the node does not answer", value="it loads", remedy="ask again")
    assert str(error) == "the node does not answer: it loads; ask again"


@pytest.mark.parametrize("name", ["/nowhere/model", "~/no-such-model", "./no-such-model"])
def test_a_path_that_is_not_there_is_no_hub_id(name: str) -> None:
    with pytest.raises(ModelLoadError, match="no such model"):
        find_model(name)


@pytest.mark.parametrize(("stamp_ns", "sec"), [(2**70, 2**31 - 1), (-(2**70), -(2**31))])
def test_a_stamp_beyond_the_message_is_its_end(stamp_ns: int, sec: int) -> None:
    assert to_time(stamp_ns).sec == sec
