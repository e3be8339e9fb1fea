"""The window by itself: a Qt application with one OperatorWidget, its settings and its end."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

from chatspot_ros.errors import RequestError
from chatspot_ros.operators.client import OperatorClient

# What Qt's X11 plugin loads, and the Debian package of each. A missing one ends the program.
_X11_LIBRARIES = {
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
_SIZE = (1100, 720)


def check_screen() -> None:
    """Raise RequestError where no window can open: Qt itself would end the program."""
    if os.environ.get("QT_QPA_PLATFORM") or not sys.platform.startswith("linux"):
        return
    if os.environ.get("WAYLAND_DISPLAY"):
        return
    if not os.environ.get("DISPLAY"):
        raise RequestError(
            "there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set", value="",
            remedy="start it in a desktop, or with ssh -X, or use the page in a browser",
        )  # fmt: skip
    missing = [package for library, package in _X11_LIBRARIES.items() if not _can_load(library)]
    if missing:
        raise RequestError(
            "Qt needs libraries to open a window", value=", ".join(missing),
            remedy=f"sudo apt-get install {' '.join(missing)}",
        )  # fmt: skip


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def run_window(
    client: OperatorClient,
    node: str,
    *,
    theme: str = "system",
    camera: str = "",
    check: Callable[[], None] = lambda: None,
) -> int:
    """Open the window and stay until it is closed; return the exit status.

    `theme`: of theme.THEMES. `check` is called every second and raises if the window has lost its
    sense; its error is raised here, after the window has closed. The client is closed, too.

    Raises:
        RequestError: no window can open here.
    """
    from chatspot_ros.operators.window.kept_settings import restore, settings_of
    from chatspot_ros.operators.window.operator_widget import OperatorWidget
    from chatspot_ros.operators.window.qt import QtCore, QtWidgets
    from chatspot_ros.operators.window.theme import apply_theme

    check_screen()
    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication(sys.argv[:1])
    assert isinstance(app, QtWidgets.QApplication)
    apply_theme(app, theme)
    kept = QtCore.QSettings("chatspot_ros", "window")
    window = OperatorWidget(client, node)
    restore(window, {key: kept.value(key) for key in kept.allKeys()})
    if camera:
        window.watch(camera)
    window.resize(*_SIZE)
    errors: list[Exception] = []

    def look() -> None:
        # Also gives Python a moment, in which it sees signals.
        try:
            check()
        except Exception as error:
            errors.append(error)
            window.close()

    looking = QtCore.QTimer()
    looking.timeout.connect(look)
    looking.start(1000)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: window.close())
    window.show()
    status = app.exec()
    for key, value in settings_of(window).items():
        kept.setValue(key, value)
    kept.sync()
    window.close_client()
    if errors:
        raise errors[0]
    return int(status)
