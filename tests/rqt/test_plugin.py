"""The plugin of rqt: in rqt itself where there is one, and with stand-ins for rqt elsewhere."""

from __future__ import annotations

import importlib
import sys
import types
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ament_index_python.packages import get_package_share_directory

from chatspot_ros.operators.window import qt

CLASS = "rqt_chatspot.region_questions.RegionQuestions"
KEY = qt.Qt.Key


class Settings(dict[str, Any]):
    """What a plugin sees of qt_gui's Settings."""

    def set_value(self, key: str, value: Any) -> None:
        self[key] = value

    def value(self, key: str, default: Any = None) -> Any:
        return self.get(key, default)

    def contains(self, key: str) -> bool:
        return key in self


class Context:
    """What a plugin sees of qt_gui's PluginContext."""

    def __init__(self) -> None:
        self.widgets: list[Any] = []

    def serial_number(self) -> int:
        return 2

    def add_widget(self, widget: Any) -> None:
        self.widgets.append(widget)


@pytest.fixture
def plugin_class(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The plugin's class; where there is no rqt, with stand-ins for what it imports."""
    if importlib.util.find_spec("rqt_gui_py") is None:
        binding = types.ModuleType("python_qt_binding")
        gui, module = types.ModuleType("rqt_gui_py"), types.ModuleType("rqt_gui_py.plugin")

        class Plugin(qt.QtCore.QObject):
            def __init__(self, context: Any) -> None:
                super().__init__()

        module.Plugin = Plugin  # type: ignore[attr-defined]
        for name, stand_in in (
            ("python_qt_binding", binding), ("python_qt_binding.QtWidgets", qt.QtWidgets),
            ("rqt_gui_py", gui), ("rqt_gui_py.plugin", module),
        ):  # fmt: skip
            monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.delitem(sys.modules, "rqt_chatspot.region_questions", raising=False)
    yield importlib.import_module("rqt_chatspot.region_questions").RegionQuestions
    sys.modules.pop("rqt_chatspot.region_questions", None)


def test_rqt_finds_the_plugin_and_its_class_by_package_xml() -> None:
    share = Path(get_package_share_directory("chatspot_ros"))
    (export,) = ElementTree.parse(share / "package.xml").getroot().iter("rqt_gui")
    manifest = Path(export.attrib["plugin"].replace("${prefix}", str(share)))
    (found,) = ElementTree.parse(manifest).getroot().iter("class")
    assert found.attrib["type"] == CLASS
    assert found.attrib["base_class_type"] == "rqt_gui_py::Plugin"
    gui = found.find("qtgui")
    assert gui is not None
    assert gui.findtext("group/label") == "Visualization"
    icon = gui.find("icon")
    assert icon is not None
    assert icon.attrib["type"] == "file"
    assert not qt.QtGui.QIcon(str(manifest.parent / str(icon.text))).isNull()
    assert (manifest.parent / str(icon.text)).is_file()


def test_the_plugin_keeps_its_settings_and_its_node(qtbot: Any, plugin_class: Any) -> None:
    from chatspot_ros.operators.window.kept_settings import settings_of

    context = Context()
    plugin = plugin_class(context)
    (frame,) = context.widgets
    qtbot.addWidget(frame)
    assert frame.windowTitle() == "Region questions (2)"
    frame.show()
    window = plugin.window
    qtbot.keyClicks(window.question.line, "Is it on?")
    qtbot.keyClick(window.question.line, KEY.Key_Return)
    window.tools.detections.click()
    plugin.connect_to("/robot1/region_query_node")
    assert plugin.window is not window
    kept = Settings()
    plugin.save_settings(Settings(), kept)
    plugin.shutdown_plugin()
    assert plugin.window is None

    again = plugin_class(Context())
    again.restore_settings(Settings(), kept)
    assert again.window.node == "/robot1/region_query_node"
    assert settings_of(again.window)["history"] == ["Is it on?"]
    assert settings_of(again.window)["detections"] == 0
    again.restore_settings(Settings(), Settings(node="no name!"))
    assert "no name" in again.window.status.text()
    assert again.window.node == "/robot1/region_query_node", "the old one stays"
    again.shutdown_plugin()


@pytest.mark.ros_distro
def test_rqt_itself_discovers_and_loads_the_plugin(spawn: Any, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    program = Path(__file__).with_name("open_in_rqt.py")
    rqt = spawn(sys.executable, str(program), env=home)
    rqt.wait_for("the window is there: True", timeout_s=120.0)
    assert rqt.wait(60.0) == 0
