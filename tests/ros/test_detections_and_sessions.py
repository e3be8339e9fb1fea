"""Detections of exactly their frame; conversations on theirs; clicks; what is published besides."""

from __future__ import annotations

from typing import Any

import numpy as np
from detected import detection, publish


def detect(world: Any, stamp: Any, *detections: Any) -> None:
    """Publish the detections of a frame that the node has, and wait until it has them."""
    publish(world, stamp, *detections)
    asked = {"stamp": stamp, "use_detections": True}
    world.wait_until(lambda: world.ask("Has it come?", **asked).name == "OK")


def xs(answer: Any) -> list[float]:
    return sorted(point.x for point in answer.regions[0].points)


# --- detections


def test_detections_of_exactly_that_frame(fake: Any) -> None:
    # The second one may come seconds later on a slow machine.
    first, second = fake.publish_frame(colour=(200, 0, 0)), fake.publish_frame(colour=(0, 200, 0))
    # The detector is slow and speaks of the second frame first.
    detect(fake, second, detection("mug", (30, 20), name="b"))
    detect(
        fake,
        first,
        detection("lemon", (10, 10), (4, 4)),
        detection("kettle", (50, 30), (8, 8), name="c"),
    )
    reply = fake.ask("what", stamp=first, use_detections=True)
    assert reply.name == "OK", reply.message
    assert [(a.regions[0].id, a.regions[0].label) for a in reply.answers] == [
        ("0", "lemon"),
        ("c", "kettle"),
    ]
    assert xs(reply.answers[0]) == [8, 12]
    assert "colour=200,0,0" in reply.answers[0].text
    reply = fake.ask("what", stamp=second, use_detections=True)
    assert [a.regions[0].label for a in reply.answers] == ["mug"]
    assert "colour=0,200,0" in reply.answers[0].text


def test_without_a_stamp_the_newest_frame_that_has_detections(fake: Any) -> None:
    seen = fake.publish_frame(colour=(1, 2, 3))
    detect(fake, seen, detection("mug", (30, 20), name="a"))
    fake.publish_frame(colour=(9, 9, 9))
    reply = fake.ask("what", use_detections=True)
    assert reply.header.stamp == seen
    assert "colour=1,2,3" in reply.answers[0].text


def test_given_regions_come_before_detections(fake: Any) -> None:
    seen = fake.publish_frame()
    detect(fake, seen, detection("mug", (30, 20), name="d"))
    reply = fake.ask(
        "what is <region> to <region>?",
        stamp=seen,
        regions=[fake.region((3, 3), name="mine")],
        use_detections=True,
    )
    assert reply.name == "OK", reply.message
    assert [r.id for r in reply.answers[0].regions] == ["mine", "d"]


def test_no_detections_of_that_frame_is_said(fake: Any) -> None:
    stamp = fake.publish_frame()
    reply = fake.ask("what", stamp=stamp, use_detections=True)
    assert reply.name == "NO_IMAGE"
    assert "no detections" in reply.message


def test_a_frame_on_which_nothing_was_detected(fake: Any) -> None:
    stamp = fake.publish_frame()
    detect(fake, stamp)
    reply = fake.ask("what", stamp=stamp, use_detections=True)
    assert (reply.name, reply.answers) == ("OK", [])
    assert "found nothing" in reply.message


def test_detections_are_waited_for(fake: Any) -> None:
    stamp = fake.publish_frame()
    assert fake.set_parameter("frame_wait", 10.0).successful
    asked = fake.client.call_async(fake.request("what", stamp=stamp, use_detections=True))
    assert fake.ask("what", stamp=stamp).name == "OK"
    assert not asked.done()
    publish(fake, stamp, detection("mug", (30, 20), name="a"))
    assert fake.finish(asked).status == 0
    assert fake.set_parameter("frame_wait", 0.5).successful


