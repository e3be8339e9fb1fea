"""A light and a dark theme, for a window that shall not look as its desktop does."""

from __future__ import annotations

from chatspot_ros.operators.window.qt import QtGui, QtWidgets

THEMES = ("system", "light", "dark")
_ROLE = QtGui.QPalette.ColorRole
_LIGHT = {
    _ROLE.Window: "#f3f3f1", _ROLE.WindowText: "#1b1b1f", _ROLE.Base: "#ffffff",
    _ROLE.AlternateBase: "#fbfbfa", _ROLE.Text: "#1b1b1f", _ROLE.Button: "#e7e7e4",
    _ROLE.ButtonText: "#1b1b1f", _ROLE.BrightText: "#ffffff", _ROLE.Highlight: "#1f5fbf",
    _ROLE.HighlightedText: "#ffffff", _ROLE.ToolTipBase: "#ffffff", _ROLE.ToolTipText: "#1b1b1f",
    _ROLE.PlaceholderText: "#62626a", _ROLE.Dark: "#6d6d70", _ROLE.Mid: "#b5b5b2",
    _ROLE.Light: "#ffffff", _ROLE.Link: "#1f5fbf",
}  # fmt: skip
_DARK = {
    _ROLE.Window: "#2e3035", _ROLE.WindowText: "#ececf0", _ROLE.Base: "#17181b",
    _ROLE.AlternateBase: "#3a3c43", _ROLE.Text: "#ececf0", _ROLE.Button: "#4a4d55",
    _ROLE.ButtonText: "#ececf0", _ROLE.BrightText: "#ffffff", _ROLE.Highlight: "#5b9bff",
    _ROLE.HighlightedText: "#101114", _ROLE.ToolTipBase: "#37383e", _ROLE.ToolTipText: "#ececf0",
    _ROLE.PlaceholderText: "#a2a2ab", _ROLE.Dark: "#121316", _ROLE.Mid: "#4a4b52",
    _ROLE.Light: "#55565d", _ROLE.Link: "#8ab8ff",
}  # fmt: skip
_FAINT = {"light": "#9a9aa0", "dark": "#77777f"}


def apply_theme(app: QtWidgets.QApplication, name: str) -> None:
    """Give all windows the theme `light` or `dark`; `system` leaves the desktop's."""
    if name == "system":
        return
    app.setStyle("Fusion")
    palette = QtGui.QPalette()
    for role, colour in (_DARK if name == "dark" else _LIGHT).items():
        palette.setColor(role, QtGui.QColor(colour))
    for role in (_ROLE.Text, _ROLE.ButtonText, _ROLE.WindowText):
        palette.setColor(QtGui.QPalette.ColorGroup.Disabled, role, QtGui.QColor(_FAINT[name]))
    app.setPalette(palette)
