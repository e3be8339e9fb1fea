"""The watch list and the renamed detections, between processes."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from detected import detection, publish
from vision_msgs.msg import Detection2D

FAULTY_NODE = str(Path(__file__).with_name("faulty_node.py"))
FRIDGE = """
- {labels: [fridge], question: "state by colour", task: state, every_s: 1}
"""
# Asked at its rate whatever the pixels say.
ALWAYS = FRIDGE.replace("every_s: 1", "every_s: 1, at_least_every_s: 1")
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
        states, events = make_world.Collector(), make_world.Collector()
        node = f"{namespace}/region_query_node"
        ros_node.create_subscription(StateChange, f"{node}/states", states, 10)
        ros_node.create_subscription(StateChange, f"{node}/events", events, 10)
        world = make_world(ros_node, process, namespace)
        if any("cameras" in argument for argument in arguments):
            world.wait_for_services()
        else:
            world.wait_for_node()
        return SimpleNamespace(world=world, states=states, events=events, answers=world.answers)

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


def at_second(seconds: float) -> Any:
    """The stamp of a moment in the camera's own time."""
    return Time(sec=1000 + int(seconds), nanosec=round(seconds % 1 * 1e9))


def show(at: Any, colour: tuple[int, int, int], seconds: float) -> Any:
    """Publish a frame and the detection of a fridge on it, until it has been noticed."""
    stamp = at.world.publish_frame(at_second(seconds), colour=colour)
    for _ in range(3):
        publish(at.world, stamp, fridge(20))
        at.world.ask("is it noticed", stamp=stamp)
    return stamp


def colour_says(at: Any, door: str, colour: tuple[int, int, int], seconds: float) -> Any:
    """Show a frame until the answer about it says that the door is so; return that answer."""
    stamp = at.world.publish_frame(at_second(seconds), colour=colour)

    def said() -> Any:
        publish(at.world, stamp, fridge(20))
        about = [one for one in watched(at.answers) if one.header.stamp == stamp]
        return about[0] if about and about[0].answers else None

    answer = at.world.wait_until(said)
    assert answer.answers[0].state[0].value == door
    return answer


def history(at: Any, **fields: Any) -> Any:
    """Return the reply of ~/history."""
    from chatspot_ros.srv import WatchHistory

    name = f"{at.world.namespace}/region_query_node/history"
    client = at.world.make(lambda: at.world.ros.create_client(WatchHistory, name))
    assert client.wait_for_service(60.0)
    request = WatchHistory.Request(**fields)
    return at.world.wait_until(lambda: at.world.soon(client.call_async(request)))


# Colours that the scripted engine takes for states.
CLOSED, OPEN, UNSURE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def test_what_changes_is_told_and_nothing_else(watch: Any) -> None:
    at = watch(ALWAYS)
    for seconds in (0, 1, 2):
        colour_says(at, "closed", CLOSED, seconds)
    assert at.states.items == []
    # An answer that is not sure says that it is open.
    colour_says(at, "open", UNSURE, 3)
    colour_says(at, "open", UNSURE, 4)
    assert at.states.items == []
    opened = colour_says(at, "open", OPEN, 5)
    colour_says(at, "open", OPEN, 6)
    first = at.states.wait_for(lambda one: one.new_value == "open")
    assert first.header == opened.header
    assert (first.thing, first.label, first.condition) == ("fridge_1", "fridge", "")
    assert (first.attribute, first.old_value) == ("door", "closed")
    assert first.confidence == opened.answers[0].confidence
    colour_says(at, "closed", CLOSED, 7)
    at.states.wait_for(lambda one: (one.old_value, one.new_value) == ("open", "closed"))
    assert len(at.states.items) == 2
    assert at.events.items == []


def test_what_looks_the_same_is_not_asked_about_until_its_time(watch: Any) -> None:
    at = watch(FRIDGE)
    stamps = [colour_says(at, "closed", CLOSED, 0).header.stamp]
    for seconds in (2, 4, 6):
        show(at, CLOSED, seconds)
    stamps.append(colour_says(at, "open", OPEN, 8).header.stamp)
    # The answer is not sure: the open door stays what it is compared with.
    stamps.append(colour_says(at, "open", UNSURE, 9.5).header.stamp)
    stamps.append(colour_says(at, "open", UNSURE, 11).header.stamp)
    show(at, OPEN, 13)
    # Twelve times every_s after the last sure answer it is asked whatever the pixels say.
    show(at, OPEN, 19)
    stamps.append(colour_says(at, "open", OPEN, 21).header.stamp)
    assert [one.header.stamp for one in watched(at.answers)] == stamps
    at.states.wait_for(lambda one: one.new_value == "open")
    assert len(at.states.items) == 1


