"""The page of one person: picture, tools, question and answers, put together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from nicegui import events, ui

from chatspot_ros.operators.client import OperatorClient
from chatspot_ros.operators.drawing import in_words
from chatspot_ros.operators.web.answers import ExchangeCard
from chatspot_ros.operators.web.conversation import Conversation, read_xy
from chatspot_ros.operators.web.frames import CameraFeed
from chatspot_ros.operators.web.picture import RegionPicture, shapes_of, to_css

_LOOK_EVERY_S = 1.0
_HISTORY_SHOWN = 12


class OperatorPage:
    """Builds the page and keeps it true to the person's conversation."""

    def __init__(
        self, client: OperatorClient, feed: Any, url: str, quick_questions: Sequence[str]
    ) -> None:
        """`feed(camera)` gives a camera's frames, `url` this person's; in a page's own context."""
        self._client = client
        self._feed: Any = feed
        self.conversation = Conversation(client, self._feed_of, self.refresh)
        self._cards: list[ExchangeCard] = []
        self._cameras: tuple[str, ...] = ()
        ui.add_css(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))
        ui.colors(primary="#3457c8")
        with ui.element("main").classes("page") as self._root:
            with ui.element("div").classes("left"):
                self._build_top()
                self.picture = RegionPicture(url).classes("picture-box")
                self.picture.on("press", self._on_press, throttle=0)
                self.picture.on("corner", self._on_corner)
                self.picture.on("key", self._on_key)
                self.picture.on("restore", self._on_restore)
                self._build_tools()
            with ui.element("div").classes("right"):
                self._build_question(quick_questions)
                self._answers = ui.element("div").classes("answers").props("aria-live=polite")
        ui.timer(_LOOK_EVERY_S, self._look)
        self._look()
        self.refresh()

    def _feed_of(self, camera: str) -> CameraFeed:
        feed: CameraFeed = self._feed(camera)
        return feed

    # --- the parts

    def _build_top(self) -> None:
        self._problem = ui.label().classes("banner problem").props("role=alert")
        with ui.element("div").classes("bar"):
            self._state = ui.label("Live").classes("tag")
            self._camera = ui.select([], label="Camera", on_change=self._on_camera)
            self._camera.props("dense outlined").classes("camera")
            ui.element("div").classes("space")
            self._freeze = ui.button("Freeze", icon="pause", on_click=self._on_freeze)
            self._freeze.props("flat dense no-caps")
            ui.button("New session", icon="restart_alt", on_click=self._on_new).props(
                'flat dense no-caps aria-label="New session"'
            ).classes("short")

    def _build_tools(self) -> None:
        with ui.element("div").classes("bar"):
            self._tool = ui.toggle(
                {False: "Point, box", True: "Polygon"}, value=False, on_change=self._on_tool
            )
            self._tool.props("dense no-caps unelevated")
            self._close = ui.button("Close polygon", on_click=lambda: self._do("close"))
            self._close.props("flat dense no-caps")
            ui.button(icon="undo", on_click=lambda: self._do("undo")).props(
                'flat dense round aria-label="Drop the last region"'
            ).tooltip("Drop the last region")
            ui.button("Clear", on_click=lambda: self._do("clear")).props("flat dense no-caps")
        with ui.element("div").classes("bar"):
            self._detections = ui.switch("Detections", value=True, on_change=self._on_detections)
            self._detections.props("dense")
            self._detections.tooltip("Show what the detector found; a click in a box selects it")
            self._at_once = ui.switch("Ask at once").props("dense")
            self._at_once.tooltip("Ask when a region is drawn")
            self._marks = ui.switch("Numbers", on_change=self._on_marks).props("dense")
            self._marks.tooltip('Draw the numbers for the model: "What is between 1 and 2?"')
        self._regions = ui.element("div").classes("regions")

    def _build_question(self, quick_questions: Sequence[str]) -> None:
        with ui.element("div").classes("quick"):
            for question in quick_questions:
                ui.button(question, on_click=lambda _, text=question: self._ask(text)).props(
                    "outline rounded dense no-caps size=sm"
                )
        with ui.element("div").classes("ask"):
            self._question = ui.input(placeholder="Ask about the regions, or the whole picture")
            self._question.props('outlined dense maxlength=2000 aria-label="Question"')
            self._question.classes("question-line")
            self._question.on("keydown.enter", lambda: self._ask())
            self._question.on("keydown.up.prevent", lambda: self._walk(self._history.older))
            self._question.on("keydown.down.prevent", lambda: self._walk(self._history.newer))
            with ui.button(icon="history").props('flat dense round aria-label="Asked before"'):
                self._menu = ui.menu()
            self._ask_button = ui.button("Ask", on_click=lambda: self._ask()).props("no-caps")
            self._cancel = ui.button("Cancel", on_click=lambda: self.conversation.cancel())
            self._cancel.props("outline no-caps")

    # --- what the person does

    @property
    def _history(self) -> Any:
        return self.conversation.history

    def _walk(self, step: Any) -> None:
        self._question.set_value(step(self._question.value or ""))

    def _ask(self, question: str | None = None) -> None:
        text = self._question.value if question is None else question
        problem = self.conversation.ask(text or "")
        if problem:
            self._say(problem)
        elif question is None:
            self._question.set_value("")

    def _on_press(self, event: events.GenericEventArguments) -> None:
        given, drawing = event.args, self.conversation.drawing
        begun, ended, slop = read_xy(given["from"]), read_xy(given["to"]), _read_slop(given)
        if begun is None or ended is None:
            return
        drawing.press(begun)
        point = bool(given["point"]) or not self._detections.value
        if drawing.release(ended, slop, keep=bool(given["keep"]), point=point):
            self._drew()
        else:
            self.refresh()

    def _on_corner(self, event: events.GenericEventArguments) -> None:
        given, at = event.args, read_xy(event.args["at"])
        if at is None:
            return
        if self.conversation.drawing.corner(at, _read_slop(given), keep=bool(given["keep"])):
            self._drew()
        else:
            self.refresh()

    def _on_key(self, event: events.GenericEventArguments) -> None:
        self._do(str(event.args))

    def _do(self, what: str) -> None:
        drawing = self.conversation.drawing
        if what == "close":
            if drawing.close():
                self._drew()
            elif drawing.corners:
                self._say("A polygon has three corners or more.")
        elif what in ("escape", "undo", "clear"):
            {"escape": drawing.escape, "undo": drawing.undo, "clear": drawing.clear}[what]()
            self.conversation.drew()

    def _drew(self) -> None:
        self.conversation.drew()
        if self._at_once.value and not self.conversation.is_asking:
            self._ask(self._question.value or self._last_question())

    def _last_question(self) -> str:
        asked: list[str] = self._history.questions
        return asked[-1] if asked else "What is this?"

    def _on_restore(self, event: events.GenericEventArguments) -> None:
        try:
            self.conversation.restore(json.loads(str(event.args)))
        except ValueError:
            return
        if self.conversation.camera in self._cameras:
            self._camera.set_value(self.conversation.camera)

    def _on_tool(self) -> None:
        self.picture.take_corners(bool(self._tool.value))
        if not self._tool.value:
            self.conversation.drawing.cancel()
            self.refresh()

    def _on_detections(self) -> None:
        self.picture.show_detections(bool(self._detections.value))

    def _on_marks(self) -> None:
        self.conversation.marks = bool(self._marks.value)

    def _on_camera(self) -> None:
        self.conversation.look_at(self._camera.value or "")

    def _on_freeze(self) -> None:
        if self.conversation.held is None:
            self.conversation.hold()
        else:
            self.conversation.go_live()

    def _on_new(self) -> None:
        self.conversation.begin_anew()

    def _rate(self, answer_id: str, rating: int) -> None:
        if rating:
            self.conversation.rate(
                answer_id, int(rating), lambda problem: self._say(problem or "Rated. Thank you.")
            )

    # --- what the person sees

    def _say(self, text: str) -> None:
        with self._root:
            ui.notify(text, position="bottom")

    def _look(self) -> None:
        """Look at what changes by itself: the node's state, its cameras."""
        self._problem.set_text(self._client.problem())
        self._problem.set_visibility(bool(self._problem.text))
        cameras = tuple(self._client.cameras())
        if cameras and cameras != self._cameras:
            self._cameras = cameras
            chosen = self.conversation.camera
            chosen = chosen if chosen in cameras else cameras[0]
            self._camera.set_options(list(cameras), value=chosen)
        self._camera.set_visibility(len(self._cameras) > 1)

    def refresh(self) -> None:
        """Show the conversation as it is now."""
        now = self.conversation
        self.picture.draw(shapes_of(now), now.drawing.corners)
        self.picture.save(now.saved())
        is_held = now.held is not None
        self._state.set_text("Frozen" if is_held else "Live")
        self._state.classes(
            add="tag-frozen" if is_held else "tag-live",
            remove="tag-live" if is_held else "tag-frozen",
        )
        self._freeze.set_text("Go live" if is_held else "Freeze")
        self._freeze.set_icon("play_arrow" if is_held else "pause")
        # Hidden, it keeps its place: a picture that moved would be clicked in the wrong place.
        self._close.style("visibility: " + ("visible" if now.drawing.corners else "hidden"))
        self._ask_button.set_visibility(not now.is_asking)
        self._cancel.set_visibility(now.is_asking)
        self._show_regions()
        self._show_answers()

    def _show_regions(self) -> None:
        drawing = self.conversation.drawing
        words = [(one, in_words(one.region)) for one in drawing.drawn]
        if words == getattr(self, "_words", None):
            return
        self._words = words
        self._regions.clear()
        with self._regions:
            for one, text in words:
                with ui.element("span").classes("region-chip"):
                    ui.label(str(one.number)).classes("mark-inline").style(
                        f"background: {to_css(one.colour)}"
                    )
                    ui.label(text)
            if not words:
                ui.label("No region: a question is about the whole picture.").classes("detail")

    def _show_answers(self) -> None:
        exchanges = self.conversation.exchanges
        kept = {id(one) for one in exchanges}
        for card in [one for one in self._cards if id(one.exchange) not in kept]:
            card.element.delete()
            self._cards.remove(card)
        for exchange in exchanges[len(self._cards) :]:
            with self._answers:
                card = ExchangeCard(exchange, self._rate)
            card.element.move(target_index=0)
            self._cards.append(card)
            self._list_history()
        if self._cards:
            self._cards[-1].update()

    def _list_history(self) -> None:
        self._menu.clear()
        with self._menu:
            for text in reversed(self._history.questions[-_HISTORY_SHOWN:]):
                ui.menu_item(text, lambda text=text: self._question.set_value(text))


def _read_slop(given: dict[str, Any]) -> float:
    """Return how far a pointer may slip in a click, in image pixels, as a browser sent it."""
    slop = given.get("slop")
    return min(float(slop), 1e3) if isinstance(slop, int | float) and slop > 0 else 0.0
