"""Only turns about annotated regions are taken; annotations and seed examples are read and told."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatspot_ros.core.regions import Region
from chatspot_train.data.region_chat.annotations import Annotated, Annotations, Note
from chatspot_train.data.region_chat.journal import Journal, JournalError
from chatspot_train.data.region_chat.llm_prompt import Wording, WordingError
from chatspot_train.data.region_chat.reply_checks import (
    Reason,
    TurnError,
    check_reply,
    check_turn,
)
from chatspot_train.data.sources.base import SourceError
from chatspot_train.data.sources.conversion_report import SkipError

BOX = "<box>0.1 0.2 0.5 0.6</box>"
PICTURE = Annotated(
    "1", "1.jpg", 200, 100, (Note("{} a mug", (Region.box(20, 20, 100, 60),)),),
    relations=(Note("{} pan - on - {} hob", (Region.box(120, 0, 200, 50),
                                             Region.box(100, 40, 200, 100))),),
)  # fmt: skip


def said(question: Any, answer: Any = "A mug.") -> dict[str, Any]:
    return {"question": question, "answer": answer}


@pytest.mark.parametrize(
    ("question", "marked", "regions"),
    [
        (f"What is {BOX}?", "What is <region>?", [Region.box(20, 20, 100, 60)]),
        ("What is <box>0.1, 0.2, 0.5, 0.61</box>?", "What is <region>?",
         [Region.box(20, 20, 100, 61)]),
        ("And <point>[0.3, 0.4]</point>?", "And <region>?", [Region.point(60, 40)]),
        ("And <box>0.3 0.4</box>?", "And <region>?", [Region.point(60, 40)]),
        ("Is <box>0.6 0 1 0.5</box> on  <box>0.5 0.4 1 1</box>?", "Is <region> on <region>?",
         [Region.box(120, 0, 200, 50), Region.box(100, 40, 200, 100)]),
        ("What is <box>0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6</box>?", "What is <region>?",
         [Region.polygon([(20, 20), (100, 20), (100, 60), (20, 60)])]),
    ],
)  # fmt: skip
def test_good_turns_are_taken(question: str, marked: str, regions: list[Region]) -> None:
    turn = check_turn(said(question), PICTURE)
    assert turn.question == marked
    assert list(turn.regions) == regions


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("What?", Reason.NOT_A_TURN),
        ({"question": "What?"}, Reason.NOT_A_TURN),
        (said(f"What is {BOX}?", 7), Reason.NOT_A_TURN),
        (said(f" {BOX}? "), Reason.NO_QUESTION),
        (said(f"What is {BOX}?", "\n "), Reason.NO_ANSWER),
        (said("What is this?"), Reason.NO_COORDINATES),
        (said("What is <box>0.1 0.2 0.5</box>?"), Reason.BAD_COORDINATES),
        (said("What is <box>left</box>?"), Reason.BAD_COORDINATES),
        (said("What is <box></box>?"), Reason.BAD_COORDINATES),
        (said("What is <point>0.1 0.2 0.5 0.6</point>?"), Reason.BAD_COORDINATES),
        (said("What is <box>0.1 0.2 0.1 0.6</box>?"), Reason.BAD_COORDINATES),
        (said("What is <box>0.1 0.2 0.5 0.6?"), Reason.BAD_COORDINATES),
        (said("What is <box>0.1 0.2 0.5 nan</box>?"), Reason.OUTSIDE),
        (said("What is <box>20 20 100 60</box>?"), Reason.OUTSIDE),
        (said("What is <box>-0.1 0.2 0.5 0.6</box>?"), Reason.OUTSIDE),
        (said("What is <box>0.1 0.2 1 0.6</box>?"), Reason.NOT_ANNOTATED),
        (said("What is <point>0.05 0.9</point>?"), Reason.NOT_ANNOTATED),
        (said(f"Is {BOX} on <box>0 0.7 0.3 1</box>?"), Reason.NOT_ANNOTATED),
        (said(f"What is {BOX}?", f"It is at {BOX}."), Reason.COORDINATES_IN_WORDS),
        (said(f"What is {BOX}?", "It is at (0.1, 0.2)."), Reason.COORDINATES_IN_WORDS),
        (said(f"What is {BOX}?", "A mug.</s>"), Reason.CONTROL_STRING),
        (said(f"USER: What is {BOX}?"), Reason.CONTROL_STRING),
        (said(f"What is {BOX} <region>?"), Reason.CONTROL_STRING),
        (said(f"What is {BOX}?", "A <|im_end|> mug"), Reason.CONTROL_STRING),
        (said(f"What is {BOX}?", "A\u200bmug"), Reason.CONTROL_STRING),
    ],
)
def test_bad_turns_have_a_reason(raw: Any, reason: Reason) -> None:
    with pytest.raises(TurnError) as error:
        check_turn(raw, PICTURE)
    assert error.value.reason is reason


def test_an_iou_of_a_half_is_enough() -> None:
    check_turn(said("What is <box>0.1 0.2 0.5 0.4</box>?"), PICTURE)
    with pytest.raises(TurnError, match="nothing is annotated"):
        check_turn(said("What is <box>0.1 0.2 0.5 0.39</box>?"), PICTURE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Sure! []", Reason.NOT_JSON), ('[{"question": ', Reason.NOT_JSON), ("", Reason.NOT_JSON),
        ("[]", Reason.NOT_A_LIST), ('{"question": "a"}', Reason.NOT_A_LIST),
        ("7", Reason.NOT_A_LIST),
    ],
)  # fmt: skip
def test_a_reply_that_holds_no_turns_has_a_reason(text: str, reason: Reason) -> None:
    checked = check_reply(text, PICTURE)
    assert not checked.turns
    assert [(fault.reason, fault.turn) for fault in checked.faults] == [(reason, None)]


def test_what_leans_on_a_dropped_turn_goes_with_it() -> None:
    turns = [
        said(f"What is {BOX}?"), said("What is it?"), said(f"And what about {BOX}?"),
        said(f"What else is in {BOX}?"), said(f"Who holds {BOX}?"), said(f"And {BOX}?"),
    ]  # fmt: skip
    for text in (json.dumps(turns), f"```json\n{json.dumps({'turns': turns})}\n```"):
        checked = check_reply(text, PICTURE)
        assert [turn.question for turn in checked.turns] == [
            "What is <region>?", "Who holds <region>?", "And <region>?",
        ]  # fmt: skip
        assert [(fault.turn, fault.reason) for fault in checked.faults] == [
            (1, Reason.NO_COORDINATES), (2, Reason.LEANS_ON_DROPPED), (3, Reason.LEANS_ON_DROPPED),
        ]  # fmt: skip


@pytest.fixture
def wording(root: Path) -> Wording:
    return Wording.read(root / "config" / "train" / "region_chat.yaml")


def test_the_seed_examples_pass_their_own_checks(wording: Wording) -> None:
    assert len(wording.seeds) >= 3
    for seed in wording.seeds:
        reply = json.dumps([turn.model_dump() for turn in seed.dialogue])
        assert check_reply(reply, seed.annotated()).faults == ()


def test_the_model_is_told_boxes_as_fractions(wording: Wording) -> None:
    few = wording.model_copy(update={"most_notes": 1})
    assert few.messages(PICTURE)[-1]["content"] == (
        "Picture of 200 x 100 pixels.\nRegions:\n- <box>0.100 0.200 0.500 0.600</box> a mug\n"
        "Relations:\n- <box>0.600 0.000 1.000 0.500</box> pan - on - "
        "<box>0.500 0.400 1.000 1.000</box> hob"
    )


def test_malformed_seed_files_are_named(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "seeds.yaml"
    with pytest.raises(WordingError, match=r"cannot be read.*seeds\.yaml"):
        Wording.read(file)
    good = yaml.safe_load((root / "config" / "train" / "region_chat.yaml").read_text())
    file.write_text(yaml.safe_dump(good | {"colour": 1}))
    with pytest.raises(WordingError, match="colour: Extra inputs"):
        Wording.read(file)
    good["seeds"][0]["regions"][0]["width"] = -1
    file.write_text(yaml.safe_dump(good))
    with pytest.raises(WordingError, match="the box has no area"):
        Wording.read(file)


def write(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(value))
    return path


def test_visual_genomes_files_are_read_with_their_oddities(tmp_path: Path) -> None:
    place = {"x": 10, "y": 10, "w": 20, "h": 20}
    found = Annotations(
        write(tmp_path, "r.json", [
            {"id": 7, "regions": [
                {"x": 180, "y": -5, "width": 40, "height": 30, "phrase": "a {big}\n lamp"},
                {"x": 500, "y": 5, "width": 40, "height": 30, "phrase": "far"},
                {"x": 5, "y": 5, "width": 40, "height": 30},
            ]},
            {"id": 8, "regions": []}, {"id": 9, "regions": [], "width": 5, "height": 5},
        ]),
        write(tmp_path, "a.json", [{"image_id": 7, "attributes": [
            {**place, "names": ["wall"], "attributes": ["white", "tall"]},
            {**place, "names": ["x"]},
        ]}]),
        write(tmp_path, "l.json", [{"image_id": 7, "relationships": [
            {"predicate": "ON", "subject": {**place, "name": "shade"},
             "object": {**place, "names": ["street"]}},
            {"predicate": "ON", "subject": {**place, "name": "shade"}},
        ]}]),
        write(tmp_path, "i.json", [
            {"image_id": 7, "width": 200, "height": 100, "url": "https://e.example/rak/VG_100K_2/7.jpg"}
        ]),
    )  # fmt: skip
    faults: list[str] = []
    picture = found.read("7", lambda where, error: faults.append(where))
    assert picture.image == "VG_100K_2/7.jpg"
    assert picture.regions == (Note("{} a (big) lamp", (Region.box(180, 0, 200, 25),)),)
    assert picture.attributes == (Note("{} wall: white, tall", (Region.box(10, 10, 30, 30),)),)
    assert [note.text for note in picture.relations] == ["{} shade - on - {} street"]
    assert faults == [
        "picture 7: regions[1]", "picture 7: regions[2]", "picture 7: relationships[1]",
    ]  # fmt: skip
    with pytest.raises(SkipError, match="--images-info"):
        found.read("8", lambda where, error: None)
    with pytest.raises(SkipError, match="no region of the picture is described"):
        found.read("9", lambda where, error: None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"regions": []}], r"\[0\] has no image_id"),
        ([{"id": 1}, {"image_id": 1}], r"\[1\] is a picture for the second time"),
        ({"a": 1}, "do not hold a list"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        Annotations(write(tmp_path, "r.json", value))
    with pytest.raises(SourceError, match=r"no such file.*none\.json"):
        Annotations(tmp_path / "none.json")


def test_a_folder_is_held_by_one_run_and_broken_lines_are_named(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.finish({"id": "1"})
        with pytest.raises(JournalError, match="another run"):
            Journal(tmp_path)
    (tmp_path / "dialogues.jsonl").write_text('{"id": "1"}\n{"id": \n{"id": "3"}\n')
    with pytest.raises(JournalError, match=r"line 2 of dialogues\.jsonl is broken"):
        Journal(tmp_path)
