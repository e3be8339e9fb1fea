"""The whole window: picture, question and answers, on any OperatorClient."""

from __future__ import annotations

import dataclasses
import uuid
from itertools import pairwise
from pathlib import Path

from PIL import Image

from chatspot_ros.operators.client import (
    NOT_HELD,
    UNREACHABLE,
    Ask,
    AskedQuestion,
    Frame,
    OperatorClient,
    Reply,
)
from chatspot_ros.operators.drawing import Drawing
from chatspot_ros.operators.exchange import Exchange, with_answers
from chatspot_ros.operators.service_call import service_call
from chatspot_ros.operators.window.answers_panel import AnswersPanel
from chatspot_ros.operators.window.bridge import Bridge
from chatspot_ros.operators.window.picture_widget import PictureWidget
from chatspot_ros.operators.window.qt import Qt, QtCore, QtGui, QtWidgets, bind_key, status_label
from chatspot_ros.operators.window.question_line import QuestionLine
from chatspot_ros.operators.window.toolbar import Toolbar

# How often it looks whether the node is well, and which cameras it has.
_LOOK_MS = 1000
_NARROW = 720
_ASKING = "asking …"
# Some themes show a button that is down too faintly.
_STYLE = "QToolButton:checked { background: palette(highlight); color: palette(highlighted-text); }"


