"""`chatspot mcp` in a real process, an agent's client, and a real node with a scripted engine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from agent import PROGRAM, call, fails, over_stdio, picture_rgb
from live_camera import LiveCamera
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

NODE = "/region_query_node"
TOKEN = "a-long-and-random-word"
WHO = "chatspot mcp: http://"


@pytest.fixture(scope="module")
def camera(fake: Any) -> Iterator[LiveCamera]:
    made = LiveCamera(fake)
    yield made
    made.end()


async def node_logs(fake: Any, text: str, after: int) -> None:
    await asyncio.to_thread(fake.process.wait_for, text, 60.0, after)


async def look_ask_cancel_and_watch(client: Client, fake: Any, camera: LiveCamera) -> None:
    """What an agent does in a day."""
    camera.show(200, 10, 10)
    cameras = (await call(client, "list_cameras")).structured_content
    assert cameras["cameras"] == ["camera"]
    seen = await call(client, "look")
    shown = seen.structured_content["picture"]
    assert (shown["width_px"], shown["height_px"]) == (64, 48)
    assert abs(picture_rgb(seen).mean(axis=(0, 1)) - (200, 10, 10)).max() < 8

    asked = await call(
        client, "ask_region", question="name by place", regions=[[22, 15, 30, 24]],
        frame=shown["frame"],
    )  # fmt: skip
    (answer,) = asked.structured_content["answers"]
    assert answer["text"] == "A thing at 22."
    assert answer["about"][0]["points_px"] == [[22, 15], [30, 24]]
    assert answer["grounded"][0]["label"] == "thing"
    assert answer["steps"] == ["open fridge"]
    assert asked.structured_content["picture"]["frame"] == shown["frame"]
    part = asked.structured_content["picture"]["shown_xyxy_px"]
    assert part[2] - part[0] < 64, "the part around the box and what the answer names"
    outside = {"question": "name by place", "regions": [[900, 5, 930, 40]]}
    assert "BAD_REGION" in await fails(client, "ask_region", **outside)

    before = len(fake.process.lines)
    asking = asyncio.create_task(client.call_tool("ask_region", {"question": "take 90"}))
    await node_logs(fake, "'take 90'", before)
    asking.cancel()
    await node_logs(fake, "CANCELLED after", before)
    again = await call(client, "ask_region", question="say it works again")
    assert again.structured_content["answers"][0]["text"] == "it works again"

    async def on_progress(_: float, __: float | None, message: str | None) -> None:
        if message == "look 1: door = closed":
            camera.show(10, 200, 10)

    watched = await client.call_tool(
        "watch", {"question": "state by colour", "region": [2, 2, 60, 40], "task": "",
                  "every_s": 0.5, "timeout_s": 60}, progress_callback=on_progress,
    )  # fmt: skip
    assert not watched.is_error, watched.content
    told = watched.structured_content
    assert told["changed"]
    assert (told["before"]["state"], told["now"]["state"]) == (
        {"door": "closed"}, {"door": "open"},
    )  # fmt: skip


def test_an_agent_that_starts_the_command(fake: Any, camera: LiveCamera) -> None:
    over_stdio(NODE, lambda client: look_ask_cancel_and_watch(client, fake, camera))


def test_an_agent_over_http(fake: Any, camera: LiveCamera, spawn: Any) -> None:
    environment = {"CHATSPOT_MCP_TOKEN": TOKEN}
    server = spawn(*PROGRAM, "--http", "--port", "0", ready=WHO, env=environment)
    url = next(line for line in server.lines if WHO in line).split()[2]
    for headers, status in (
        ({}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Bearer {TOKEN}", "origin": "http://evil.example"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "host": "evil.example"}, 421),
    ):
        assert httpx2.post(url, json={}, headers=headers).status_code == status

    async def play() -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=120) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            await look_ask_cancel_and_watch(client, fake, camera)

    asyncio.run(play())
    server.send(signal.SIGTERM)
    server.wait()
    assert "Traceback" not in server.output


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--http"], "", "CHATSPOT_MCP_TOKEN"),
        (["--http"], "hunter2", "fewer than 16"),
        (["--http", "--host", "0.0.0.0"], TOKEN, "tunnel"),
        (["--token-file", "x"], "", "--http"),
        (["--node", "no name"], "", "no name of a node"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(
    arguments: list[str], environment: str, words: str
) -> None:
    ended = subprocess.run(
        [*PROGRAM, *arguments],
        env={**os.environ, "CHATSPOT_MCP_TOKEN": environment},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_node_that_is_missing_or_dies_is_said_to_be(start_fake: Any) -> None:
    async def missing(client: Client) -> None:
        assert "there is no /nobody" in await fails(client, "list_cameras")

    over_stdio("/nobody", missing)
    world = start_fake()
    world.wait_for_node()
    camera = LiveCamera(world)

    async def dies(client: Client) -> None:
        asking = asyncio.create_task(fails(client, "ask_region", question="take 100"))
        await asyncio.to_thread(world.process.wait_for, "'take 100'")
        world.process.send(signal.SIGKILL)
        assert "UNREACHABLE" in await asking

    try:
        over_stdio(f"{world.namespace}{NODE}", dies)
    finally:
        camera.end()


def line(method: str, number: int | None = None, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(message if number is None else {**message, "id": number}).encode() + b"\n"


HELLO = line(
    "initialize", 1, protocolVersion="2025-06-18", capabilities={},
    clientInfo={"name": "test", "version": "1"},
) + line("notifications/initialized")  # fmt: skip


@pytest.mark.parametrize("end", ["eof", "signal"])
def test_nothing_but_the_protocol_is_on_the_standard_output_and_its_end_frees_the_node(
    fake: Any, camera: LiveCamera, end: str
) -> None:
    before = len(fake.process.lines)
    with subprocess.Popen(
        # As chatty as it can be.
        [sys.executable, "-c", "import sys; print('begins', file=sys.stderr)\n"
         "from chatspot_ros.tools.mcp import main; sys.exit(main())"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tempfile.gettempdir(),
        env={**os.environ, "RCUTILS_LOGGING_USE_STDOUT": "1", "RCUTILS_LOGGING_MIN_SEVERITY": "0"},
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(HELLO)
        server.stdin.write(line("tools/call", 2, name="list_cameras", arguments={}))
        server.stdin.flush()
        replies = [json.loads(server.stdout.readline()) for _ in range(2)]
        assert [one["id"] for one in replies] == [1, 2]
        assert replies[1]["result"]["structuredContent"]["cameras"] == ["camera"]
        ask = {"question": "take 90"}
        server.stdin.write(line("tools/call", 3, name="ask_region", arguments=ask))
        server.stdin.flush()
        fake.process.wait_for("'take 90'", after=before)
        if end == "signal":
            server.send_signal(signal.SIGTERM)
        else:
            server.stdin.close()
        rest = server.stdout.read()
        status = server.wait(60)
    fake.process.wait_for("CANCELLED after", after=before)
    assert status == (0 if end == "eof" else 128 + signal.SIGTERM)
    for one in rest.splitlines():
        assert json.loads(one)["jsonrpc"] == "2.0"
