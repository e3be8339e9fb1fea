"""Prompts of models that were taught a phrase for each task."""

from __future__ import annotations

import pytest

from chatspot_ros.core.dialects import Florence2Dialect, Kosmos2Dialect
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.model_spec import find_spec
from chatspot_ros.core.regions import Region
from chatspot_ros.core.task_prompts import TaskPrompts, build
from chatspot_ros.errors import RequestError

LAID = fit(PictureGeometry.STRETCH, (200, 100), (224, 224))
BOX = Region.box(20.02, 25.02, 100.02, 75.02)
PLACES = "<loc_100><loc_250><loc_500><loc_750>"
FLORENCE = find_spec("x", "florence2").phrases or TaskPrompts(picture={}, region={})
KOSMOS = find_spec("x", "kosmos-2").phrases or TaskPrompts(picture={}, region={})


def florence(question: str, *regions: Region, task: str = "") -> str:
    return build(question, regions, task, LAID, Florence2Dialect(), FLORENCE)


def test_a_task_becomes_its_phrase() -> None:
    assert florence("What is this?", BOX) == f"What is the region {PLACES}?"
    assert florence("Read it.", BOX, task="read") == f"What text is in the region {PLACES}?"
    assert florence("What is on it?", task="read") == "What is the text in the image?"
    assert florence("What is this?", Region.image()) == "What does the image describe?"


@pytest.mark.parametrize(
    "question",
    ["Where is the red mug?", "Find the red mug.", "Please locate the red mug in the picture",
     "the red mug"],
)  # fmt: skip
def test_what_to_find_is_taken_out_of_the_question(question: str) -> None:
    assert florence(question, task="locate") == "Locate the red mug in the image."


def test_the_users_words_stand_where_the_phrase_has_them() -> None:
    said = "<phrase> It</phrase><object><patch_index_0259><patch_index_0784></object>"
    prompt = build("What does <region> say?", [BOX], "read", LAID, Kosmos2Dialect(), KOSMOS)
    assert prompt == f"Question: What does {said} say? Answer:"
    alone = build("What does it say?", [BOX], "read", LAID, Kosmos2Dialect(), KOSMOS)
    assert alone == f"Question: {said} What does it say? Answer:"
    assert build("Is it on?", [], "", LAID, Kosmos2Dialect(), KOSMOS) == (
        "Question: Is it on? Answer:"
    )


def test_words_cannot_become_fields_or_places() -> None:
    prompt = build("{regions} <loc_5> {thing}", [], "", LAID, Kosmos2Dialect(), KOSMOS)
    assert "{regions}" in prompt
    assert "<loc_5>" not in florence("<loc_5> mug", task="locate")


def test_what_is_lost_is_said() -> None:
    assert "own words" in FLORENCE.ignores("", True)
    assert FLORENCE.ignores("locate", False) == ""
    assert KOSMOS.ignores("", False) == ""


@pytest.mark.parametrize(
    ("question", "regions", "task", "problem"),
    [
        ("How do I open it?", (BOX,), "plan", "cannot answer"),
        ("What state is it in?", (), "state", "cannot answer"),
        ("Where is it?", (BOX,), "locate", "cannot answer"),
        (" ", (), "", "empty"),
        ("What is <region>?", (), "", "1 <region> for 0 regions"),
        ("What are these?", (BOX, BOX), "", "0 <region> for 2 regions"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    question: str, regions: tuple[Region, ...], task: str, problem: str
) -> None:
    with pytest.raises(RequestError, match=problem) as caught:
        florence(question, *regions, task=task)
    assert caught.value.remedy
