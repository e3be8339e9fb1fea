"""LLM-IR's tasks: a file of the challenge's form is asked as it stands; weighted F1 scores it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from chatspot_ros.core.prompts import MAX_QUESTION_CHARS
from chatspot_train.evaluation.dataset_files import MalformedDataError
from chatspot_train.evaluation.suite import MissingDataError, NoAnswersError, Prediction
from chatspot_train.evaluation.suites.llm_ir import MEAN, LlmIrSuite, labels_in, shortened

SCENE = 'Picture 1: <image>\nWhat does the picture show? Labels: ["a fridge", "fridge", "cup"]'
INTENT = (
    'What is wanted?\n<dialogue START>\nHi, where is it?\n<dialogue END>\nOne of ["where", "why"].'
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "images" / "a.jpg")
    Image.new("RGB", (20, 40), "blue").save(tmp_path / "b.jpg")  # beside the file
    entries = [
        {"id": "1", "image": ["a.jpg"], "instruction": SCENE, "output": "fridge"},
        {"id": "2", "image": ["a.jpg", "b.jpg"], "instruction": INTENT, "output": "where"},
        {"id": 3, "image": [], "instruction": INTENT, "output": "why"},
    ]
    (tmp_path / "train.json").write_text(json.dumps(entries))
    return tmp_path


def test_each_task_is_asked_as_its_instruction_says(data: Path) -> None:
    one, two, three = LlmIrSuite().items(data, 0, 0)
    assert one.turns[0].question == SCENE.partition("\n")[2]  # without the mark of the picture
    assert one.truth == {"task": "picture_scene", "label": "fridge",
                         "labels": ["a fridge", "fridge", "cup"]}  # fmt: skip
    assert two.truth["task"] == three.truth["task"] == "dialogue_intent"
    assert callable(one.image)
    assert one.image().shape == (30, 40, 3)
    assert callable(two.image)
    both = two.image()
    red, blue = both[:, 100].mean(0), both[:, -100].mean(0)
    assert red[0] > 200
    assert blue[2] > 200
    assert callable(three.image)
    assert three.image().std() == 0


def answers(data: Path, *said: str) -> list[Prediction]:
    items = LlmIrSuite().items(data, 0, 0)
    return [Prediction(item.key, text, truth=item.truth)
            for item, text in zip(items, said, strict=True)]  # fmt: skip


@pytest.mark.parametrize(("said", "right"), [
    ("fridge", True), ("fridge.", True), ('It is "fridge".', True), ("It is a fridge", False),
    ("cup", False), ("nothing", False), ("", False),
])  # fmt: skip
def test_an_answer_says_the_longest_label_in_it(data: Path, said: str, right: bool) -> None:
    assert LlmIrSuite().right(answers(data, said, "where", "why"))[0] is right


def test_the_row_is_the_mean_of_both_tasks_weighted_f1(data: Path) -> None:
    rows = LlmIrSuite().score(answers(data, "fridge", "why", "why")).rows
    expected = f1_score(["where", "why"], ["why", "why"], average="weighted", zero_division=0)
    assert rows["dialogue_intent"]["value"] == pytest.approx(expected)
    assert rows["picture_scene"]["value"] == 1
    assert rows[MEAN]["value"] == pytest.approx((1 + expected) / 2)
    with pytest.raises(NoAnswersError):
        LlmIrSuite().score([])


def test_one_task_alone_is_its_own_mean(data: Path) -> None:
    rows = LlmIrSuite().score(answers(data, "fridge", "", "")[:1]).rows
    assert rows[MEAN]["value"] == rows["picture_scene"]["value"] == 1


def test_labels_are_the_last_quoted_brackets_in_any_script() -> None:
    assert labels_in('[a] of ["x", "y z"]') == ["x", "y z"]
    assert labels_in("分类标签:[“商品规格”,“物流状态”] (only one)") == ["商品规格", "物流状态"]
    assert labels_in("none at all [1]") == []


def test_a_long_dialogue_keeps_its_task_its_latest_turns_and_its_labels() -> None:
    long = "What is wanted?" + "\nand then" * 1000 + '\nlast words ["where", "why"]'
    short = shortened(long)
    assert len(short) == MAX_QUESTION_CHARS
    assert short.startswith("What is wanted?")
    assert short.endswith('last words ["where", "why"]')


@pytest.mark.parametrize("entry", [
    {}, {"id": 1}, {"id": 1, "image": "a.jpg", "instruction": "?", "output": "x"}, [], None, 3,
])  # fmt: skip
def test_what_is_no_question_is_refused_by_its_file(data: Path, entry: object) -> None:
    (data / "train.json").write_text(json.dumps([entry]))
    with pytest.raises(MalformedDataError, match=r"train\.json"):
        list(LlmIrSuite().items(data, 0, 0))


def test_a_missing_picture_and_a_missing_file_are_named(data: Path) -> None:
    (data / "b.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"b\.jpg"):
        list(LlmIrSuite().items(data, 0, 0))
    (data / "train.json").unlink()
    with pytest.raises(MissingDataError, match=r"train\.json"):
        list(LlmIrSuite().items(data, 0, 0))


def test_pictures_side_by_side_keep_their_order_and_height(data: Path) -> None:
    item = list(LlmIrSuite().items(data, 0, 0))[1]
    assert callable(item.image)
    picture = item.image()
    assert picture.dtype == np.uint8
    assert picture.shape == (448, 597 + 224, 3)
