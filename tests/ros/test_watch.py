"""The watch list and the renamed detections, between processes."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from detected import detection, publish
from vision_msgs.msg import Detection2D

FAULTY_NODE = str(Path(__file__).with_name("faulty_node.py"))
FRIDGE = """
- {labels: [fridge], question: "state by colour", task: state, every_s: 0.05}
"""
_ids = itertools.count()


def fridge(x: float, name: str = "") -> Detection2D:
    """A box of 10 x 10 pixels around (x, 20)."""
    return detection("fridge", (x, 20), name=name)


@pytest.fixture
def watch(spawn: Any, ros_node: Any, make_world: Any, tmp_path: Path) -> Any:
    """Start a node with a watch list; return it, and what comes on ~/states and ~/answers."""

    def start(watch_list: str, *arguments: str) -> Any:
        from chatspot_ros.msg import StateChange

        file = tmp_path / "watch.yaml"
        file.write_text(watch_list)
        namespace = f"/watched_{next(_ids)}"
        process = spawn(
            *(sys.executable, FAULTY_NODE, "--ros-args", "-r", f"__ns:={namespace}"),
            *("-p", f"watch:={file}", *arguments),
            ready="ready: region_query_node",
        )
        # Before the clients, whose replies show that the node knows of it.
        states = make_world.Collector()
        topic = f"{namespace}/region_query_node/states"
        ros_node.create_subscription(StateChange, topic, states, 10)
        world = make_world(ros_node, process, namespace)
        if any("cameras" in argument for argument in arguments):
            world.wait_for_services()
        else:
            world.wait_for_node()
        return SimpleNamespace(world=world, states=states, answers=world.answers)

    return start


def watched(answers: Any) -> list[Any]:
    """The watch list's answers so far, in order."""
    return [one for one in list(answers.items) if one.question == "state by colour"]


def ask_until(at: Any, stamp: Any, detections: Any, wanted: Any) -> Any:
    """Detect again and again on one frame, as a detector does, until an answer is as wanted."""

    def found() -> Any:
        publish(at.world, stamp, *detections)
        return next((one for one in watched(at.answers) if wanted(one)), None)

    return at.world.wait_until(found)


def colour_says(at: Any, door: str, stamp: Any, count: int = 1) -> Any:
    """Detect on a frame until so many answers say that the door is so; return the first one."""

    def said() -> Any:
        publish(at.world, stamp, fridge(20))
        about = [one for one in watched(at.answers) if one.header.stamp == stamp and one.answers]
        same = [one for one in about if one.answers[0].state[0].value == door]
        return same if len(same) >= count else None

    return at.world.wait_until(said)[0]


# Colours that the scripted engine takes for states.
CLOSED, OPEN, UNSURE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def test_what_changes_is_told_and_nothing_else(watch: Any) -> None:
    at = watch(FRIDGE)
    colour_says(at, "closed", at.world.publish_frame(colour=CLOSED), count=3)
    assert at.states.items == []
    # An answer that is not sure says that it is open.
    colour_says(at, "open", at.world.publish_frame(colour=UNSURE), count=2)
    assert at.states.items == []
    opened = colour_says(at, "open", at.world.publish_frame(colour=OPEN), count=2)
    first = at.states.wait_for(lambda one: one.new_value == "open")
    assert first.header == opened.header
    assert (first.thing, first.label) == ("fridge_1", "fridge")
    assert (first.attribute, first.old_value) == ("door", "closed")
    assert first.confidence == opened.answers[0].confidence
    colour_says(at, "closed", at.world.publish_frame(colour=CLOSED))
    at.states.wait_for(lambda one: (one.old_value, one.new_value) == ("open", "closed"))
    assert len(at.states.items) == 2


def test_only_the_labels_of_the_list_each_by_its_name(watch: Any) -> None:
    at = watch(FRIDGE)
    stamp = at.world.publish_frame(colour=OPEN)
    boxes = [detection("mug", (10, 20)), fridge(25), fridge(45, name="blue fridge")]
    answered = ask_until(at, stamp, boxes, lambda one: len(one.answers) == 2)
    assert answered.status == 0
    assert (answered.camera, answered.header.stamp, answered.task) == ("camera", stamp, "state")
    about = [answer.regions[0] for answer in answered.answers]
    assert [(one.id, one.label) for one in about] == [
        ("fridge_1", "fridge"),
        ("blue_fridge", "fridge"),
    ]
    assert [min(p.x for p in one.points) for one in about] == [20, 40]


def test_each_thing_is_asked_about_at_most_so_often(watch: Any) -> None:
    at = watch(FRIDGE.replace("0.05", "3600"))
    stamp = at.world.publish_frame(colour=OPEN)
    ask_until(at, stamp, [fridge(20)], lambda one: True)
    for _ in range(5):
        publish(at.world, stamp, fridge(20))
    # A thing that is new is asked about, the other one is not.
    second = ask_until(at, stamp, [fridge(20), fridge(45)], lambda one: one.answers[0]
                       .regions[0].id == "fridge_2")  # fmt: skip
    assert len(second.answers) == 1
    assert len(watched(at.answers)) == 2


