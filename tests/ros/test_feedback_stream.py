"""Words gathered into few messages."""

from __future__ import annotations

import pytest

from chatspot_ros.ros import feedback_stream
from chatspot_ros.ros.feedback_stream import FeedbackStream


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(feedback_stream.time, "monotonic", lambda: now[0])
    return now


def test_the_first_word_goes_at_once_and_the_rest_together(clock: list[float]) -> None:
    sent: list[tuple[int, str]] = []
    stream = FeedbackStream(lambda *one: sent.append(one))
    for word in ("a ", "b ", "c "):
        stream.add(0, word)
    assert sent == [(0, "a ")]
    clock[0] += 0.02
    assert not stream.flush()  # sent just now
    assert sent == [(0, "a "), (0, "b c ")]
    clock[0] += 0.02
    assert stream.flush()


def test_a_client_that_holds_ten_messages_loses_none(clock: list[float]) -> None:
    sent: list[tuple[int, str]] = []
    stream = FeedbackStream(lambda *one: sent.append(one))
    for index in range(64):
        for word in range(30):
            stream.add(index, f"{word} ")
    turns = []
    while not stream.flush(at_end=True):
        turns.append(len(sent))
        clock[0] += 0.02
    assert max(b - a for a, b in zip([0, *turns], turns, strict=False)) <= 9
    for index in range(64):
        text = "".join(added for at, added in sent if at == index)
        assert text == "".join(f"{word} " for word in range(30))
