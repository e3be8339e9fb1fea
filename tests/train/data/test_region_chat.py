"""Dialogues are written through a real chat endpoint: retried, bounded, resumable, keyless."""

import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_train.data.build import build
from chatspot_train.data.records import Records, RecordTurn
from chatspot_train.data.region_chat.__main__ import main
from chatspot_train.data.sources import find_source

GOOD = [{"question": "What is <box>0.1 0.1 0.5 0.5</box>?", "answer": "A mug."}]
Answer = tuple[int, dict[str, str], Any]


@pytest.fixture
def server(chat_server: Any) -> Any:
    """Asked about a picture by its number, it says GOOD."""
    chat_server.topic = lambda told: told.partition("the mug of picture ")[2].split()[0]
    chat_server.answer = lambda picture, count: chat_server.completion(GOOD)
    return chat_server


class Run:
    """Pictures 1 .. count, each with one described box and its size in image_data.json."""

    def __init__(self, folder: Path, server: Any, count: int) -> None:
        self.out = folder / "out"
        regions = [
            {"id": k, "regions": [{"region_id": k, "x": 10, "y": 10, "width": 40, "height": 40,
                                   "phrase": f"the mug of picture {k} "}]}
            for k in range(1, count + 1)
        ]  # fmt: skip
        info = [
            {
                "image_id": k,
                "width": 100,
                "height": 100,
                "url": f"https://x.example/a/VG_100K/{k}.jpg",
            }
            for k in range(1, count + 1)
        ]
        (folder / "regions.json").write_text(json.dumps(regions))
        (folder / "info.json").write_text(json.dumps(info))
        self.arguments = [
            "--regions", str(folder / "regions.json"), "--images-info", str(folder / "info.json"),
            "--endpoint", server.url, "--model", "writer", "--out", str(self.out),
        ]  # fmt: skip

    def __call__(self, *more: str) -> int:
        return main([*self.arguments, *more])

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / f"{name}.jsonl").read_text().splitlines()]

    def ids(self, name: str) -> list[str]:
        return sorted(line["id"] for line in self.lines(name))

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "report.json").read_text())
        return found


def test_dialogues_are_written_with_cost_and_seeds(
    tmp_path: Path, server: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path, server, 3)
    assert run("--limit", "2", "--price-in", "2", "--price-out", "10") == 0
    assert sorted(run.lines("dialogues"), key=lambda line: line["id"]) == [
        {"id": str(k), "image": f"VG_100K/{k}.jpg", "width": 100, "height": 100,
         "turns": [{"question": "What is <region>?", "answer": "A mug.",
                    "regions": [[[10.0, 10.0], [50.0, 50.0]]]}]}
        for k in (1, 2)
    ]  # fmt: skip
    assert run.report()["this_run"]["cost_usd"] == pytest.approx((2000 * 2 + 1000 * 10) / 1e6)
    said = capfd.readouterr()
    assert "cost=$0.01" in said.err
    assert "tokens=2,000+1,000" in said.err
    assert "2,000, 1,000" in said.out
    roles = [message["role"] for message in server.bodies[0]["messages"]]
    assert roles[0] == "system"
    assert roles.count("assistant") >= 2
    assert server.bodies[0]["model"] == "writer"
    assert server.keys == {f"Bearer {server.key}"}


def test_dialogues_become_records(tmp_path: Path, server: Any) -> None:
    run = Run(tmp_path, server, 2)
    assert run() == 0
    for k in (1, 2):
        picture = tmp_path / "images" / "VG_100K" / f"{k}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 100)).save(picture)
    source, folder = find_source("region_chat"), tmp_path / "records"
    build(source, run.out / "dialogues.jsonl", tmp_path / "images", folder, progress=False)
    turns = [turn for record in Records(folder) for turn in record.turns]
    assert turns == [RecordTurn("What is <region>?", "A mug.", (Region.box(10, 10, 50, 50),))] * 2


def test_a_busy_or_broken_server_is_asked_again(tmp_path: Path, server: Any) -> None:
    soon = {"retry-after-ms": "1"}

    def answer(picture: str, count: int) -> Answer:
        return {1: (429, soon, {}), 2: (500, soon, {})}.get(count, server.completion(GOOD))

    server.answer = answer
    run = Run(tmp_path, server, 1)
    assert run() == 0
    assert run.ids("dialogues") == ["1"]
    assert server.asked["1"] == 3