def test_detections_that_come_before_their_frame(watch: Any) -> None:
    at = watch(FRIDGE)
    stamp = at.world.now()
    publish(at.world, stamp, fridge(20))
    assert at.world.ask().name == "NO_IMAGE"
    assert watched(at.answers) == []
    at.world.publish_frame(stamp, colour=OPEN)
    later = at.world.now()
    # Its own frame does not come; the one before did.
    found = at.world.wait_until(lambda: publish(at.world, later, fridge(20)) and watched(
        at.answers))  # fmt: skip
    assert found[0].header.stamp == stamp


def test_planners_go_first_and_never_more_than_one_is_pending(watch: Any) -> None:
    at = watch(FRIDGE.replace("state by colour", "block 0.5"), "-p", "queue_size:=1")
    world = at.world
    stamp = world.publish_frame(colour=OPEN)
    running = world.send_goal("take 60", stamp=stamp, timeout_s=60.0)
    world.process.wait_for("'take 60'")
    for _ in range(20):
        publish(world, stamp, fridge(20))
    world.process.wait_for("'block 0.5'")
    world.ask("refused", camera="nowhere")
    world.process.wait_for("'refused'")
    assert world.process.output.count("asked: 'block 0.5'") == 1
    # The queue is full with it, and a planner's question takes its place.
    asked = world.client.call_async(world.request("what", stamp=stamp))
    at.answers.wait_for(lambda one: one.question == "block 0.5" and "place" in one.message)
    world.finish(running.cancel_goal_async())
    assert world.names[world.finish(asked).status] == "OK"
    # It comes again when there is room.
    world.wait_until(
        lambda: (
            publish(world, stamp, fridge(20))
            and any(one.question == "block 0.5" and one.status == 0 for one in at.answers.items)
        )
    )


def test_two_cameras_have_things_of_their_own(watch: Any) -> None:
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header
    from vision_msgs.msg import Detection2DArray

    from chatspot_ros.ros.conversions import to_image_message

    at = watch(FRIDGE, "-p", "cameras:=['front','rear']")
    world, stamp = at.world, at.world.now()
    for name, colour, door in (("front", CLOSED, "closed"), ("rear", OPEN, "open")):
        topic = f"{world.namespace}/{name}"
        images = world.ros.create_publisher(Image, f"{topic}/image", 10)
        world.detections = world.ros.create_publisher(Detection2DArray, f"{topic}/detections", 10)
        world.wait_until(images.get_subscription_count)
        world.wait_until(world.detections.get_subscription_count)
        picture = np.full((48, 64, 3), colour, np.uint8)
        message = to_image_message(picture, Header(stamp=stamp))
        world.publish_until_it_comes(images, message, camera=name)

        def answered(name: str = name) -> Any:
            publish(world, stamp, fridge(20))
            return [one for one in watched(at.answers) if one.camera == name and one.answers]

        answer = world.wait_until(answered)[0].answers[0]
        assert (answer.regions[0].id, answer.state[0].value) == (f"{name}/fridge_1", door)


def test_boxes_get_the_names_that_the_model_gives(watch: Any) -> None:
    from vision_msgs.msg import Detection2DArray

    at = watch("[]", "-p", "relabel_question:=name by place")
    world = at.world
    stamp = world.publish_frame(colour=OPEN)
    # Nobody listens: nothing is asked.
    publish(world, stamp, fridge(20))
    assert world.ask("is it quiet").name == "OK"
    world.process.wait_for("'is it quiet'")
    assert "name by place" not in world.process.output
    heard = world.Collector()
    topic = f"{world.namespace}/region_query_node/detections"
    world.ros.create_subscription(Detection2DArray, topic, heard, 10)
    boxes = [
        detection("cup", (10, 20), name="c7"),
        detection("far", (500, 20)),
        detection("box", (50, 20), score=0.5),
    ]

    def come() -> Any:
        publish(world, stamp, *boxes)
        return heard.items

    message = world.wait_until(come)[0]
    assert (message.header.stamp, message.header.frame_id) == (stamp, "camera_optical")
    first, far, second = message.detections
    assert (far, first.id, first.bbox, second.bbox) == (
        boxes[1],
        "c7",
        boxes[0].bbox,
        boxes[2].bbox,
    )
    named = [[(r.hypothesis.class_id, r.hypothesis.score) for r in one.results]
             for one in (first, second)]  # fmt: skip
    assert named[0] == [("thing at 5", 0.8), ("cup", 0.0), ("no", 0.4)]
    # Not sure of this one: the detector's own word stays.
    assert named[1] == [("no", 0.25), ("box", 0.5)]
    # A frame without boxes is passed on too.
    del boxes[:]
    world.wait_until(lambda: come() and heard.items[-1].detections == [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("- {labels: [fridge], task: dance, every_s: 5}", "dance"),
        ("- {labels: [fridge]", "expected"),
    ],
)
def test_a_bad_list_ends_the_start_with_one_clear_line(
    spawn: Any, tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "watch.yaml"
    if text is not None:
        file.write_text(text)
    process = spawn(sys.executable, FAULTY_NODE, "--ros-args", "-p", f"watch:={file}")
    assert process.wait(60.0) == 1
    line = process.wait_for("cannot start")
    assert words in line
    assert str(file) in line
    assert "Traceback" not in process.output
