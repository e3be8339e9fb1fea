"""A key is not sent in clear text to another machine, unless that is said."""

from __future__ import annotations

import pytest

from chatspot_train.openai_client import ChatClient, EndpointError

OTHERS = ("http://example.org/v1", "http://192.168.1.9:8000/v1", "http://10.0.0.2/v1",
          "http://127.0.0.1.example.org/v1", "http://localhost.example.org/v1",
          "http://[2001:db8::1]:8000/v1", "http://0.0.0.0:8000/v1", "http://robot.local/v1",
          "HTTP://example.org/v1")  # fmt: skip
HERE = ("http://127.0.0.1:9/v1", "http://localhost:9/v1", "http://[::1]:9/v1", "http://127.9.9.9:9/v1",
        "https://example.org/v1")  # fmt: skip


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.delenv("CHATSPOT_ALLOW_HTTP", raising=False)


@pytest.mark.parametrize("url", OTHERS)
def test_a_key_over_plain_http_is_refused(url: str) -> None:
    with pytest.raises(EndpointError, match="use https") as refused:
        ChatClient(url, "m")
    assert "sk-secret" not in str(refused.value)
    assert "CHATSPOT_ALLOW_HTTP=1" in str(refused.value)


@pytest.mark.parametrize("url", HERE)
def test_loopback_and_https_are_allowed(url: str) -> None:
    assert ChatClient(url, "m").endpoint == url


@pytest.mark.parametrize("url", OTHERS)
def test_without_a_key_nothing_is_given_away(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ChatClient(url, "m").endpoint == url


@pytest.mark.parametrize("url", OTHERS)
def test_it_can_be_allowed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATSPOT_ALLOW_HTTP", "1")
    assert ChatClient(url, "m").endpoint == url
