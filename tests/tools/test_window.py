"""`chatspot window` and `scripts/demo --window` where no window can open, and the program's end."""

from __future__ import annotations

from typing import Any

import pytest
from fake_operator import FakeClient

from chatspot_ros.operators.window import program
from chatspot_ros.tools import window as command
from chatspot_ros.util.command_line import FAILED
from chatspot_sim import demo


@pytest.fixture
def no_screen(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_without_a_screen_it_says_so_and_what_to_do(
    no_screen: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([]) == FAILED
    said = capsys.readouterr().err
    assert "there is no screen" in said
    assert "ssh -X" in said


def test_missing_libraries_are_named_with_their_packages(
    no_screen: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_screen.setenv("DISPLAY", ":99")
    no_screen.setattr(program, "_can_load", lambda library: "cursor" not in library)
    assert command.main([]) == FAILED
    assert "sudo apt-get install libxcb-cursor0" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--image", "a.jpg", "--ask", "What?"], ["--json", "a.json"]])
def test_the_demos_window_takes_no_photo(more: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        demo.main(["--window", *more])
    assert ended.value.code == 2


def test_the_program_keeps_its_settings_and_ends_with_its_check(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from chatspot_ros.operators.window.qt import QtCore, QtWidgets

    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    kept = str(tmp_path / "settings.ini")
    settings = QtCore.QSettings
    monkeypatch.setattr(QtCore, "QSettings", lambda *_: settings(kept, settings.Format.IniFormat))

    def close_after(question: str) -> None:
        (window,) = (one for one in QtWidgets.QApplication.topLevelWidgets() if one.isVisible())
        window.question.history.add(question)
        window.close()

    client = FakeClient()
    QtCore.QTimer.singleShot(50, lambda: close_after("One?"))
    assert program.run_window(client, "/node", camera="wrist") == 0
    assert client.is_closed
    assert client.watched == ["", "wrist"]

    def lost() -> None:
        raise RuntimeError("the node ended")

    again = FakeClient()
    with pytest.raises(RuntimeError, match="the node ended"):
        program.run_window(again, "/node", check=lost)
    assert again.watched == ["", "wrist"], "the camera is the same as last time"
    assert again.is_closed
