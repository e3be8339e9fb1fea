import numpy as np

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import OK, UNREACHABLE, Answer, Ask, Reply
from chatspot_ros.operators.exchange import STATUS_WORDS, Exchange, headline, with_answers

BOXES = (Region.box(10, 10, 60, 60), Region.box(80, 20, 140, 90))


def test_text_comes_beside_its_region_until_the_reply_is_there():
    exchange = Exchange(Ask("What?", BOXES))
    exchange.add_text(1, "a ta")
    exchange.add_text(0, "a cup")
    exchange.add_text(1, "ble")
    assert [(one.number, one.answer.text, one.answer.regions) for one in exchange.shown] == [
        (1, "a cup", BOXES[:1]), (2, "a table", BOXES[1:]),
    ]  # fmt: skip
    assert not exchange.shown[0].is_complete
    exchange.reply = Reply(OK, answers=(Answer("a mug", BOXES[:1]),))
    assert [one.answer.text for one in exchange.shown] == ["a mug"]
    assert exchange.shown[0].is_complete


def test_what_had_come_stays_where_the_reply_has_no_answers():
    exchange = Exchange(Ask("What?", BOXES))
    exchange.add_text(0, "a c")
    exchange.reply = Reply(UNREACHABLE, "the node has gone: start it")
    assert [one.answer.text for one in exchange.shown] == ["a c"]
    assert exchange.headline == "The node cannot be reached: the node has gone: start it"


def test_one_answer_about_several_regions():
    exchange = Exchange(Ask("What is <region> to <region>?", BOXES))
    exchange.add_text(0, "left")
    assert exchange.shown[0].answer.regions == BOXES
    exchange = Exchange(Ask("What?"))
    exchange.add_text(0, "a kitchen")
    assert exchange.shown[0].about == "the whole picture"


def test_every_status_of_the_node_has_words():
    from chatspot_ros.srv import RegionQuery

    names = {
        name for name in dir(RegionQuery.Response)
        if name.isupper() and isinstance(getattr(RegionQuery.Response, name), int)
    }  # fmt: skip
    assert names
    assert set(STATUS_WORDS) == {*names, UNREACHABLE}


def test_the_headline_has_the_times():
    reply = Reply(OK, model="chatspot-tiny", queued_s=0.5, seeing_s=0.25, answering_s=0.25)
    assert headline(reply) == (
        "Answered in 1.00 s (waited 0.50 s, saw 0.25 s, answered 0.25 s) by chatspot-tiny."
    )


def test_the_picture_has_regions_answers_and_grounded_places():
    image = np.full((200, 300, 3), 128, np.uint8)
    exchange = Exchange(Ask("What?", BOXES))
    bare = with_answers(image, BOXES, ())
    assert (bare[60, 30] != image[60, 30]).any(), "the first box is drawn"
    grounded = (Region(((200.0, 100.0), (280.0, 180.0)), label="lid"),)
    exchange.reply = Reply(OK, answers=(Answer("a mug", BOXES[:1], grounded=grounded),))
    drawn = with_answers(image, BOXES, exchange.shown)
    assert (drawn[180, 240] != bare[180, 240]).any(), "the grounded place is drawn"
    assert (image == 128).all()
    assert exchange.grounded == grounded
