"""People at the page, in a real browser, with a real node."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from detected import detection
from world import wait_until

Come = Callable[..., Any]
FAKE_NODE = str(Path(__file__).parents[2] / "ros" / "faulty_node.py")


def regions_sent(world: Any, question: str, after: int) -> list[Any]:
    """Return the points of each region that the node was asked about, once it has answered."""
    message = world.answers.wait_for(
        lambda one: one.question == question and world.answers.items.index(one) >= after
    )
    return [
        [(point.x, point.y) for point in answer.regions[0].points] for answer in message.answers
    ]


def near(found: Any, *expected: tuple[float, float]) -> bool:
    return found == [pytest.approx(point, abs=0.3) for point in expected]


def test_draw_ask_and_read(person: Come, world: Any) -> None:
    one = person().sees_a_picture()
    one.click(10, 10)
    one.drag(20, 30, 40, 12)
    for corner in ((50, 10), (60, 10), (55, 30)):
        one.click(*corner, button="right")
    one.has_regions(2)
    one.click(50, 10, button="right")  # its first corner closes a polygon
    one.has_regions(3)
    before = len(world.answers.items)
    one.ask("say the door is open")
    card = one.reads("Answered in")
    assert card.locator(".answer-text").all_inner_texts() == ["the door is open"] * 3
    assert card.locator(".answer .mark-inline").all_inner_texts() == ["1", "2", "3"]
    assert card.locator(".state tr").first.inner_text().split() == ["door", "open"]
    assert card.locator(".steps li").first.inner_text() == "open fridge"
    assert "90 %" in card.inner_text()
    assert one.page.locator(".picture-frame .mark.grounded").first.inner_text() == "thing"
    point, box, polygon = regions_sent(world, "say the door is open", before)
    assert near(point, (10, 10))
    assert near(box, (20, 12), (40, 30))
    assert near(polygon, (50, 10), (60, 10), (55, 30))


def test_nothing_comes_from_elsewhere(person: Come, page_url: str) -> None:
    one = person().sees_a_picture()
    one.ask("say hello")
    one.reads("hello")
    assert len(one.requests) > 10
    allowed = (page_url, "blob:" + page_url, "data:", page_url.replace("http", "ws"))
    assert [url for url in one.requests if not url.startswith(allowed)] == []


def test_words_come_before_the_end_and_cancel_ends_them(person: Come) -> None:
    one = person().sees_a_picture()
    one.ask("take 100")
    card = one.reads("w w w")
    assert "Answering" in card.inner_text()
    one.button("Cancel").click()
    one.reads("Cancelled")
    one.button("Ask").wait_for()


def test_a_click_in_a_detection_selects_it(person: Come, camera: Any, world: Any) -> None:
    camera.boxes = (detection("mug", (20, 20), (10, 8)), detection("table", (30, 24), (56, 40)))
    try:
        one = person().sees_a_picture()
        one.page.locator(".detection-label").filter(has_text="mug").wait_for()
        one.click(21, 21)
        one.has_regions(1)
        assert one.page.locator(".region-chip").inner_text().split() == ["1", "mug"]
        one.page.get_by_role("switch", name="Detections").click()
        one.page.locator(".detection").first.wait_for(state="detached")
        one.click(22, 22)
        one.has_regions(2)
        before = len(world.answers.items)
        one.ask("say selected")
        one.reads("Answered in")
        box, point = regions_sent(world, "say selected", before)
        assert near(box, (15, 16), (25, 24))
        assert near(point, (22, 22))
    finally:
        camera.boxes = ()


def test_two_people_each_have_their_own(person: Come) -> None:
    one, two = person().sees_a_picture(), person().sees_a_picture()
    one.click(61, 46)  # where no detection of the test before was
    two.drag(30, 10, 50, 40)
    one.ask("say for one")
    two.ask("say for two")
    one.reads("for one")
    two.reads("for two")
    chips = [person.page.locator(".region-chip").inner_text().split()[1] for person in (one, two)]
    assert chips == ["point", "box"]
    assert "for two" not in one.page.locator(".answers").inner_text()
    assert one.page.locator(".exchange").count() == two.page.locator(".exchange").count() == 1


def test_a_conversation_goes_on_and_begins_anew(person: Come) -> None:
    one = person().sees_a_picture()
    one.ask("my name is Ada")
    one.reads("Answered in")
    one.ask("and now")
    one.reads("turns=my name is Ada")
    one.button("New session").click()
    one.page.locator(".exchange").first.wait_for(state="detached")
    assert one.page.locator(".tag-live").count() == 1
    one.ask("and now again")
    card = one.reads("Answered in")
    assert "Ada" not in card.inner_text()


def test_a_frozen_picture_is_the_one_that_is_asked_about(
    person: Come, camera: Any, world: Any
) -> None:
    camera.show(200, 0, 0)
    one = person().sees_a_picture()
    one.page.wait_for_function(COLOUR_IS, arg=[200, 0, 0])
    one.button("Freeze").click()
    one.page.locator(".tag-frozen").wait_for()
    held = camera.stamp
    camera.show(0, 0, 200)
    two = person().sees_a_picture()
    two.page.wait_for_function(COLOUR_IS, arg=[0, 0, 200])
    # The frozen picture is no newer than this one, which the node soon forgets.
    wait_until(lambda: world.ask("ping", stamp=held).name == "FRAME_EXPIRED")
    one.ask("colour?")
    one.reads("colour=200,0,0")
    assert one.page.evaluate(COLOUR_IS, [200, 0, 0])
    one.button("Go live").click()
    one.page.wait_for_function(COLOUR_IS, arg=[0, 0, 200])


COLOUR_IS = """([red, green, blue]) => {
  const image = document.querySelector('.picture-frame img');
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0, 1, 1);
  const found = context.getImageData(0, 0, 1, 1).data;
  return [red, green, blue].every((value, k) => Math.abs(found[k] - value) < 16);
}"""


def test_a_slow_link_drops_frames(person: Come) -> None:
    """About a frame a second goes through, of ten; the one that comes is a new one."""
    one, two = person().sees_a_picture(), person().sees_a_picture()
    session = one.context.new_cdp_session(one.page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 700, "downloadThroughput": -1, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", slow)
    begun, seen = two.number, set()
    while two.number < begun + 30:
        seen.add(one.number)
    assert 1 < len(seen) < 15
    assert two.number - one.number < 20


def test_quick_questions_history_and_asking_at_once(person: Come) -> None:
    one = person().sees_a_picture()
    one.button("What is this?").click()
    one.reads("Answered in")
    question = one.page.get_by_label("Question")
    question.fill("half")
    question.press("ArrowUp")
    one.page.wait_for_function(VALUE_IS, arg="What is this?")
    question.press("ArrowDown")
    one.page.wait_for_function(VALUE_IS, arg="half")
    question.fill("")
    one.page.get_by_role("switch", name="Ask at once").click()
    one.click(30, 30)
    one.page.locator(".exchange").nth(1).wait_for()
    one.reads("regions=1")


VALUE_IS = "text => document.querySelector('[aria-label=Question]').value == text"


def test_escape_undo_and_clear(person: Come) -> None:
    one = person().sees_a_picture()
    for x in (10, 20, 30):
        one.click(x, 10)
    one.has_regions(3)
    one.button("Drop the last region").click()
    one.has_regions(2)
    one.click(50, 40, button="right")
    one.page.locator(".corner").wait_for()
    one.page.keyboard.press("Escape")  # the unfinished polygon alone
    one.page.locator(".corner").wait_for(state="detached")
    one.has_regions(2)
    one.page.keyboard.press("Escape")
    one.has_regions(0)


def test_a_rating_that_the_node_does_not_keep_is_said(person: Come) -> None:
    one = person().sees_a_picture()
    one.ask("say rate me")
    card = one.reads("Answered in")
    card.get_by_role("radio").nth(3).click()
    one.page.get_by_text("feedback_log").wait_for()


def test_text_from_outside_is_only_text(person: Come) -> None:
    one = person().sees_a_picture()
    one.ask("say <img src=x onerror=alert(1)> {{7*7}}")
    one.reads("<img src=x onerror=alert(1)> {{7*7}}")
    assert one.page.locator(".exchange img").count() == 0


# --- a phone


def test_a_finger_taps_and_drags_on_a_phone(person: Come, world: Any) -> None:
    one = person(has_touch=True, is_mobile=True, device_scale_factor=2)
    one.page.set_viewport_size({"width": 360, "height": 740})
    one.sees_a_picture()
    one.page.touchscreen.tap(*one.at(12, 12))
    one.has_regions(1)
    touch(one, (30, 20), (45, 40), (50, 42))
    one.has_regions(2)
    one.button("Polygon").tap()
    for corner in ((4, 30), (16, 30), (10, 44)):
        one.page.touchscreen.tap(*one.at(*corner))
    one.page.locator(".corner").nth(2).wait_for()
    one.button("Close polygon").tap()
    one.has_regions(3)
    before = len(world.answers.items)
    one.ask("say on a phone")
    one.reads("Answered in")
    point, box, polygon = regions_sent(world, "say on a phone", before)
    assert near(point, (12, 12))
    assert near(box, (30, 20), (50, 42))
    assert near(polygon, (4, 30), (16, 30), (10, 44))
    assert one.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def touch(one: Any, *way: tuple[float, float]) -> None:
    """Drag a finger over pixels of the picture."""
    session = one.context.new_cdp_session(one.page)
    kinds = ["touchStart", *["touchMove"] * (len(way) - 1)]
    for kind, place in zip(kinds, way, strict=True):
        x, y = one.at(*place)
        event = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
        session.send("Input.dispatchTouchEvent", event)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


# --- faults


def test_after_a_restart_of_the_server_the_page_comes_back(
    person: Come, start: Any, spawn: Any, camera: Any
) -> None:
    process, url = start(spawn, "--port", "0")
    one = person(url).sees_a_picture()
    one.click(10, 10)
    one.has_regions(1)
    one.ask("say before")
    one.reads("Answered in")
    assert process.stop() == 0
    one.page.locator(".picture-frame[data-lost=true]").wait_for()
    start(spawn, "--port", url.rstrip("/").rpartition(":")[2])
    one.page.locator(".exchange").wait_for(state="detached")
    one.sees_a_picture()
    one.has_regions(1)
    one.ask("say after")
    one.reads("after")


def test_a_wrong_token_a_right_one_and_no_other_site(
    person: Come, start: Any, spawn: Any, camera: Any, tmp_path: Path
) -> None:
    token = "a long enough token"
    (tmp_path / "token").write_text(token + "\n")
    process, url = start(
        spawn, "--host", "0.0.0.0", "--port", "0", "--token-file", str(tmp_path / "token")
    )
    assert any("TLS" in line for line in process.lines)
    url = url.replace("0.0.0.0", "127.0.0.1")
    one = person(url)
    one.page.get_by_label("Token").fill("not the right token")
    one.button("Log in").click()
    one.page.get_by_text("This is not the token.").wait_for()
    one.page.get_by_label("Token").fill(token)
    one.button("Log in").click()
    one.sees_a_picture()
    one.ask("say let in")
    one.reads("let in")
    (cookie,) = one.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    other = one.context.new_page()
    other.goto("about:blank")
    assert other.evaluate(SOCKET_OPENS, url.replace("http", "ws") + "_nicegui_ws/socket.io/") == ""
    seen = "\n".join([*one.requests, process.output, cookie["value"]])
    assert token not in seen
    assert token.replace(" ", "+") not in seen
    assert token.replace(" ", "%20") not in seen


SOCKET_OPENS = """(url) => new Promise((done) => {
  const socket = new WebSocket(url + '?EIO=4&transport=websocket');
  socket.onmessage = (event) => done('opened: ' + event.data);
  socket.onerror = () => done('');
})"""


def test_a_node_that_dies_in_the_middle_is_said(
    person: Come, start: Any, spawn: Any, camera: Any, gates: Path
) -> None:
    node = spawn(
        *(sys.executable, FAKE_NODE, "--ros-args", "-r", "__ns:=/dying"),
        *("-r", "/dying/image:=/image", "-p", "max_image_age:=600.0"),
        ready="ready: region_query_node",
        env={"FAKE_GATES": str(gates)},
    )
    _, url = start(spawn, "--port", "0", "--node", "/dying/region_query_node")
    one = person(url).sees_a_picture()
    one.ask("take 100")
    one.reads("w w")
    node.send(signal.SIGKILL)
    one.reads("The node cannot be reached")
    one.page.get_by_role("alert").filter(has_text="/dying/region_query_node").wait_for()
