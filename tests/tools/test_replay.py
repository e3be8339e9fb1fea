"""Replaying recorded questions: from real bags, written as rclpy's own messages would be."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from chatspot_ros.msg import ActionStep, RegionAnswer, RegionAnswers
from chatspot_ros.msg import Region as RegionMessage
from chatspot_ros.srv import RegionQuery
from diagnostic_msgs.msg import KeyValue
from recorded import (
    ANSWERS,
    DEFINITIONS,
    HEIGHT,
    IMAGE,
    WIDTH,
    FakeEngine,
    answer,
    asked,
    box,
    header,
    picture,
    replayed,
    verdicts,
)
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from chatspot_ros.core.answer_parser import Answer, Step
from chatspot_ros.core.regions import Region
from chatspot_ros.server.settings import Settings
from chatspot_ros.tools.bags import Bag, BagError, typestore
from chatspot_ros.tools.replay import _asks


def test_our_types_are_the_generated_ones() -> None:
    """Field by field: the hash of the .msg files is the one that the node's topic announces."""
    store = typestore(DEFINITIONS)
    for path in DEFINITIONS.glob("*.json"):
        hashes = {
            entry["type_name"]: entry["hash_string"]
            for entry in json.loads(path.read_text())["type_hashes"]
        }
        name = f"chatspot_ros/msg/{path.stem}"
        assert store.hash_rihs01(name) == hashes[name]


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.MESSAGE])
def test_questions_are_asked_again_about_the_picture_of_their_stamp(
    write: Callable[..., Path], storage: StoragePlugin, compression: CompressionMode
) -> None:
    if storage is StoragePlugin.MCAP and compression is not CompressionMode.NONE:
        pytest.skip("rosbag2 compresses mcap by itself, not message by message")
    path = write(
        ("/chatter", String(data="not ours")),
        (IMAGE, picture(1, 10)),
        (IMAGE, picture(2, 20)),
        (ANSWERS, asked(2, "same thing?", answer("Same", box(1, 2, 30, 40)))),
        (IMAGE, picture(3, 30)),
        (ANSWERS, asked(1, "other thing?", answer("a mug", box(5, 6, 7, 8)), task="describe")),
        storage=storage,
        compression=compression,
    )
    engine = FakeEngine()
    done = replayed(path, engine)
    assert [(scene, q.text, q.task) for scene, q in engine.asked] == [
        (10, "other thing?", "describe"),
        (20, "same thing?", ""),
    ]
    assert engine.asked[1][1].regions == (Region.box(1, 2, 30, 40),)
    assert [row.number for row in done.rows] == [1, 2]
    assert verdicts(done) == ["same", "different"]
    assert (done.models_before, done.model) == (("old",), "new")
    row = done.rows[1]
    assert (row.before.text, row.now.text, row.differs) == ("a mug", "other", ("text",))


def test_a_bag_from_before_definitions_were_recorded(write: Callable[..., Path]) -> None:
    path = write(
        (IMAGE, picture(1)),
        (ANSWERS, asked(1, "what?", answer("what?", box(1, 2, 30, 40)))),
        storage=StoragePlugin.SQLITE3,
    )
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as data:
        data.execute("DELETE FROM message_definitions")
    assert [row.before.text for row in replayed(path).rows] == ["what?"]


def test_questions_are_put_as_the_node_puts_them(write: Callable[..., Path]) -> None:
    one, two = box(1, 2, 30, 40), box(5, 6, 50, 45)
    path = write(
        (IMAGE, picture(1)),
        (ANSWERS, asked(1, "each", answer("x", one), answer("y", two))),
        (ANSWERS, asked(1, "both: <region> on <region>", answer("x", one, two))),
        (ANSWERS, asked(1, "typed <box>3,4,20,21</box>", answer("x", box(3, 4, 20, 21)))),
        (ANSWERS, asked(1, "whole", answer("x", RegionMessage()))),
        (ANSWERS, asked(1, "", answer("door: open", one), task="state")),
    )
    engine = FakeEngine()
    replayed(path, engine)
    a, b = Region.box(1, 2, 30, 40), Region.box(5, 6, 50, 45)
    assert [(q.text, q.regions) for _, q in engine.asked] == [
        ("each", (a,)),
        ("each", (b,)),
        ("both: <region> on <region>", (a, b)),
        ("typed <region>", (Region.box(3, 4, 20, 21),)),
        ("whole", (Region.image(),)),
        ("What is the state of this?", (a,)),
    ]


def test_a_conversation_sees_the_new_answers(write: Callable[..., Path]) -> None:
    first = answer("x", box(1, 2, 30, 40))
    path = write(
        (IMAGE, picture(1)),
        (IMAGE, picture(2)),
        (ANSWERS, asked(1, "first", first, session="tour")),
        (ANSWERS, asked(1, "alone", first)),
        (ANSWERS, asked(1, "second", first, session="tour")),
        (ANSWERS, asked(1, "other", first, session="another")),
        (ANSWERS, asked(2, "anew", first, session="tour")),
    )
    engine = FakeEngine()
    replayed(path, engine)
    turns = {q.text: [turn.user_text for turn in q.turns] for _, q in engine.asked}
    assert turns == {"first": [], "alone": [], "second": ["[first]"], "other": [], "anew": []}