class OperatorWidget(QtWidgets.QWidget):
    """Draw on a node's picture, ask and see the answers. It never waits for the node."""

    def __init__(self, client: OperatorClient, node: str = "/region_query_node") -> None:
        """Speak through `client`, which `close_client` closes; `node` is its node's full name."""
        super().__init__()
        self.node = node
        self.bridge = Bridge(client)
        self.drawing = Drawing()
        self.frame: Frame | None = None
        self._newest: Frame | None = None
        self.exchange: Exchange | None = None
        self._asked: AskedQuestion | None = None
        self._session = ""
        self._stands_by_itself = False
        self.wanted_camera = ""
        self.picture = PictureWidget(self.drawing)
        self.panel = AnswersPanel()
        self.question = QuestionLine()
        self.tools = Toolbar()
        self.status = status_label("status")
        self.problem = status_label("problem with the node")
        self.problem.hide()
        self._lay_out()
        self._connect()
        self._looking = QtCore.QTimer(self)
        self._looking.timeout.connect(self._look_at_node)
        self._looking.start(_LOOK_MS)
        self._look_at_node()
        self.bridge.watch("")

    def _lay_out(self) -> None:
        self.splitter = QtWidgets.QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.picture)
        self.splitter.addWidget(self.panel)
        self.splitter.setStretchFactor(0, 3)
        self.splitter.setStretchFactor(1, 2)
        self.splitter.setSizes([640, 380])
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        for widget, stretch in (
            (self.tools, 0), (self.problem, 0), (self.splitter, 1), (self.question, 0),
            (self.status, 0),
        ):  # fmt: skip
            column.addWidget(widget, stretch)
        order = (self.picture, self.question.line, self.question.ask_button, self.panel)
        for first, second in pairwise(order):
            self.setTabOrder(first, second)
        self.setWindowTitle("chatspot")
        self.setStyleSheet(_STYLE)

    def _connect(self) -> None:
        bridge, picture, tools = self.bridge, self.picture, self.tools
        bridge.framed.connect(self._take_frame)
        bridge.texted.connect(self._take_text)
        bridge.replied.connect(self._take_reply)
        bridge.rated.connect(self.panel.show_rated)
        picture.touched.connect(self._stand_still)
        picture.escaped.connect(self.clear)
        picture.changed.connect(self._drawing_changed)
        picture.question_wanted.connect(self.question.line.setFocus)
        self.question.asked.connect(self.ask)
        self.question.cancelled.connect(self.cancel)
        self.panel.rated.connect(bridge.rate)
        tools.camera_chosen.connect(self.watch)
        tools.freeze.clicked.connect(self._freeze_clicked)
        tools.detections.toggled.connect(self._show_detections)
        tools.conversation.toggled.connect(self.new_session)
        for button, call, keys in (
            (tools.zoom_in, picture.zoom_in, "Ctrl++"),
            (tools.zoom_out, picture.zoom_out, "Ctrl+-"),
            (tools.fit, picture.fit, "Ctrl+0"),
            (tools.undo, picture.undo, "Ctrl+Backspace"),
            (tools.clear, self.clear, "Esc"),
            (tools.session, self.new_session, "Ctrl+N"),
            (tools.copy, self.copy_call, "Ctrl+Shift+C"),
            (tools.save, self.choose_file, "Ctrl+S"),
        ):
            button.clicked.connect(lambda _=False, call=call: call())
            bind_key(self, keys, call)
        bind_key(self, "Ctrl+F", tools.freeze.click)
        bind_key(self, "Ctrl+L", self.question.line.setFocus)
        bind_key(self, "Ctrl+D", tools.detections.toggle)
        bind_key(self, "Ctrl+.", self.cancel)

    # --- the picture ---

    def watch(self, camera: str) -> None:
        """Show another camera of the node."""
        self.wanted_camera = camera
        self._newest = None
        self.clear()
        self.bridge.watch(camera)

    def _take_frame(self) -> None:
        self._newest = self.bridge.take_frame() or self._newest
        if not self.is_still:
            self._show_newest()
        elif self._newest and self.frame and self._newest.stamp_ns == self.frame.stamp_ns:
            self._show_newest()  # its detections have come

    def _show_newest(self) -> None:
        if self._newest is not None and self._newest is not self.frame:
            self._show(self._newest)

    def _show(self, frame: Frame) -> None:
        self.frame = frame
        self.picture.show_frame(frame)

    @property
    def is_still(self) -> bool:
        """Whether the picture stands still."""
        return self.tools.freeze.isChecked()

    def freeze(self, still: bool) -> None:
        """Let the picture stand still, or live."""
        self._stands_by_itself = False
        self._set_still(still)

    def _freeze_clicked(self, still: bool) -> None:
        self.freeze(still)

    def _stand_still(self) -> None:
        """Hold the picture that a person draws on: the answer shall be about this one."""
        if not self.is_still:
            self._set_still(True)
            self._stands_by_itself = True

    def _set_still(self, still: bool) -> None:
        self.tools.freeze.setChecked(still)
        self.picture.show_hint("still · Esc: live again" if still else "")
        if not still:
            self._show_newest()

    def _show_detections(self, shown: bool) -> None:
        self.picture.show_detections(shown, self.frame.detections if self.frame else ())

    def _drawing_changed(self) -> None:
        self.picture.show_grounded(())
        if self.drawing.regions and not self.drawing.is_busy:
            self.question.region_drawn()

    def clear(self) -> None:
        """Drop what is unfinished; else all regions, and let the picture live again."""
        was_busy = self.drawing.is_busy
        self.drawing.escape()
        if not was_busy:
            self.picture.show_grounded(())
            self._stands_by_itself = False
            self._set_still(False)
        self.picture.update()

    # --- questions ---

    def ask(self, question: str) -> None:
        """Ask about the regions on the picture that is shown."""
        if self._asked is not None:
            return
        continues = self._continues
        if self._stands_by_itself and not self.drawing.regions and not continues:
            # Nothing was drawn on it: the newest picture is meant.
            self._set_still(False)
        frame = self.frame
        ask = Ask(
            question=question,
            regions=self.drawing.regions,
            camera=self.wanted_camera,
            # The session holds its frame longer than the node's buffer does.
            stamp_ns=0 if frame is None or continues else frame.stamp_ns,
            task=self.tools.task,
            session=self._session,
        )
        if frame is not None:
            self._stand_still()
        self.drawing.asked()
        exchange = Exchange(ask, frame)
        self.picture.show_grounded(())
        self.panel.begin(exchange, continues=continues)
        self._send(exchange)

    def _send(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.status.setText(_ASKING)
        self.question.show_asking(True)
        self._asked = self.bridge.ask(exchange)

    @property
    def _continues(self) -> bool:
        """Whether the next question belongs to the conversation about this very frame."""
        last = self.exchange
        return bool(
            self._session
            and last is not None
            and last.ask.session == self._session
            and last.reply is not None
            and last.reply.answers
            and last.frame is self.frame
        )

    def cancel(self) -> None:
        """Ask the node to stop; its reply comes all the same."""
        if self._asked is not None:
            self.status.setText("cancelling …")
            self._asked.cancel()

    def _take_text(self, exchange: Exchange, index: int, text: str) -> None:
        exchange.add_text(index, text)
        if exchange is self.exchange:
            self.panel.refresh()

    def _take_reply(self, exchange: Exchange, reply: Reply) -> None:
        if exchange is not self.exchange:
            return
        held = exchange.frame
        if reply.status in NOT_HELD and held is not None and exchange.ask.picture is None:
            # The person looked longer than the node holds a frame: send this very picture.
            exchange.ask = dataclasses.replace(exchange.ask, picture=held)
            self._send(exchange)
            return
        exchange.reply = reply
        self._asked = None
        self.question.show_asking(False)
        words = exchange.headline
        if held is not None and reply.stamp_ns not in (0, held.stamp_ns) and reply.answers:
            words += " Its picture was a newer one: the conversation's was no longer held."
        self.status.setText(words)
        self.panel.refresh()
        self.picture.show_grounded(exchange.grounded)
        if reply.status == UNREACHABLE:
            self._look_at_node()

    def new_session(self, *_: object) -> None:
        """Begin a new conversation, or questions that stand alone, on the live picture."""
        self._session = uuid.uuid4().hex[:12] if self.tools.conversation.isChecked() else ""
        if self._asked is None:
            self.exchange = None
            self.panel.clear()
            self.status.setText("")
        self.drawing.cancel()
        self.clear()

    # --- words about the node ---

    def _look_at_node(self) -> None:
        problem = self.bridge.problem()
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.tools.show_cameras(self.bridge.cameras(), self.wanted_camera)

    # --- what leaves the window ---

    def copy_call(self) -> None:
        """Put the question, as a `ros2 service call`, into the clipboard."""
        typed = self.question.line.text().strip()
        ask = self.exchange.ask if self.exchange is not None else None
        if ask is None or (typed and typed != ask.question) or self.drawing.regions != ask.regions:
            stamp_ns = self.frame.stamp_ns if self.frame is not None and self.is_still else 0
            ask = Ask(
                typed or "What is this?", self.drawing.regions, self.wanted_camera, stamp_ns,
                task=self.tools.task, session=self._session,
            )  # fmt: skip
        QtGui.QGuiApplication.clipboard().setText(service_call(ask, self.node))
        self.status.setText("The question is in the clipboard as a ros2 service call.")

    def choose_file(self) -> None:
        """Ask for a file, then save the picture there."""
        if self.frame is None:
            self.status.setText("There is no picture yet.")
            return
        dialog = QtWidgets.QFileDialog(self, "Save the picture with its answers", "answers.png")
        dialog.setAcceptMode(QtWidgets.QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter("Pictures (*.png *.jpg)")
        dialog.setDefaultSuffix("png")
        dialog.selectFile("answers.png")
        dialog.fileSelected.connect(lambda name: self.save(Path(name)))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def save(self, file: Path) -> None:
        """Save the picture with regions and answers; say where, or what was wrong."""
        exchange, frame = self.exchange, self.frame
        if frame is None:
            return
        shown = exchange.shown if exchange is not None and exchange.frame is frame else ()
        regions = exchange.ask.regions if shown and exchange else self.drawing.regions
        try:
            Image.fromarray(with_answers(frame.image_rgb, regions, shown)).save(file)
        except (OSError, ValueError) as error:
            self.status.setText(f"The picture was not saved: {error}")
        else:
            self.status.setText(f"Saved {file}.")

    def close_client(self) -> None:
        """End the client; the widget then shows what it has."""
        self._looking.stop()
        self.bridge.close()

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:
        """End with the client."""
        self.close_client()
        super().closeEvent(event)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Put the answers below the picture where there is no room beside it."""
        is_narrow = self.width() < _NARROW
        wished = Qt.Orientation.Vertical if is_narrow else Qt.Orientation.Horizontal
        if self.splitter.orientation() != wished:
            self.splitter.setOrientation(wished)
