"""Who reaches the server over HTTP: programs of this computer that know the token, nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from fake_operator import FakeClient
from starlette.testclient import TestClient

from chatspot_ros.errors import RequestError
from chatspot_ros.operators.mcp.http import PATH, check_address, make_app
from chatspot_ros.operators.mcp.server import make_server

TOKEN = "a-long-and-random-word"
HERE = {"host": "127.0.0.1:8765", "authorization": f"Bearer {TOKEN}"}
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def web() -> Iterator[TestClient]:
    server = make_server(lambda: nullcontext(FakeClient()))
    with TestClient(make_app(server, "127.0.0.1", TOKEN)) as client:
        yield client


def post(web: TestClient, **headers: str) -> Any:
    kept = {name.replace("_", "-"): value for name, value in headers.items() if value}
    return web.post(PATH, json=HELLO, headers={**ACCEPT, **kept})


@pytest.mark.parametrize(
    "origin", ["", "http://127.0.0.1:6274", "http://localhost:6274", "http://[::1]:1"]
)
@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:9000", "[::1]:8765", "localhost"])
def test_a_program_of_this_computer_with_the_token_is_served(
    web: TestClient, host: str, origin: str
) -> None:
    response = post(web, **{**HERE, "host": host}, origin=origin)
    assert response.status_code == 200
    assert "serverInfo" in response.text


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
     "Bearer ünïcode"],
)  # fmt: skip
def test_without_the_token_nothing_is_told(
    web: TestClient, monkeypatch: Any, authorization: str
) -> None:
    monkeypatch.setattr("chatspot_ros.operators.mcp.http._WRONG_TOKEN_WAIT_S", 0.0)
    headers = {**ACCEPT, "host": HERE["host"]}
    if authorization:
        headers["authorization"] = authorization.encode("latin-1")
    for path in (PATH, "/", "/elsewhere"):
        response = web.post(path, json=HELLO, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert "CHATSPOT_MCP_TOKEN" in response.text
        assert TOKEN not in response.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example:1"])
def test_a_name_that_was_rebound_to_this_computer_is_refused(web: TestClient, host: str) -> None:
    assert post(web, **{**HERE, "host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://evil.example:8765", "null", "http://localhost.evil:1"],
)
def test_another_site_is_refused(web: TestClient, origin: str) -> None:
    assert post(web, **HERE, origin=origin).status_code == 403


def test_a_request_that_is_too_long_is_refused(web: TestClient) -> None:
    headers = {**ACCEPT, **HERE, "content-type": "application/json"}
    assert web.post(PATH, content=b" " * 300_000, headers=headers).status_code == 413


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "robot.local", ""])
def test_no_other_computer_is_let_in(host: str) -> None:
    with pytest.raises(RequestError, match="tunnel"):
        check_address(host, TOKEN)


def test_a_token_is_needed_and_must_be_long() -> None:
    with pytest.raises(RequestError, match="CHATSPOT_MCP_TOKEN"):
        check_address("127.0.0.1", "")
    with pytest.raises(RequestError, match="fewer than 16") as error:
        check_address("127.0.0.1", "hunter2")
    assert "hunter2" not in str(error.value)
    check_address("::1", TOKEN)
