"""What an action's feedback streamed adds up to its result, however fast the words come."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("count", [5, 60, 300])
def test_no_word_is_lost(fake: Any, count: int) -> None:
    stamp = fake.publish_frame()
    words = " ".join(f"w{k}" for k in range(count))
    heard = fake.Collector()
    handle = fake.send_goal(f"say {words}"[:2000], heard, stamp=stamp)
    _, result = fake.result(handle)
    (answer,) = result.answers

    def all_came() -> bool:  # the last words may come behind the result
        return "".join(one.feedback.text for one in heard.items).strip() == answer.text

    fake.wait_until(all_came, 10.0)


def test_no_word_of_several_regions_is_lost(fake: Any) -> None:
    stamp = fake.publish_frame()
    regions = [fake.region((k, k)) for k in range(1, 9)]
    heard = fake.Collector()
    question = "say " + " ".join(f"w{k}" for k in range(80))
    handle = fake.send_goal(question, heard, stamp=stamp, regions=regions)
    _, result = fake.result(handle)
    for index, answer in enumerate(result.answers):

        def all_came(index: int = index, text: str = answer.text) -> bool:
            own = [one.feedback for one in heard.items if one.feedback.answer_index == index]
            return "".join(one.text for one in own).strip() == text

        fake.wait_until(all_came, 10.0)
