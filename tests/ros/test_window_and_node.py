"""The window with a real node in a process of its own: a person clicks, drags, asks and reads."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
from pointer import LEFT, click, drag, place, wheel

from chatspot_ros.operators.window.qt import Qt

KEY = Qt.Key
PATIENCE_MS = 60_000
WIDTH, HEIGHT = 320, 240
# Which kitchen it is, and how large: that of the demo.
SEED, KITCHEN_WH = 85, (640, 480)


@pytest.fixture
def open_window(qtbot: Any) -> Any:
    """Open the window on a node: `open_window("/region_query_node")`."""
    from chatspot_ros.operators.window.operator_widget import OperatorWidget
    from chatspot_ros.ros.operator_client import RosOperatorClient

    def open_it(node: str) -> Any:
        window = OperatorWidget(RosOperatorClient(node), node)
        qtbot.addWidget(window)
        window.resize(1000, 700)
        with qtbot.waitExposed(window):
            window.show()
        return window

    return open_it


def publish_until_seen(qtbot: Any, world: Any, window: Any) -> int:
    """Publish a picture that the node has, until the window shows it, too; return its stamp."""
    from std_msgs.msg import Header

    from chatspot_ros.ros.conversions import to_image_message, to_ns

    rgb = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for _ in range(30):
        stamp = world.now()
        message = to_image_message(rgb, Header(stamp=stamp, frame_id="camera"))
        world.publish_until_it_comes(world.images, message)
        try:
            qtbot.waitUntil(partial(shows, window, to_ns(stamp)), timeout=2000)
        except qtbot.TimeoutError:
            continue  # the window's subscription was not known yet
        return to_ns(stamp)
    raise AssertionError("the window shows no picture")


def shows(window: Any, stamp_ns: int) -> bool:
    return window.frame is not None and window.frame.stamp_ns == stamp_ns


def typed(qtbot: Any, window: Any, text: str) -> None:
    window.question.line.clear()
    qtbot.keyClicks(window.question.line, text)
    qtbot.keyClick(window.question.line, KEY.Key_Return)


def wait_for_end(qtbot: Any, window: Any) -> Any:
    qtbot.waitUntil(lambda: window.exchange.reply is not None, timeout=PATIENCE_MS)
    return window.exchange.reply


def test_a_box_dragged_at_twice_the_size_reaches_the_node_in_image_pixels(
    qtbot: Any, fake: Any, open_window: Any
) -> None:
    window = open_window("/region_query_node")
    stamp_ns = publish_until_seen(qtbot, fake, window)
    fit = window.picture.view.scale
    window.picture.zoom(2.0)
    assert window.picture.view.scale == pytest.approx(2 * fit)
    drag(qtbot, window, (140, 100), (200, 150))
    typed(qtbot, window, "name by place")
    reply = wait_for_end(qtbot, window)
    assert reply.status == "OK"
    (answer,) = reply.answers
    assert answer.regions[0].box_xyxy_px == pytest.approx((140, 100, 200, 150), abs=0.5 / fit)
    assert answer.text == f"A thing at {np.float32(answer.regions[0].box_xyxy_px[0]):g}."
    assert window.panel.cards[0].text.text() == answer.text
    assert reply.stamp_ns == stamp_ns


def test_words_come_one_by_one_and_a_cancel_ends_them(
    qtbot: Any, fake: Any, open_window: Any
) -> None:
    window = open_window("/region_query_node")
    publish_until_seen(qtbot, fake, window)
    click(qtbot, window, (100, 100))
    typed(qtbot, window, "take 100")
    qtbot.waitUntil(
        lambda: bool(window.panel.cards) and window.panel.cards[0].text.text().count("w") > 3,
        timeout=PATIENCE_MS,
    )
    qtbot.mouseClick(window.question.cancel_button, LEFT)
    assert wait_for_end(qtbot, window).status == "CANCELLED"
    assert "Cancelled" in window.status.text()
    typed(qtbot, window, "say it works again")
    assert wait_for_end(qtbot, window).answers[0].text == "it works again"


def test_a_picture_held_longer_than_the_node_does_is_sent_along(
    qtbot: Any, start_fake: Any, open_window: Any
) -> None:
    # The node holds frames of one second.
    world = start_fake("-p", "buffer_seconds:=1.0")
    world.wait_for_node()
    window = open_window(f"{world.namespace}/region_query_node")
    stamp_ns = publish_until_seen(qtbot, world, window)
    click(qtbot, window, (100, 100))
    assert window.is_still
    later = world.now()
    later.sec += 30
    world.publish_frame(later)
    assert world.ask("x", stamp=to_message(stamp_ns)).name == "FRAME_EXPIRED"
    typed(qtbot, window, "what is it")
    reply = wait_for_end(qtbot, window)
    assert reply.status == "OK"
    assert f"size={WIDTH}x{HEIGHT} colour=60,60,60" in reply.answers[0].text
    assert reply.stamp_ns == stamp_ns


def to_message(stamp_ns: int) -> Any:
    from chatspot_ros.ros.conversions import to_time

    return to_time(stamp_ns)


def test_a_node_that_is_killed_in_the_middle_is_said_to_be_gone(
    qtbot: Any, start_fake: Any, open_window: Any
) -> None:
    world = start_fake()
    world.wait_for_node()
    window = open_window(f"{world.namespace}/region_query_node")
    publish_until_seen(qtbot, world, window)
    click(qtbot, window, (100, 100))
    typed(qtbot, window, "take 100")
    qtbot.waitUntil(lambda: bool(window.panel.cards), timeout=PATIENCE_MS)
    world.process.send(signal.SIGKILL)
    reply = wait_for_end(qtbot, window)
    assert reply.status == "UNREACHABLE"
    assert "The node cannot be reached" in window.status.text()
    assert "w" in window.panel.cards[0].text.text(), "what had come stays"
    assert window.question.ask_button.isEnabled()
    qtbot.waitUntil(window.problem.isVisible, timeout=PATIENCE_MS)


def test_no_node_at_all_is_said_in_words(qtbot: Any, open_window: Any) -> None:
    window = open_window("/nobody/region_query_node")
    qtbot.waitUntil(window.problem.isVisible, timeout=PATIENCE_MS)
    assert "/nobody/region_query_node" in window.problem.text()
    typed(qtbot, window, "Is anybody there?")
    assert wait_for_end(qtbot, window).status == "UNREACHABLE"


def test_an_inactive_node_is_said_to_be_inactive(
    qtbot: Any, start_fake: Any, open_window: Any
) -> None:
    world = start_fake("-p", "autostart:=false", ready=None)
    window = open_window(f"{world.namespace}/region_query_node")
    qtbot.waitUntil(
        lambda: "active" in window.problem.text() or "configured" in window.problem.text(),
        timeout=PATIENCE_MS,
    )


def test_a_rating_reaches_the_node_or_its_words_the_person(
    qtbot: Any, fake: Any, open_window: Any
) -> None:
    window = open_window("/region_query_node")
    publish_until_seen(qtbot, fake, window)
    typed(qtbot, window, "say a mug")
    wait_for_end(qtbot, window)
    card = window.panel.cards[0]
    qtbot.mouseClick(card.stars[4], LEFT)
    qtbot.waitUntil(card.rating_said.isVisible, timeout=PATIENCE_MS)
    assert "feedback_log" in card.rating_said.text(), "this node keeps no log, and says so"


@pytest.mark.timeout(500)
def test_click_the_fridge_and_be_told_whether_it_is_plugged_in(
    qtbot: Any, spawn: Any, ros_node: Any, open_window: Any
) -> None:
    """The bundled model, the simulated kitchen, and nothing scripted."""
    from std_msgs.msg import String

    from chatspot_sim.processes import installed
    from chatspot_sim.truth import Truth

    truths: list[Truth] = []
    ros_node.create_subscription(
        String, "/home/kitchen/truth", lambda m: truths.append(Truth.from_json(m.data)), 10
    )
    width, height = KITCHEN_WH
    spawn(
        *(*installed("kitchen_camera"), "--ros-args", "-r", "__ns:=/home"),
        *("-p", f"seed:={SEED}", "-p", f"width:={width}", "-p", f"height:={height}"),
        # Small enough for a subscriber of best effort, without loss.
        *("-p", "transport:=compressed", "-p", "rate:=2.0"),
    )
    spawn(
        *(sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args"),
        *("-r", "__ns:=/home", "-p", "threads:=1", "-p", "image_transport:=compressed"),
        *("-p", "max_image_age:=600.0"),
        ready="ready: region_query_node",
        timeout_s=300.0,
    )
    window = open_window("/home/region_query_node")
    qtbot.waitUntil(lambda: bool(truths) and window.frame is not None, timeout=PATIENCE_MS)
    fridge = next(thing for thing in truths[-1].things if thing.name == "fridge")
    x1, y1, x2, y2 = fridge.box_xyxy_px
    wheel(window.picture, place(window, ((x1 + x2) / 2, (y1 + y2) / 2)), 1)
    click(qtbot, window, ((x1 + x2) / 2, (y1 + y2) / 2))
    typed(qtbot, window, "What is this?")
    reply = wait_for_end(qtbot, window)
    assert reply.status == "OK"
    assert "fridge" in window.panel.cards[0].text.text()
    drag(qtbot, window, (x1, y1), (x2 - 1, y2 - 1))
    typed(qtbot, window, "Is this plugged in?")
    reply = wait_for_end(qtbot, window)
    said = window.panel.cards[0].text.text()
    print(fridge.state, said, reply)
    assert said == reply.answers[0].text
    is_in = fridge.state["plug"] == "in"
    assert said.lower().startswith("yes" if is_in else "no"), (fridge.state, reply)