def test_boxes_of_the_detectors_own_picture(start_fake: Any) -> None:
    # 64 x 48 fills 96 x 64 up to a height of 64, and a width of 85.
    world = start_fake("-p", "detection_space:=letterboxed 96x64")
    world.wait_for_node()
    stamp = world.publish_frame()
    detect(world, stamp, detection("mug", (42.5, 32), (17, 16), name="a"))
    (answer,) = world.ask("what", stamp=stamp, use_detections=True).answers
    corners = [(point.x, point.y) for point in answer.regions[0].points]
    np.testing.assert_allclose(corners, [(25.6, 18), (38.4, 30)], atol=1e-4)
    # While it runs, too; and never to nonsense.
    assert world.set_parameter("detection_space", "camera").successful
    (answer,) = world.ask("what", stamp=stamp, use_detections=True).answers
    assert xs(answer) == [34, 51]
    refused = world.set_parameter("detection_space", "letterbox 5")
    assert not refused.successful
    assert "letterboxed 960x544" in refused.reason


def test_stamps_that_are_a_little_off(start_fake: Any) -> None:
    from chatspot_ros.ros.conversions import to_ns, to_time

    world = start_fake("-p", "detection_tolerance:=0.01")
    world.wait_for_node()
    first_ns = to_ns(world.now())
    stamps = [to_time(first_ns + n * 100_000_000) for n in range(2)]
    for stamp in stamps:
        world.publish_frame(stamp=stamp)
    publish(world, to_time(first_ns + 4_000_000), detection("near", (30, 20), name="a"))
    publish(world, to_time(first_ns + 80_000_000), detection("far", (30, 20), name="b"))
    reply = world.wait_until(
        lambda: next(
            (
                reply
                for reply in [world.ask("what", stamp=stamps[0], use_detections=True)]
                if reply.name == "OK"
            ),
            None,
        )
    )
    assert [a.regions[0].label for a in reply.answers] == ["near"]
    assert world.ask("what", stamp=stamps[1], use_detections=True).name == "NO_IMAGE"


def test_a_turned_box_becomes_a_polygon() -> None:
    from vision_msgs.msg import Detection2DArray

    from chatspot_ros.ros.conversions import to_detected_regions

    turned = detection("knife", (10, 10), (8, 2), name="a")
    turned.bbox.center.theta = np.pi / 2
    (region,) = to_detected_regions(Detection2DArray(detections=[turned]))
    np.testing.assert_allclose(region.box_xyxy_px, (9, 6, 11, 14), atol=1e-9)
    assert len(region.points_px) == 4


# --- sessions


def test_a_session_stays_on_its_frame_and_sees_its_turns(fake: Any) -> None:
    stamp = fake.publish_frame(colour=(50, 60, 70))
    first = fake.ask("say hello", session="s1", stamp=stamp)
    assert first.message == "session 's1' is new"
    fake.publish_frame(colour=(1, 1, 1))
    second = fake.ask("and this", session="s1", regions=[fake.region((5, 5))])
    assert second.message == ""
    assert second.header.stamp == stamp
    assert "colour=50,60,70" in second.answers[0].text
    assert "turns=say hello=hello" in second.answers[0].text


def test_another_frame_restarts_the_conversation_and_says_so(fake: Any) -> None:
    fake.ask("say hello", session="s2", stamp=fake.publish_frame())
    other = fake.publish_frame(colour=(4, 5, 6))
    reply = fake.ask("what", session="s2", stamp=other)
    assert "anew on another frame" in reply.message
    assert reply.answers[0].text.endswith("turns=")
    assert "colour=4,5,6" in reply.answers[0].text


def test_sessions_do_not_hear_each_other(fake: Any) -> None:
    stamp = fake.publish_frame()
    fake.ask("say secret", session="s3", stamp=stamp)
    assert "secret" not in fake.ask("what", session="s4", stamp=stamp).answers[0].text


def test_a_failed_question_does_not_start_a_session(fake: Any) -> None:
    stamp = fake.publish_frame()
    assert fake.ask("nan", session="s5", stamp=stamp).name == "MODEL_ERROR"
    assert "is new" in fake.ask("what", session="s5", stamp=stamp).message