def test_what_fails_is_listed_and_asked_again_by_the_next_run(tmp_path: Path, server: Any) -> None:
    far = [{"question": "What is <box>0.6 0.6 0.9 0.9</box>?", "answer": "A cat."}]
    bad: dict[str, Answer] = {
        "1": server.completion("I would rather not."),
        "2": server.completion(far),
        "3": server.completion([*far, *GOOD]),
        "4": (400, {}, {"error": {"message": f"no such thing, {server.key}"}}),
        "5": server.completion('[{"question": "What', "length"),
        "6": (200, {}, {"choices": []}),
        "7": (200, {}, b"<html>"),
    }
    server.answer = lambda picture, count: bad.get(picture, server.completion(GOOD))
    run = Run(tmp_path, server, 8)
    assert run("--retries", "0") == 1
    assert run.ids("dialogues") == ["3", "8"]
    reasons = {line["id"]: line["reason"] for line in run.lines("failed")}
    assert reasons["1"] == "the reply is not JSON"
    assert reasons["2"] == "no turn can be taken"
    assert reasons["4"] == "the endpoint answers with status 400"
    assert "max_tokens" in reasons["5"]
    assert reasons["6"] == reasons["7"] == "the reply is not a chat completion"
    dropped = [(line["id"], line["where"], line["reason"]) for line in run.lines("dropped")]
    assert ("3", "turn 0", "nothing is annotated at the region") in dropped

    server.answer = lambda picture, count: bad["1"] if picture == "1" else server.completion(GOOD)
    assert run() == 1
    assert run.ids("failed") == ["1"]
    assert run.ids("dialogues") == [str(k) for k in range(2, 9)]
    assert server.asked == Counter({str(k): 1 if k in (3, 8) else 2 for k in range(1, 9)})
    assert run.ids("dropped") == ["1", "3"]
    assert (run.report()["done"], run.report()["pictures"]) == (7, 8)


def test_no_more_requests_at_a_time_than_asked_for(tmp_path: Path, server: Any) -> None:
    together = threading.Barrier(3)

    def answer(picture: str, count: int) -> Answer:
        together.wait(20.0)
        return server.completion(GOOD)

    server.answer = answer
    assert Run(tmp_path, server, 12)("--concurrency", "3") == 0
    assert server.most == 3


def test_a_killed_run_goes_on_where_it_stopped(
    tmp_path: Path, server: Any, spawn: Callable[..., Any]
) -> None:
    reached, never = threading.Event(), threading.Event()

    def answer(picture: str, count: int) -> Answer:
        if picture == "3":
            reached.set()
            never.wait(30.0)
        return server.completion(GOOD)

    server.answer = answer
    run = Run(tmp_path, server, 4)
    arguments = (*run.arguments, "--concurrency", "1")
    process = spawn(sys.executable, "-m", "chatspot_train.data.region_chat", *arguments)
    assert reached.wait(60.0)
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    never.set()
    file = run.out / "dialogues.jsonl"
    assert run.ids("dialogues") == ["1", "2"]
    # The second line only half written, in the middle of a letter.
    file.write_bytes(file.read_bytes()[:-9] + "é".encode()[:1])
    server.answer = lambda picture, count: server.completion(GOOD)
    assert run() == 0
    assert run.ids("dialogues") == ["1", "2", "3", "4"]
    assert [server.asked[k] for k in "1234"] == [1, 2, 2, 1]
    assert run() == 0
    assert sum(server.asked.values()) == 6


def test_the_key_is_in_no_file_and_no_word(
    tmp_path: Path, server: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    echo = [
        *GOOD,
        {"question": "And <box>0.1 0.1 0.5 0.5</box>?", "answer": f"It says {server.key}."},
    ]
    refused = {"error": {"message": f"bad key {server.key}"}}
    replies = {
        "1": server.completion(echo), "2": (422, {}, refused), "3": server.completion(server.key)
    }  # fmt: skip
    server.answer = lambda picture, count: replies[picture]
    run = Run(tmp_path, server, 3)
    assert run("--retries", "0") == 1
    server.answer = lambda picture, count: (
        401,
        {},
        {"error": {"message": f"wrong key: {server.key}"}},
    )
    assert run() == 2
    said = capfd.readouterr()
    assert "wrong key: ***" in said.err
    assert "OPENAI_API_KEY" in said.err
    for text in (said.out, said.err, *(file.read_text() for file in run.out.iterdir())):
        assert server.key not in text
    assert "***" in (run.out / "dialogues.jsonl").read_text()


def test_a_local_server_needs_no_key(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert Run(tmp_path, server, 1)() == 0
    assert server.keys == {"Bearer no-key"}


def test_a_run_without_hope_stops(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server.answer = lambda picture, count: (404, {}, {"error": {"message": "no such model"}})
    run = Run(tmp_path, server, 50)
    assert run("--concurrency", "2") == 2
    assert sum(server.asked.values()) <= 4
    assert "model writer" in capsys.readouterr().err

    server.answer = lambda picture, count: server.completion(GOOD)
    with type(server)() as gone:
        nowhere = gone.url
    assert run("--endpoint", nowhere, "--retries", "0") == 2
    assert "10 requests in a row got no connection" in capsys.readouterr().err
    assert run() == 0

    for wrong in (
        "localhost:8000",
        "http://me:hidden@localhost/v1",
        "http://localhost/v1?k=hidden",
    ):
        assert run("--endpoint", wrong) == 2
        said = capsys.readouterr().err
        assert "endpoint" in said
        assert "hidden" not in said
    monkeypatch.setenv("OPENAI_API_KEY", "two hidden words")
    assert run() == 2
    assert "hidden" not in capsys.readouterr().err
