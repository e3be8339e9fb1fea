"""The row of buttons above the picture."""

from __future__ import annotations

from chatspot_ros.operators.window.flow_layout import FlowLayout
from chatspot_ros.operators.window.qt import Qt, QtWidgets, Signal

# What is shown, and the task of RegionQuery.
TASKS = {
    "any answer": "",
    "describe": "describe",
    "read": "read",
    "state": "state",
    "plan": "plan",
    "locate": "locate",
}


class Toolbar(QtWidgets.QWidget):
    """Camera, freeze, zoom, detections, conversation, copy and save."""

    camera_chosen = Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        """Make the buttons; the window connects them."""
        super().__init__(parent)
        self.row = FlowLayout()
        self.setLayout(self.row)
        self.camera = QtWidgets.QComboBox()
        self.camera.setAccessibleName("camera")
        self.camera.setToolTip("The camera whose picture is shown")
        self.camera.addItem("first camera", "")
        self.camera.activated.connect(self._choose_camera)
        self.row.addWidget(self.camera)
        self.freeze = self._button("Freeze", "Let the picture stand still (Ctrl+F)", checkable=True)
        self.zoom_out = self._button("−", "Zoom out (Ctrl+-, wheel)", name="zoom out")
        self.zoom_in = self._button("+", "Zoom in (Ctrl++, wheel)", name="zoom in")
        self.fit = self._button("Fit", "Show the whole picture (Ctrl+0)")
        self.undo = self._button("Undo", "Drop the last region or corner (Ctrl+Backspace)")
        self.clear = self._button("Clear", "Drop all regions; the picture lives again (Esc)")
        self.detections = QtWidgets.QCheckBox("Detections")
        self.detections.setChecked(True)
        self.detections.setToolTip("Show what a detector found; a click chooses it (Ctrl+D)")
        self.row.addWidget(self.detections)
        self._task = QtWidgets.QComboBox()
        self._task.setAccessibleName("kind of answer")
        self._task.setToolTip("The kind of answer; the node chooses by the question")
        for words, task in TASKS.items():
            self._task.addItem(words, task)
        self.row.addWidget(self._task)
        self.conversation = QtWidgets.QCheckBox("Conversation")
        self.conversation.setToolTip("The model sees the earlier questions about this picture")
        self.row.addWidget(self.conversation)
        self.session = self._button("New session", "Begin anew on the live picture (Ctrl+N)")
        self.copy = self._button("Copy call", "Copy as `ros2 service call` (Ctrl+Shift+C)")
        self.save = self._button("Save", "Save the picture with its answers (Ctrl+S)")

    @property
    def task(self) -> str:
        """The task that a person chose, or nothing."""
        return str(self._task.currentData() or "")

    def show_cameras(self, names: tuple[str, ...], chosen: str) -> None:
        """Offer these cameras, and the chosen one even where it is not known yet."""
        wanted = ["", *names, *([chosen] if chosen and chosen not in names else [])]
        if wanted != [self.camera.itemData(k) for k in range(self.camera.count())]:
            self.camera.clear()
            for name in wanted:
                self.camera.addItem(name or "first camera", name)
        self.camera.setCurrentIndex(wanted.index(chosen))
        self.camera.setVisible(len(wanted) > 2 or bool(chosen))

    def _choose_camera(self, index: int) -> None:
        self.camera_chosen.emit(str(self.camera.itemData(index) or ""))

    def _button(
        self, text: str, tip: str, *, checkable: bool = False, name: str = ""
    ) -> QtWidgets.QToolButton:
        button = QtWidgets.QToolButton()
        button.setText(text)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setToolTip(tip)
        button.setCheckable(checkable)
        button.setAccessibleName(name or text)
        self.row.addWidget(button)
        return button