@pytest.mark.parametrize(
    ("before", "now", "differs"),
    [
        (answer("The  Mug."), Answer("the mug"), ()),
        (answer("mug"), Answer("cup"), ("text",)),
        (
            answer("door: open", state=[KeyValue(key="door", value="open")]),
            Answer("door: open", state={"door": "closed"}),
            ("state",),
        ),
        (
            answer("open it", steps=[ActionStep(action="open", target="fridge")]),
            Answer("open it", steps=(Step("open", "fridge", "open the fridge"),)),
            (),
        ),
        (
            answer("open it", steps=[ActionStep(action="open", target="fridge")]),
            Answer("open it", steps=()),
            ("steps",),
        ),
        (
            answer("here", grounded=[box(1.2, 2, 3, 4)]),
            Answer("here", grounded=(Region.box(1, 2, 3, 4),)),
            (),
        ),
        (
            answer("here", grounded=[box(1, 2, 3, 4)]),
            Answer("here", grounded=(Region.box(1, 2, 9, 4),)),
            ("grounded",),
        ),
    ],
)
def test_what_differs(
    write: Callable[..., Path], before: RegionAnswer, now: Answer, differs: tuple[str, ...]
) -> None:
    before.regions = [box(1, 2, 30, 40)]
    path = write((IMAGE, picture(1)), (ANSWERS, asked(1, "it", before)))
    (row,) = replayed(path, FakeEngine(it=now)).rows
    assert row.differs == differs


def test_what_cannot_be_asked_says_why(write: Callable[..., Path]) -> None:
    depth = Image(header=header(7), height=2, width=2, encoding="32FC1", step=8, data=b"\0" * 16)
    failed = asked(1, "late", status=RegionQuery.Response.NO_IMAGE, message="no frame of it")
    path = write(
        (IMAGE, picture(1)),
        (IMAGE, depth),
        (ANSWERS, failed),
        (ANSWERS, asked(9, "gone", answer("x", box(1, 2, 3, 4)))),
        (ANSWERS, asked(0, "sent along", answer("x", box(1, 2, 3, 4)))),
        (ANSWERS, asked(7, "deep", answer("x", box(1, 2, 3, 4)))),
        (ANSWERS, asked(1, "outside", answer("x", box(100, 2, 200, 4)))),
        (ANSWERS, asked(1, "good", answer("good", box(1, 2, 3, 4)))),
    )
    done = replayed(path)
    why = {row.question: row.skipped for row in done.rows}
    assert "no frame of it" in why["late"]
    assert why["gone"] == "the bag has no picture of that stamp"
    assert why["sent along"] == "it was about no camera's picture"
    assert "32FC1" in why["deep"]
    assert "outside the image" in why["outside"]
    assert why["good"] == ""
    assert verdicts(done) == ["skipped"] * 5 + ["same"]
    assert [done.count(what) for what in ("same", "different", "skipped")] == [1, 0, 5]


def test_what_the_node_drew_is_no_camera(write: Callable[..., Path]) -> None:
    path = write(
        ("/region_query_node/annotated", picture(1, 200)),
        (IMAGE, picture(1, 10)),
        (ANSWERS, asked(1, "what", answer("x", box(1, 2, 3, 4)))),
    )
    engine = FakeEngine()
    replayed(path, engine)
    assert [scene for scene, _ in engine.asked] == [10]


def test_a_compressed_twin_gives_way(write: Callable[..., Path]) -> None:
    _, png = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    twin = CompressedImage(header=header(1), format="png", data=png.tobytes())
    entries = [(ANSWERS, asked(1, "what", answer("x", box(1, 2, 3, 4))))]
    engine = FakeEngine()
    replayed(write((f"{IMAGE}/compressed", twin), (IMAGE, picture(1, 10)), *entries), engine)
    assert [scene for scene, _ in engine.asked] == [10]
    alone = write((f"{IMAGE}/compressed", twin), *entries, storage=StoragePlugin.SQLITE3)
    replayed(alone, engine)
    assert [scene for scene, _ in engine.asked] == [10, 90]


def test_two_cameras_of_one_stamp_need_a_name(write: Callable[..., Path]) -> None:
    path = write(
        ("/left/image", picture(1, 10)),
        ("/right/image", picture(1, 20)),
        (ANSWERS, asked(1, "what", answer("x", box(1, 2, 3, 4)))),
    )
    with pytest.raises(BagError, match=r"/left/image, /right/image.*--image-topic"):
        replayed(path)
    engine = FakeEngine()
    replayed(path, engine, image_topic="/right/image")
    assert [scene for scene, _ in engine.asked] == [20]
    (row,) = replayed(path, engine, image_topic="/up/image").rows
    assert row.skipped == "/up/image has no picture of that stamp"


def test_bags_that_cannot_be_read_are_named(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(BagError, match="cannot be read"):
            Bag(path, DEFINITIONS)
    silent = write((IMAGE, picture(1)))
    with pytest.raises(BagError, match=r"no chatspot_ros/msg/RegionAnswers.*/camera/image_raw"):
        replayed(silent)
    cut = write((IMAGE, picture(1)), storage=StoragePlugin.SQLITE3)
    (file,) = cut.glob("*.db3")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(BagError):
        replayed(cut)


def test_choices_and_schemas_are_asked_again() -> None:
    settings = Settings()
    recorded = RegionAnswers(question="Is it open?", answers=[answer("yes")], choices=["yes", "no"])
    (ask,) = _asks(recorded, (WIDTH, HEIGHT), settings)
    assert ask.choices == ("yes", "no")
    schema = '{"type": "integer"}'
    recorded = RegionAnswers(
        question="How many?", answers=[answer("3")], task="json", json_schema=schema
    )
    (ask,) = _asks(recorded, (WIDTH, HEIGHT), settings)
    assert (ask.task, ask.json_schema) == ("json", schema)


def test_answers_recorded_before_choices_were_are_asked_again() -> None:
    old = SimpleNamespace(question="Is it open?", answers=[answer("yes")], task="")
    (ask,) = _asks(old, (WIDTH, HEIGHT), Settings())
    assert (ask.choices, ask.json_schema) == ((), "")
