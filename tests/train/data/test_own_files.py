"""Sources for people's own files: COCO files, dialogues of LLaVA and Qwen, folders of classes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from own_files import Build, drops

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.dialogues import without_mark


def said(records: list[Record]) -> list[list[tuple[str, str]]]:
    return [[(turn.question, turn.answer) for turn in record.turns] for record in records]


def box(turn: RecordTurn) -> tuple[float, ...]:
    """The one box of a turn, in question or answer."""
    (region,) = (*turn.regions, *turn.answer_regions)
    return tuple(round(value, 6) for value in region.box_xyxy_px)


# --- COCO

NAMES = ("mug", "fridge_door", "door", "apple", "Apple tree")


def coco(*things: tuple[int, int, dict[str, Any]], pictures: int = 2, **more: Any) -> Any:
    """A COCO file; a thing is the number of its picture, its category, and what differs."""
    bare = {"bbox": [4, 4, 30, 30]}
    return {
        "images": [
            {"id": k, "file_name": "a.jpg", "width": 64, "height": 48, **more}
            for k in range(1, pictures + 1)
        ],
        "annotations": [
            {"id": k, "image_id": image, "category_id": category, **bare, **own}
            for k, (image, category, own) in enumerate(things, 1)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(NAMES, 1)],
    }


def test_a_coco_file_names_and_locates_its_things(build: Build) -> None:
    records = build("coco", coco((1, 1, {}), (2, 2, {"bbox": [10, 10, 20, 20]})))
    assert [record.id for record in records] == ["1", "2", "1-places", "2-places"]
    assert [record.turns[0].answer for record in records[:2]] == ["mug", "fridge door"]
    places = [turn for record in records[2:] for turn in record.turns if turn.answer == "<region>"]
    assert [box(turn) for turn in places] == [(4, 4, 34, 34), (10, 10, 30, 30)]
    assert all(turn.task == "locate" for turn in places)
    assert "mug" in places[0].question
    assert "fridge door" in places[1].question


def test_coco_outlines_are_asked_about_and_run_lengths_by_their_box(build: Build) -> None:
    outline = {"segmentation": [[4, 4, 34, 4, 34, 34, 20, 20, 4, 34]]}
    two = {"segmentation": [[4, 4, 9, 4, 9, 9], [20, 20, 30, 20, 30, 30]]}
    lengths = {"segmentation": {"counts": [9, 9], "size": [48, 64]}}
    for more, kinds in ((outline, {RegionKind.BOX, RegionKind.POLYGON}), (two, {RegionKind.BOX}),
                        (lengths, {RegionKind.BOX})):  # fmt: skip
        records = build("coco", coco(*[(1, 1, more)] * 20, pictures=1))
        regions = [region for record in records for turn in record.turns for region in turn.regions]
        assert len(regions) == 20
        assert {region.kind for region in regions} == kinds


def test_a_name_that_occurs_twice_or_as_a_crowd_is_not_located(
    build: Build, tmp_path: Path
) -> None:
    crowd = {"iscrowd": 1, "segmentation": {"counts": [9, 9], "size": [48, 64]}}
    nothing = {"bbox": [4, 4, 0, 9]}
    records = build("coco", coco(
        (1, 1, {}), (1, 1, {"bbox": [0, 0, 9, 9]}), (1, 2, {}), (1, 2, crowd), (2, 4, {}),
        (2, 4, nothing), (2, 3, {}),
    ))  # fmt: skip
    located = [turn.question for record in records for turn in record.turns
               if turn.task == "locate" and turn.answer_regions]  # fmt: skip
    assert len(located) == 1
    assert " door" in located[0]
    assert drops(tmp_path) == {
        "annotations[3]": "the box is of a crowd, not of one thing",
        "annotations[5]": "the box has no area",
    }


def test_what_is_there_and_what_is_not(build: Build) -> None:
    things = [(k, 2, {}) for k in range(1, 41)]  # a fridge door in each of 40 pictures
    elsewhere = [(41, k, {}) for k in (1, 3, 4)]  # no Apple tree: it may be a group of others
    records = build("coco", coco(*things, *elsewhere, pictures=41))
    turns = [turn for record in records if not record.id.startswith("41") for turn in record.turns]
    answers = [turn.answer for turn in turns if not turn.regions and turn.task == ""]
    assert len(answers) == 40
    assert 10 < answers.count("yes") < 30
    assert set(answers) == {"yes", "no"}
    for turn in turns:
        if turn.answer == "no" or turn.answer.startswith("there is no"):
            # A fridge door is a door.
            assert re.search(r"mug|apple", turn.question)
        if turn.answer == "yes":
            assert "fridge door" in turn.question
    sought = [turn for turn in turns if turn.answer.startswith("there is no")]
    assert 2 < len(sought) < 16
    assert all(turn.task == "locate" for turn in sought)


def test_a_file_of_one_category_is_not_asked_whether_it_is_there(build: Build) -> None:
    """Each answer would be yes."""
    records = build("coco", coco((1, 1, {}), (2, 1, {})))
    assert {turn.answer for record in records for turn in record.turns} == {"mug", "<region>"}


def test_a_file_that_is_not_complete_says_so_as_lvis_does(build: Build) -> None:
    things = [(k, 1, {}) for k in range(1, 31)]
    records = build("coco", coco(*things, pictures=30, neg_category_ids=[4],
                                 not_exhaustive_category_ids=[1]))  # fmt: skip
    turns = [turn for record in records for turn in record.turns]
    assert not [turn for turn in turns if turn.answer == "<region>"]
    denied = {turn.question for turn in turns if turn.answer in ("no", "there is no apple here")}
    assert denied
    assert all("apple" in question for question in denied)


def test_a_picture_without_annotations_and_one_without_a_file(build: Build, tmp_path: Path) -> None:
    whole = coco((2, 1, {}), (3, 1, {}), pictures=3)
    whole["images"][2]["file_name"] = "gone.jpg"
    records = build("coco", whole)
    assert {record.id.partition("-")[0] for record in records} == {"2"}
    assert drops(tmp_path) == {"images[0]": "nothing to ask about",
                               "images[2]": "the picture is missing"}  # fmt: skip


def test_a_path_of_another_machine_is_found_by_its_last_part(build: Build) -> None:
    whole = coco((1, 1, {}), (2, 1, {}))
    whole["images"][0]["file_name"] = "/home/me/photos/a.jpg"
    whole["images"][1]["file_name"] = "photos\\b.jpg"
    assert {record.image for record in build("coco", whole)} == {"a.jpg", "b.jpg"}


# --- LLaVA


def talk(*words: str, **more: Any) -> dict[str, Any]:
    """Questions and answers in turn, about a.jpg."""
    speakers = ("human", "gpt")
    said = [{"from": speakers[k % 2], "value": text} for k, text in enumerate(words)]
    return {"id": "1", "image": "a.jpg", "conversations": said, **more}


DIALOGUES = [
    talk("<image>\nWhat is red here?", "The whole picture.", "And what is blue?", "Nothing is."),
    talk("Describe it.\n<image>", "Red.", id=2, image="b.jpg"),
]


@pytest.mark.parametrize("layout", ["list", "lines"])
def test_llavas_dialogues_keep_questions_and_turns(build: Build, layout: str) -> None:
    text = "\n".join(map(json.dumps, DIALOGUES))
    records = build("llava", DIALOGUES if layout == "list" else text)
    assert [record.id for record in records] == ["1", "2"]
    assert said(records) == [
        [("What is red here?", "The whole picture."), ("And what is blue?", "Nothing is.")],
        [("Describe it.", "Red.")],
    ]


def test_a_dialogue_of_many_turns_stays_one(build: Build) -> None:
    (record,) = build("llava", [talk("<image>a", *map(str, range(79)))])
    assert len(record.turns) == 40


@pytest.mark.parametrize(
    ("question", "left"),
    [
        ("<image>\nWhat?", "What?"), ("What?\n<image>", "What?"), ("What?<image>", "What?"),
        ("Look at <image> and say.", "Look at and say."), ("What?\nA. a", "What?\nA. a"),
        ("<image>\nWhat?\nA. a\nB. b", "What?\nA. a\nB. b"),
    ],
)  # fmt: skip
def test_the_mark_of_the_picture_is_taken_out(question: str, left: str) -> None:
    assert without_mark(question) == left


def test_roles_and_parts_as_chats_have_them(build: Build, tmp_path: Path) -> None:
    picture = {"type": "image", "image": "b.jpg"}
    address = {"type": "image_url", "image_url": {"url": "b.jpg"}}
    records = build("llava", [
        {"image": "a.jpg", "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Red."}]}]},
        *[{"id": None, "images": None, "system": "Be short.", "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What?"}, one]},
            {"role": "assistant", "content": "Red."}]} for one in (picture, address)],
    ])  # fmt: skip
    assert [(record.id, record.image) for record in records] == [
        ("0", "a.jpg"), ("1", "b.jpg"), ("2", "b.jpg")]  # fmt: skip
    assert said(records) == [[("What?", "Red.")]] * 3
    assert drops(tmp_path) == dict.fromkeys(
        ("[0], message 0", "[1], system", "[2], system"), "a system message is left out"
    )


def test_a_whole_path_within_the_folder_of_images_is_found(build: Build, tmp_path: Path) -> None:
    images = (tmp_path / "images").resolve()
    names = (f"{images}/a.jpg", f"file://{images}/mug/c.jpg", "/elsewhere/a.jpg")
    records = build("llava", [talk("What?", "Red.", image=name) for name in names])
    assert [record.image for record in records] == ["a.jpg", "mug/c.jpg"]
    assert drops(tmp_path) == {"[2]": "the picture's name leads out of the images folder"}


UNUSABLE = {
    "no picture": ({"image": None}, "the dialogue names no picture for its <image>"),
    "text alone": (talk("What?", "Red.", image=None),
                   "the dialogue has no picture, and no --blank is given"),
    "two pictures": ({"image": ["a.jpg", "b.jpg"]}, "the dialogue has several pictures"),
    "two marks": (talk("<image><image>What?", "Red."), "the dialogue has several pictures"),
    "a video": ({"video": "a.mp4"}, "the dialogue has video, not a picture"),
    "two questions": ({"conversations": [{"from": "human", "value": "a"}] * 2},
                      "the turns are not pairs of a question and an answer"),
    "another role": ({"conversations": [{"from": "cat", "value": "a"}]},
                     "the turns are not pairs of a question and an answer"),
    "a mark in an answer": (talk("What?", "<image>"), "an answer holds <image>"),
    "an empty answer": (talk("What?", " "), "the answer to '..' is empty"),
    "an empty question": (talk("<image>", "Red."), "a question is empty"),
    "no turns": ({"conversations": []},
                 "conversations: Tuple should have at least N item after validation, not N"),
}  # fmt: skip


@pytest.mark.parametrize("why", UNUSABLE)
def test_a_dialogue_that_cannot_be_used_is_dropped_with_its_reason(
    build: Build, tmp_path: Path, why: str
) -> None:
    change, reason = UNUSABLE[why]
    bad = {**talk("<image>What?", "Red.", "And?", "Red, too."), **change}
    records = build("llava", [bad, talk("<image>What?", "Blue.")])
    assert said(records) == [[("What?", "Blue.")]]
    assert re.sub(r"\d+", "N", drops(tmp_path)["[0]"]) == reason


def test_a_dialogue_of_text_alone_can_have_a_blank_picture(
    build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [talk("Hello", "Hello!", image=None), talk("<image>?", "Red.", image=None)]
    (record,) = build("llava", texts, "--blank", "b.jpg")
    assert (record.image, said([record])) == ("b.jpg", [[("Hello", "Hello!")]])
    assert "names no picture" in drops(tmp_path)["[1]"]
    build("llava", texts, "--blank", "gone.jpg", status=1)
    assert drops(tmp_path)["[0]"] == "the picture is missing"
    build("coco", coco((1, 1, {})), "--blank", "b.jpg", status=2)
    assert "leave --blank out" in capsys.readouterr().err


def test_a_beginning_answer_and_an_open_question_are_left_out(build: Build, tmp_path: Path) -> None:
    whole = talk("What?", "Red.", "And?")
    whole["conversations"].insert(0, {"from": "gpt", "value": "Hello."})
    assert said(build("llava", [whole])) == [[("What?", "Red.")]]
    assert drops(tmp_path) == {
        "[0], message 0": "an answer stands before the first question",
        "[0]": "the last question has no answer",
    }


BOXES = [
    talk("<image>What is in [0.25, 0.5, 0.5, 1.0]?", "A mug."),
    talk("<image>Where is the mug?", "[0.25, 0.5, 0.5, 1.0]", "[1, 2, 3, 4]?", "A list."),
]


def test_llavas_boxes_stay_words_unless_they_are_to_be_read(build: Build) -> None:
    plain = build("llava", BOXES)
    assert said(plain)[0] == [("What is in [0.25, 0.5, 0.5, 1.0]?", "A mug.")]
    assert not any(turn.regions for record in plain for turn in record.turns)
    for form, bounds in (("fractions", (16, 24, 32, 48)), ("padded", (16, 24, 32, 48))):
        first, second = build("llava", BOXES, "--regions", form)
        assert said([first]) == [[("What is in <region>?", "A mug.")]]
        where, listed = second.turns
        assert (where.answer, where.task) == ("<region>", "locate")
        assert listed.question == "[1, 2, 3, 4]?"
        # Padded, a picture of 64 x 48 has 8 rows above and below: 32 to 64 are 24 to 56, cut to 48.
        assert box(first.turns[0]) == box(where) == bounds


def test_padded_boxes_are_of_the_square(build: Build) -> None:
    (record,) = build("llava", [talk("[0.0, 0.125, 0.5, 0.5]?", "A mug.")], "--regions", "padded")
    assert box(record.turns[0]) == (0, 0, 32, 24)


def test_a_number_beyond_the_scale_drops_the_dialogue(build: Build, tmp_path: Path) -> None:
    build("llava", [talk("[0.1, 0.2, 30.5, 0.4]?", "A mug.")], "--regions", "fractions", status=1)
    assert "no fraction" in drops(tmp_path)["[0]"]


# --- CC595K reads the same layout


def test_what_cc595k_would_lose_is_dropped_and_the_right_source_named(
    build: Build, tmp_path: Path
) -> None:
    asked = talk("<image>\nWhat colour is the mug?", "Red.")
    records = build("cc595k", [*DIALOGUES, asked])
    assert [record.id for record in records] == ["2"]
    assert drops(tmp_path) == {
        "[0]": "the dialogue has several turns: use the source llava",
        "[2]": "the question asks for no caption: use the source llava",
    }


# --- Qwen


def qwen(answer: str, question: str = "<image>\nLocate the mug.") -> dict[str, Any]:
    return {"image": "a.jpg", "conversations": [{"from": "human", "value": question},
                                                {"from": "gpt", "value": answer}]}  # fmt: skip


def test_both_layouts_of_qwens_finetune_files(build: Build) -> None:
    first, second = build("qwen", [
        qwen('{"bbox_2d": [4, 4, 34, 34], "label": "mug"}'),
        {"images": ["b.jpg"], "messages": [
            {"role": "user", "content": "<image>What is this?"},
            {"role": "assistant", "content": "A fridge."}]},
    ])  # fmt: skip
    (located,) = first.turns
    assert (located.question, located.answer, located.task) == (
        "Locate the mug.", "mug <region>", "locate")  # fmt: skip
    assert box(located) == (4, 4, 34, 34)
    assert said([second]) == [[("What is this?", "A fridge.")]]


@pytest.mark.parametrize(
    ("answer", "text", "task"),
    [
        ('{\n"bbox_2d": [4, 4, 34, 34]\n}', "<region>", "locate"),
        (
            '```json\n[{"bbox_2d": [4, 4, 34, 34], "label": "a mug"}]\n```',
            "a mug <region>",
            "locate",
        ),
        ('The mug {"bbox_2d": [4, 4, 34, 34]} is red.', "The mug <region> is red.", ""),
        ('{"point_2d": [4, 4], "label": "mug"}', "mug <region>", ""),
        ("None.", "None.", ""),
        ('{"answer": 7}', '{"answer": 7}', ""),
    ],
)
def test_how_qwens_places_are_read(build: Build, answer: str, text: str, task: str) -> None:
    (record,) = build("qwen", [qwen(answer)])
    assert (record.turns[0].answer, record.turns[0].task) == (text, task)
    assert len(record.turns[0].answer_regions) == text.count("<region>")


def test_several_places_of_qwen_keep_their_labels(build: Build) -> None:
    listed = [{"bbox_2d": [4, 4, 34, 34], "label": "mug"},
              {"label": "fridge door", "bbox_2d": [0, 0, 9.5, 9]}]  # fmt: skip
    (record,) = build("qwen", [qwen(f"```json\n{json.dumps(listed)}\n```")])
    (turn,) = record.turns
    assert turn.answer == "mug <region>, fridge door <region>"
    assert turn.answer_regions[1] == Region.box(0, 0, 9.5, 9)


def test_a_place_in_a_question_of_qwen(build: Build) -> None:
    question = '<image>What is at {"point_2d": [500, 500]}?'
    (record,) = build("qwen", [qwen("A mug.", question)], "--regions", "thousandths")
    (turn,) = record.turns
    assert turn.question == "What is at <region>?"
    assert turn.regions == (Region.point(32, 24),)


def test_thousandths_are_scaled_to_the_picture(build: Build) -> None:
    (record,) = build(
        "qwen", [qwen('{"bbox_2d": [0, 250, 500, 1000]}')], "--regions", "thousandths"
    )
    assert box(record.turns[0]) == (0, 12, 32, 48)


@pytest.mark.parametrize(
    ("answer", "form", "reason"),
    [
        ('{"bbox_2d": [0, 0, 500, 500]}', "pixels", "outside the picture, in pixels"),
        ('{"bbox_2d": [0, 0, 500, 1001]}', "thousandths", "outside N to N"),
        ('{"bbox_2d": [-1, 0, 5, 5]}', "pixels", "outside the picture"),
        ('{"bbox_2d": [5, 5, 5, 5]}', "pixels", "the box has no area"),
        ('{"bbox_2d": [0, 0, 5]}', "pixels", "bbox_2d"),
        ('{"bbox_2d": [0, 0, 5, 5], "colour": "red"}', "pixels", "not a place and its label"),
        ('{"bbox_2d": 0, 0, 5, 5}', "pixels", "not written as a JSON object"),
        ('{"objects": {"bbox_2d": [0, 0, 5, 5]', "pixels", "not written as a JSON object"),
    ],
)
def test_a_place_of_qwen_that_cannot_be_read_drops_the_dialogue(
    build: Build, tmp_path: Path, answer: str, form: str, reason: str
) -> None:
    assert not build("qwen", [qwen(answer)], "--regions", form, status=1)
    assert reason in re.sub(r"\d+(?!d)", "N", drops(tmp_path)["[0]"])


def test_packed_entries_are_taken_one_by_one(build: Build) -> None:
    first, second = build("qwen", [[qwen("One."), qwen("Two.")]])
    assert (first.turns[0].answer, second.turns[0].answer) == ("One.", "Two.")


def test_an_unknown_form_of_regions_is_refused(
    build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    build("qwen", [qwen("x")], "--regions", "percent", status=2)
    assert "use one of pixels, thousandths" in capsys.readouterr().err
    build("coco", coco((1, 1, {})), "--regions", "pixels", status=2)
    assert "leave --regions out" in capsys.readouterr().err


# --- Folders of classes


def test_folders_of_classes_are_a_source(build: Build, tmp_path: Path) -> None:
    records = build("imagefolder", None)
    assert {(record.image, record.turns[0].answer) for record in records} == {
        ("mug/c.jpg", "mug"), ("mug/d.png", "mug"), ("fridge_door/e.jpg", "fridge door"),
    }  # fmt: skip
    assert all(not turn.regions for record in records for turn in record.turns)
    assert drops(tmp_path) == dict.fromkeys(
        ("a.jpg", "b.jpg"), "the file is in no folder of a class"
    )


def test_a_file_may_name_the_classes(build: Build, tmp_path: Path) -> None:
    records = build("imagefolder", {"mug": "coffee mug", "fridge": "fridge"})
    assert {record.turns[0].answer for record in records} == {"coffee mug"}
    assert drops(tmp_path)["fridge_door/e.jpg"] == "the classes' file has no name for the folder"
    build("imagefolder", ["mug"], status=2)


def test_a_file_that_is_no_picture_is_reported(build: Build, tmp_path: Path) -> None:
    (tmp_path / "images" / "mug").mkdir(parents=True)
    (tmp_path / "images" / "mug" / "notes.txt").write_text("no picture")
    assert len(build("imagefolder", None)) == 3
    assert drops(tmp_path)["mug/notes.txt"] == "the picture cannot be read"


# --- Our own lines


def test_the_example_of_the_documentation_is_built(build: Build) -> None:
    text = Path("docs/data.md").read_text(encoding="utf-8")
    example = text.partition("## Your own data")[2].partition("## ")[0]
    blocks = re.findall(r"```\n(\{.*?)```", example, re.DOTALL)
    lines = "\n".join(" ".join(one.split()) for one in blocks)
    first, second = build("region_chat", lines)
    assert [turn.task for turn in first.turns] == ["", "locate"]
    assert first.turns[0].regions[0].kind is RegionKind.POLYGON
    assert first.turns[1].answer_regions[0].kind is RegionKind.BOX
    assert [turn.regions for turn in second.turns] == [(), (Region.point(20, 10),)]