def test_conditions_are_told_when_they_become_true_and_the_past_can_be_asked(watch: Any) -> None:
    when = "when: [door changes to open for 2 s, stays open for 4 s, from open]"
    at = watch(FRIDGE.replace("every_s: 1", f"every_s: 1, {when}"))
    assert history(at).message == "nothing has changed yet"
    colour_says(at, "closed", CLOSED, 0)
    opened = colour_says(at, "open", OPEN, 1).header
    for seconds in (2, 3.5, 5.5):
        show(at, OPEN, seconds)
    closed = colour_says(at, "closed", CLOSED, 7).header
    at.events.wait_for(lambda one: one.condition == "from open")
    told = [(one.condition, one.header.stamp, one.thing, one.attribute, one.old_value,
             one.new_value) for one in at.events.items]  # fmt: skip
    changed = ("fridge_1", "door", "closed", "open")
    assert told == [
        ("door changes to open for 2 s", at_second(3.5), *changed),
        ("stays open for 4 s", at_second(5.5), *changed),
        ("from open", at_second(7), "fridge_1", "door", "open", "closed"),
    ]
    assert at.events.items[0].header.frame_id == "camera_optical"
    assert len(watched(at.answers)) == 3
    past = history(at)
    assert [(one.header, one.new_value) for one in past.changes] == [
        (opened, "open"), (closed, "closed"),
    ]  # fmt: skip
    assert past.message == ""
    assert history(at, since=at_second(2)).changes == past.changes[1:]
    assert history(at, limit=1, thing="fridge_1", attribute="door").changes == past.changes[1:]
    assert "'oven_1' has not changed; what has: fridge_1" in history(at, thing="oven_1").message


def test_the_command_line_shows_the_past(watch: Any, capsys: Any) -> None:
    from chatspot_ros.tools.watch import main

    at = watch(FRIDGE)
    for seconds, door, colour in ((0, "closed", CLOSED), (2, "open", OPEN), (4, "closed", CLOSED)):
        colour_says(at, door, colour, seconds)
    at.states.wait_for(lambda one: one.new_value == "closed")
    asked = ["--node", f"{at.world.namespace}/region_query_node", "--history"]
    assert main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" (", 1)[0] for line in lines] == [
        "1002.000 s fridge_1: door closed -> open", "1004.000 s fridge_1: door open -> closed",
    ]  # fmt: skip
    assert main([*asked, "--json", "--count", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["new"], told["stamp_ns"]) == ("change", "closed", 1004 * 10**9)
    assert main([*asked, "--thing", "oven"]) == 0
    assert "'oven' has not changed" in capsys.readouterr().err


def test_a_bag_that_begins_again_is_watched_again(watch: Any) -> None:
    at = watch(FRIDGE, "-p", "watch_history:=2")
    colour_says(at, "closed", CLOSED, 100)
    colour_says(at, "open", OPEN, 105)
    colour_says(at, "closed", CLOSED, 0)
    at.states.wait_for(lambda one: one.header.stamp == at_second(0))
    past = history(at)
    assert [one.header.stamp for one in past.changes] == [at_second(105), at_second(0)]
    assert "set back" in past.message
    # Its pixels are compared in the new time too.
    show(at, CLOSED, 2)
    colour_says(at, "open", OPEN, 4)
    at.states.wait_for(lambda one: one.header.stamp == at_second(4))
    assert len(watched(at.answers)) == 4
    assert [one.header.stamp for one in history(at).changes] == [at_second(0), at_second(4)]
    assert "1 older changes were dropped" in history(at).message


def test_without_a_watch_list_history_says_so(watch: Any) -> None:
    reply = history(watch("[]"))
    assert (reply.changes, reply.message) == ([], "nothing is watched: set the parameter watch")


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
    at = watch(FRIDGE.replace("every_s: 1", "every_s: 3600"))
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
    # It comes again when there is room, on a frame of its time.
    later = world.publish_frame(Time(sec=stamp.sec + 5, nanosec=stamp.nanosec))
    world.wait_until(
        lambda: (
            publish(world, later, fridge(20))
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
        ("- {labels: [fridge], task: state, every_s: 5, when: door opens}", "0.when"),
        ("- {labels: [fridge], task: state, every_s: 5, when: door to opne}", "0.when"),
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
