"""A plugin of rqt: click, draw and ask on a robot's live picture."""

from __future__ import annotations

from typing import Any

from python_qt_binding.QtWidgets import QInputDialog, QVBoxLayout, QWidget
from rqt_gui_py.plugin import Plugin

from chatspot_ros.errors import RequestError
from chatspot_ros.operators.window.kept_settings import restore, settings_of
from chatspot_ros.operators.window.operator_widget import OperatorWidget
from chatspot_ros.ros.operator_client import DEFAULT_NODE, RosOperatorClient


class RegionQuestions(Plugin):
    """The window inside rqt; rqt keeps its settings, the node's name among them."""

    def __init__(self, context: Any) -> None:
        """`context`: rqt's PluginContext."""
        super().__init__(context)
        self.setObjectName("RegionQuestions")
        self._frame = QWidget()
        self._frame.setObjectName("RegionQuestionsUi")
        number = context.serial_number()
        self._frame.setWindowTitle("Region questions" + (f" ({number})" if number > 1 else ""))
        column = QVBoxLayout(self._frame)
        column.setContentsMargins(0, 0, 0, 0)
        self.window: OperatorWidget | None = None
        self.connect_to(DEFAULT_NODE)
        context.add_widget(self._frame)

    def connect_to(self, node: str) -> None:
        """Speak to the node of this full name from now on.

        Raises:
            RequestError: it is no name of a node.
        """
        client = RosOperatorClient(node)
        kept = self._end()
        self.window = OperatorWidget(client, node)
        restore(self.window, kept)
        self._frame.layout().addWidget(self.window)

    def _end(self) -> dict[str, Any]:
        """End the window, if there is one; return its settings."""
        if self.window is None:
            return {}
        window, self.window = self.window, None
        kept = settings_of(window)
        window.close_client()
        self._frame.layout().removeWidget(window)
        window.deleteLater()
        return kept

    # --- called by rqt ---

    def shutdown_plugin(self) -> None:
        """End the client and its thread."""
        self._end()

    def save_settings(self, plugin_settings: Any, instance_settings: Any) -> None:
        """Hand rqt what it shall keep."""
        if self.window is not None:
            for key, value in settings_of(self.window).items():
                instance_settings.set_value(key, value)
            instance_settings.set_value("node", self.window.node)

    def restore_settings(self, plugin_settings: Any, instance_settings: Any) -> None:
        """Take what rqt has kept."""
        node = instance_settings.value("node", "")
        if isinstance(node, str) and node and self.window and node != self.window.node:
            self._try_to_connect(node)
        if self.window is not None:
            keys = [key for key in settings_of(self.window) if instance_settings.contains(key)]
            restore(self.window, {key: instance_settings.value(key) for key in keys})

    def trigger_configuration(self) -> None:
        """Ask for the node's name (the gear of the plugin's frame)."""
        now = self.window.node if self.window is not None else DEFAULT_NODE
        node, is_given = QInputDialog.getText(
            self._frame, "Region questions", "Full name of the region query node:", text=now
        )
        if is_given and node.strip():
            self._try_to_connect(node.strip())

    def _try_to_connect(self, node: str) -> None:
        try:
            self.connect_to(node)
        except RequestError as error:
            if self.window is not None:
                self.window.status.setText(str(error))