def test_one_picture_is_prepared_once(fake: Any) -> None:
    stamp = fake.publish_frame()
    texts = [fake.ask("what", stamp=stamp).answers[0].text.split()[0] for _ in range(3)]
    assert len(set(texts)) == 1


# --- clicks, answers, the annotated picture, diagnostics


def test_a_click_is_answered_on_the_answers_topic(fake: Any) -> None:
    from geometry_msgs.msg import Point

    stamp = fake.publish_frame()
    assert fake.set_parameter("default_question", "say clicked").successful
    fake.clicks.publish(Point(x=12.0, y=34.0))
    heard = fake.answers.wait_for(lambda message: message.question == "say clicked")
    assert (heard.status, heard.camera, heard.header.stamp) == (0, "camera", stamp)
    (point,) = heard.answers[0].regions[0].points
    assert (point.x, point.y) == (12, 34)
    assert heard.answers[0].text == "clicked"


def test_a_click_outside_the_picture_is_said_on_the_answers_topic(fake: Any) -> None:
    from geometry_msgs.msg import Point

    fake.publish_frame()
    fake.clicks.publish(Point(x=1000.0, y=34.0))
    heard = fake.answers.wait_for(lambda message: message.status == 2)
    assert "outside" in heard.message


def diagnostics(fake: Any) -> dict[str, str]:
    """The next diagnostic values of the node and of its camera."""
    from diagnostic_msgs.msg import DiagnosticArray

    heard = fake.Collector()
    subscription = fake.ros.create_subscription(DiagnosticArray, "/diagnostics", heard, 10)
    message = heard.wait_for(lambda m: m.status[0].name == "/region_query_node")
    fake.ros.destroy_subscription(subscription)
    assert message.status[1].name == "/region_query_node: camera camera"
    return {value.key: value.value for status in message.status for value in status.values}


def test_diagnostics_tell_how_it_goes(fake: Any) -> None:
    stamp = fake.publish_frame()
    fake.result(fake.send_goal("say one two", stamp=stamp))
    assert fake.ask("nan", stamp=stamp).name == "MODEL_ERROR"
    assert fake.ask("what", stamp=stamp).name == "OK"
    values = diagnostics(fake)
    assert (values["state"], values["model"]) == ("active", "fake")
    assert int(values["frames received"]) >= 1
    assert values["frames dropped"].isdigit()
    assert float(values["memory of the process, MB"]) > 10
    assert float(values["scenes and conversations held, MB"]) >= 0
    assert int(values["queue depth"]) == 0
    assert int(values["replies OK"]) >= 1
    assert int(values["replies MODEL_ERROR"]) >= 1
    assert "MODEL_ERROR: the logits are not finite" in values["last error"]
    assert float(values["time to first token, s (median)"]) > 0


def test_the_annotated_picture_is_drawn_only_for_a_subscriber(fake: Any) -> None:
    from sensor_msgs.msg import Image

    stamp = fake.publish_frame(colour=(90, 90, 90))
    fake.ask("say unseen", stamp=stamp, regions=[fake.region((10, 10), (30, 30))])
    assert diagnostics(fake)["pictures drawn"] == "0"
    pictures = fake.Collector()
    topic = "region_query_node/annotated"
    subscription = fake.ros.create_subscription(Image, topic, pictures, 10)
    fake.wait_until(lambda: fake.ros.count_publishers(f"/{topic}"))

    def drawn() -> Any:
        fake.ask("say seen", stamp=stamp, regions=[fake.region((10, 10), (30, 30))])
        return pictures.items

    fake.wait_until(drawn)
    picture = pictures.items[0]
    fake.ros.destroy_subscription(subscription)
    assert (picture.header.stamp, picture.encoding) == (stamp, "rgb8")
    pixels = np.frombuffer(picture.data, np.uint8).reshape(picture.height, picture.width, 3)
    # The box's own colour is in it, on its left edge.
    assert (pixels[20, 9:12] == (255, 176, 0)).all(axis=-1).any()
    assert diagnostics(fake)["pictures drawn"] != "0"
