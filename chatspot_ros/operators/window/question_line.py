"""The line for a question: history by the arrow keys, quick questions, ask and cancel."""

from __future__ import annotations

from collections.abc import Callable

from chatspot_ros.operators.questions import QUICK_QUESTIONS, History, read_quick_questions
from chatspot_ros.operators.window.flow_layout import FlowLayout
from chatspot_ros.operators.window.qt import Qt, QtCore, QtGui, QtWidgets, Signal, bind_key

_MOST_SHORTCUTS = 9
_SHOWN_CHARS = 42


class QuestionLine(QtWidgets.QWidget):
    """A question, typed or chosen; `asked` has its text."""

    asked = Signal(str)
    cancelled = Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        """Start with the usual quick questions and no history."""
        super().__init__(parent)
        self.history = History()
        self.quick_questions: tuple[str, ...] = ()
        self.buttons: list[QtWidgets.QPushButton] = []
        self.line = QtWidgets.QLineEdit()
        self.line.setPlaceholderText("Ask about the regions, or the whole picture")
        self.line.setAccessibleName("question")
        self.line.setClearButtonEnabled(True)
        self.line.returnPressed.connect(self._ask)
        self.line.installEventFilter(self)
        self.ask_button = QtWidgets.QPushButton("&Ask")
        self.ask_button.clicked.connect(self._ask)
        self.at_once = QtWidgets.QCheckBox("At once")
        self.at_once.setToolTip("Ask the question as soon as a region is drawn")
        self.at_once.setAccessibleName("ask as soon as a region is drawn")
        self.cancel_button = QtWidgets.QPushButton("&Cancel")
        self.cancel_button.clicked.connect(self.cancelled)
        self.edit_button = QtWidgets.QToolButton()
        self.edit_button.setText("…")
        self.edit_button.setToolTip("Change the quick questions")
        self.edit_button.setAccessibleName("change the quick questions")
        self.edit_button.clicked.connect(self._edit)
        self._flow = FlowLayout()
        self._flow.addWidget(self.edit_button)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.line, 1)
        for widget in (self.at_once, self.ask_button, self.cancel_button):
            row.addWidget(widget)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._flow)
        column.addLayout(row)
        for number in range(1, _MOST_SHORTCUTS + 1):
            bind_key(self, f"Alt+{number}", lambda number=number: self._ask_quick(number - 1))
        self.show_quick_questions(QUICK_QUESTIONS)
        self.show_asking(False)

    def show_quick_questions(self, questions: tuple[str, ...]) -> None:
        """Show these as buttons; Alt with their number asks them."""
        for button in self.buttons:
            self._flow.removeWidget(button)
            button.deleteLater()
        self.quick_questions, self.buttons = questions, []
        self._flow.removeWidget(self.edit_button)
        for number, question in enumerate(questions, 1):
            shown = (
                question if len(question) <= _SHOWN_CHARS else question[: _SHOWN_CHARS - 1] + "…"
            )
            button = QtWidgets.QPushButton(shown.replace("&", "&&"))
            key = f" (Alt+{number})" if number <= _MOST_SHORTCUTS else ""
            button.setToolTip(f"Ask: {question}{key}")
            button.clicked.connect(lambda _=False, index=number - 1: self._ask_quick(index))
            self.buttons.append(button)
            self._flow.addWidget(button)
        self._flow.addWidget(self.edit_button)

    def show_asking(self, is_asking: bool) -> None:
        """Let a person ask, or cancel."""
        for button in (self.ask_button, *self.buttons):
            button.setEnabled(not is_asking)
        self.cancel_button.setEnabled(is_asking)

    def region_drawn(self) -> None:
        """Ask the typed question, else the first quick one, if a region alone shall do."""
        if self.at_once.isChecked():
            self.line.setText(self.line.text().strip() or self.quick_questions[0])
            self._ask()

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """Walk through the history by Up and Down."""
        if watched is self.line and event.type() == QtCore.QEvent.Type.KeyPress:
            assert isinstance(event, QtGui.QKeyEvent)
            walks: dict[int, Callable[[str], str]] = {
                Qt.Key.Key_Up: self.history.older,
                Qt.Key.Key_Down: self.history.newer,
            }
            walk = walks.get(event.key())
            if walk is not None:
                self.line.setText(walk(self.line.text()))
                return True
        return super().eventFilter(watched, event)

    def _ask(self) -> None:
        text = self.line.text().strip()
        if text and self.ask_button.isEnabled():
            self.history.add(text)
            self.asked.emit(text)
            self.line.selectAll()

    def _ask_quick(self, index: int) -> None:
        if index < len(self.quick_questions) and self.ask_button.isEnabled():
            self.line.setText(self.quick_questions[index])
            self._ask()

    def _edit(self) -> None:
        dialog = QtWidgets.QInputDialog(self)
        dialog.setWindowTitle("Quick questions")
        dialog.setLabelText("One question a line; without any the usual ones come back.")
        dialog.setOption(QtWidgets.QInputDialog.InputDialogOption.UsePlainTextEditForTextInput)
        dialog.setTextValue("\n".join(self.quick_questions))
        dialog.textValueSelected.connect(
            lambda text: self.show_quick_questions(read_quick_questions(text))
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
