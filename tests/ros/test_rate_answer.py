"""Rating answers over ROS: every answer has an id; a rating reaches the log, or says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chatspot_ros.srv import RateAnswer

from chatspot_ros.core.feedback_events import AnswerLine, FollowUpLine, RatingLine, read_line

Rate = Callable[..., Any]
OK, UNKNOWN = RateAnswer.Response.OK, RateAnswer.Response.UNKNOWN_ANSWER


def rater(world: Any) -> Rate:
    name = f"{world.namespace}/region_query_node/rate_answer"
    client = world.make(lambda: world.ros.create_client(RateAnswer, name))
    assert client.wait_for_service(60.0)

    def rate(answer_id: str, rating: int, comment: str = "") -> Any:
        request = RateAnswer.Request(answer_id=answer_id, rating=rating, comment=comment)

        # A server that does not know its new client yet loses the reply.
        return world.wait_until(lambda: world.soon(client.call_async(request)))

    return rate


def read(path: Path) -> list[Any]:
    return [read_line(line) for line in path.read_bytes().splitlines()]


def test_answers_by_every_way_can_be_rated_and_are_logged(
    start_fake: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    world = start_fake("-p", f"feedback_log:={path}")
    world.wait_for_node()
    rate = rater(world)
    stamp = world.publish_frame(colour=(102, 102, 102))
    box = world.region((0, 0), (32, 24))
    replied = world.ask("say a mug", stamp=stamp, regions=[box, world.region((5, 5))])
    _, result = world.result(world.send_goal("say a jar", stamp=stamp, regions=[box]))
    ids = [answer.answer_id for answer in (*replied.answers, *result.answers)]
    assert len(set(ids)) == 3
    assert all(one.isalnum() and len(one) == 16 for one in ids)
    heard = world.answers.wait_for(lambda one: one.question == "say a mug")
    assert [one.answer_id for one in heard.answers] == ids[:2]
    for number, name in enumerate(ids, 1):
        told = rate(name, number, f"comment {number}")
        assert (told.status, told.message) == (OK, "")
    again = world.ask("say a mug", stamp=stamp, regions=[box])
    assert again.answers[0].answer_id not in ids

    def everything() -> Any:
        kinds = [type(one) for one in read(path)]
        return FollowUpLine in kinds and read(path)

    found = world.wait_until(everything)
    answers = {one.answer_id: one for one in found if isinstance(one, AnswerLine)}
    assert [answers[name].text for name in ids] == ["a mug", "a mug", "a jar"]
    assert [answers[name].via for name in ids] == ["service", "service", "action"]
    assert answers[ids[0]].light == pytest.approx(0.4)
    assert answers[ids[0]].region_share == pytest.approx(0.25)
    ratings = {one.answer_id: one for one in found if isinstance(one, RatingLine)}
    assert [ratings[name].rating for name in ids] == [1, 2, 3]
    followed = [one for one in found if isinstance(one, FollowUpLine)]
    assert {one.answer_id for one in followed} <= set(answers)
    assert "asked_again" in {one.kind for one in followed}


def test_a_rating_that_cannot_be_taken_says_why(
    start_fake: Callable[..., Any], tmp_path: Path
) -> None:
    world = start_fake("-p", f"feedback_log:={tmp_path / 'log.jsonl'}")
    world.wait_for_node()
    rate = rater(world)
    name = world.ask("say a mug", stamp=world.publish_frame()).answers[0].answer_id
    told = rate(name, 6)
    assert (told.status, "got 6" in told.message) == (RateAnswer.Response.BAD_RATING, True)
    told = rate("nobody", 3)
    assert (told.status, "nobody" in told.message) == (UNKNOWN, True)
    assert rate(name, 3).status == OK


def test_without_a_log_answers_have_ids_and_ratings_say_that_there_is_none(fake: Any) -> None:
    replied = fake.ask("say a mug", stamp=fake.publish_frame())
    assert replied.answers[0].answer_id
    told = rater(fake)(replied.answers[0].answer_id, 3)
    assert told.status == RateAnswer.Response.NOT_LOGGED
    assert "feedback_log" in told.message


def test_a_log_that_cannot_be_written_stops_the_start_with_one_line(
    start_fake: Callable[..., Any],
) -> None:
    world = start_fake("-p", "feedback_log:=/nowhere/log.jsonl", ready=None)
    assert world.process.wait() == 1
    (said,) = (line for line in world.process.lines if "cannot start" in line)
    assert "/nowhere/log.jsonl" in said
