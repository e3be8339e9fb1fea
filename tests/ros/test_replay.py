"""Replaying recorded questions: from real bags, written as rclpy's own messages would be."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from ament_index_python.packages import get_package_share_directory
from builtin_interfaces.msg import Time
from chatspot_ros.msg import ActionStep, RegionAnswer, RegionAnswers
from chatspot_ros.msg import Region as RegionMessage
from chatspot_ros.srv import RegionQuery
from diagnostic_msgs.msg import KeyValue
from geometry_msgs.msg import Point32
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from chatspot_ros.answers import Answer, Step
from chatspot_ros.bags import Bag, BagError, typestore
from chatspot_ros.engine.api import Question
from chatspot_ros.loading import load_engine
from chatspot_ros.messages import to_answers_message, to_image_message
from chatspot_ros.query import Picture, Query, QueryReply
from chatspot_ros.regions import Region
from chatspot_ros.replay import Replayed, main, parse, replay, verdict
from chatspot_ros.replay_report import show, to_html, to_json
from chatspot_ros.settings import Settings

DEFINITIONS = Path(get_package_share_directory("chatspot_ros")) / "msg"
WIDTH, HEIGHT = 64, 48
ANSWERS, IMAGE = "/region_query_node/answers", "/camera/image_raw"
TYPES = {
    Image: "sensor_msgs/msg/Image",
    CompressedImage: "sensor_msgs/msg/CompressedImage",
    RegionAnswers: "chatspot_ros/msg/RegionAnswers",
    String: "std_msgs/msg/String",
}
Entry = tuple[str, Any]


def header(sec: int) -> Header:
    return Header(stamp=Time(sec=sec, nanosec=5), frame_id="camera_optical")


def ns(sec: int) -> int:
    return sec * 10**9 + 5


def picture(sec: int, value: int = 100) -> Image:
    return to_image_message(np.full((HEIGHT, WIDTH, 3), value, np.uint8), header(sec))


def box(x1: float, y1: float, x2: float, y2: float) -> RegionMessage:
    corners = ((x1, y1), (x2, y2))
    # rclpy reads an int as 0.
    return RegionMessage(points=[Point32(x=float(x), y=float(y)) for x, y in corners])


def answer(text: str, *regions: RegionMessage, **fields: Any) -> RegionAnswer:
    return RegionAnswer(text=text, regions=list(regions), confidence=0.9, **fields)


def asked(sec: int, question: str, *answers: RegionAnswer, **fields: Any) -> RegionAnswers:
    made = RegionAnswers(question=question, answers=list(answers), model="old", **fields)
    made.header = header(sec) if sec else Header()
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_bag(
        *entries: Entry,
        storage: StoragePlugin = StoragePlugin.MCAP,
        compression: CompressionMode = CompressionMode.NONE,
    ) -> Path:
        path = tmp_path / f"bag_{storage.name.lower()}"
        writer = Writer(path, version=9, storage_plugin=storage)
        writer.set_compression(compression, CompressionFormat.ZSTD)
        store = typestore(DEFINITIONS)
        connections: dict[str, Any] = {}
        with writer:
            for moment, (topic, message) in enumerate(entries):
                if topic not in connections:
                    connections[topic] = writer.add_connection(
                        topic, TYPES[type(message)], typestore=store
                    )
                data = serialize_message(message)
                writer.write(connections[topic], 1_000 + moment, data)
        return path

    return write_bag


class FakeEngine:
    """Says what the script has for a question, and notes what it was asked."""

    name = "new"

    def __init__(self, **script: Answer) -> None:
        self.script = script
        self.asked: list[tuple[int, Question]] = []

    def prepare(self, image_rgb: np.ndarray) -> int:
        return int(image_rgb[0, 0, 0])

    def answer_many(self, scene: int, questions: list[Question]) -> list[Any]:
        self.asked += [(scene, question) for question in questions]
        return [
            SimpleNamespace(answer=self._say(q), prompt=f"[{q.text}]", raw_text="said")
            for q in questions
        ]

    def _say(self, question: Question) -> Answer:
        word = question.text.split()[0]
        return self.script.get(word, Answer(text=word, regions=question.regions, confidence=0.5))


def replayed(path: Path, engine: Any = None, **options: Any) -> Replayed:
    with Bag(path, DEFINITIONS) as bag:
        return replay(bag, engine or FakeEngine(), settings=Settings(), **options)


def verdicts(done: Replayed) -> list[str]:
    return [verdict(row) for row in done.rows]


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


def test_the_reports_hold_everything_and_escape_what_a_model_says(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    wicked = "<script>alert(1)</script> [bold]"
    path = write(
        (IMAGE, picture(1)),
        (ANSWERS, asked(1, "one", answer("one", box(1, 2, 30, 40)))),
        (ANSWERS, asked(1, "two", answer(wicked, box(1, 2, 30, 40)))),
        (ANSWERS, asked(5, "three", answer("x", box(1, 2, 30, 40)))),
    )
    done = replayed(path, keep_pictures=True)
    page = to_html(done)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "1 answers the same, 1 different,\n1 not asked" in page
    data = json.loads(json.dumps(to_json(done)))
    assert data["counts"] == {"same": 1, "different": 1, "skipped": 1}
    assert data["questions"][1]["before"]["text"] == wicked
    assert data["questions"][1]["now"]["text"] == "two"
    assert data["questions"][0]["regions"] == [[[1.0, 2.0], [30.0, 40.0]]]
    assert data["questions"][0]["stamp_ns"] == ns(1)
    show(done, Console(width=150))
    shown = capsys.readouterr().out
    assert wicked in shown
    assert "1 same, 1 different, 1 not asked (old -> new)" in shown
    assert "one" not in shown.replace("1 not asked", "")[: shown.index("two")].split()


def test_the_bundled_model_says_again_what_it_said(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bag of its own answers has no differences; with one answer changed, it has that one."""
    engine = load_engine(Settings(device="cpu"))
    rgb = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = to_image_message(rgb, header(1))
    region = Region.box(5, 6, 50, 45)
    scene = engine.prepare(rgb)
    messages = []
    for question, task in (("What is this?", ""), ("What is the state of this?", "state")):
        (reply,) = engine.answer_many(scene, [Question(question, regions=(region,), task=task)])
        seen = Picture(lambda: image, stamp_ns=ns(1), frame_id="camera_optical", camera="camera")
        query = Query(question, regions=(region,), task=task)
        replied = QueryReply(query, picture=seen, answers=[reply.answer], model=engine.name)
        messages.append(to_answers_message(replied))
    entries = [(IMAGE, image), *((ANSWERS, message) for message in messages)]
    report = tmp_path / "report.json"
    asked_again = ["--model", "chatspot-tiny", "--device", "cpu", "--json", str(report)]
    assert main([str(write(*entries)), *asked_again]) == 0
    assert json.loads(report.read_text())["counts"] == {"same": 2, "different": 0, "skipped": 0}
    messages[0].answers[0].text = "a zeppelin"
    changed = str(write(*entries, storage=StoragePlugin.SQLITE3))
    page = tmp_path / "report.html"
    assert main([changed, *asked_again, "--html", str(page)]) == 1
    assert "a zeppelin" in capsys.readouterr().out
    assert "a zeppelin" in page.read_text()


def test_the_program_says_what_is_wrong(
    spawn: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "chatspot_ros.replay")
    missing = spawn(*command, str(tmp_path / "nowhere"), "--model", "chatspot-tiny")
    unknown = spawn(
        *command, str(write((ANSWERS, asked(1, "what", answer("x"))))), "--model", "no-such-model"
    )
    assert missing.wait(60.0) == 2
    assert "the bag cannot be read" in missing.output
    assert unknown.wait(60.0) == 2
    assert "there is no such model" in unknown.output
    assert "Traceback" not in missing.output + unknown.output


def test_the_command_line_needs_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["bag"])
    assert "--model" in capsys.readouterr().err
