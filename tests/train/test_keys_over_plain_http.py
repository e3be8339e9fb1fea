"""A key is not sent in clear text to another machine, unless that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatspot_train import evaluate


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., None]:
    """Evaluate an endpoint; nothing is asked where no data is."""

    def go(url: str, *more: str) -> None:
        spec = next(iter(sorted(Path("config/models").glob("*.yaml"))))
        evaluate.main(
            [
                "--suite",
                "pope",
                "--data",
                str(tmp_path),
                "--out",
                str(tmp_path / "out"),
                "--model",
                url,
                "--served-model",
                "m",
                "--spec",
                str(spec),
                *more,
            ]
        )

    return go


OTHERS = ("http://example.org/v1", "http://192.168.1.9:8000/v1", "http://10.0.0.2/v1",
          "http://127.0.0.1.example.org/v1", "http://localhost.example.org/v1",
          "http://[2001:db8::1]:8000/v1", "http://0.0.0.0:8000/v1", "http://robot.local/v1",
          "HTTP://example.org/v1")  # fmt: skip
HERE = ("http://127.0.0.1:9/v1", "http://localhost:9/v1", "http://[::1]:9/v1", "http://127.9.9.9:9/v1",
        "https://example.org/v1")  # fmt: skip


@pytest.mark.parametrize("url", OTHERS)
def test_a_key_over_plain_http_is_refused(
    url: str, ask: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(SystemExit, match="https") as refused:
        ask(url)
    assert "sk-secret" not in str(refused.value)
    assert "--allow-http" in str(refused.value)


@pytest.mark.parametrize("url", HERE)
def test_loopback_and_https_are_allowed(
    url: str, ask: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(SystemExit, match="coco_pope"):  # it comes as far as the data
        ask(url)


@pytest.mark.parametrize("url", OTHERS[:3])
def test_without_a_key_nothing_is_given_away(
    url: str, ask: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SystemExit, match="coco_pope"):
        ask(url)


def test_it_can_be_allowed(ask: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(SystemExit, match="coco_pope"):
        ask("http://192.168.1.9:8000/v1", "--allow-http")
