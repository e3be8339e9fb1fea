"""A question with its answers as a card: it grows while the text comes."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from chatspot_ros.operators.client import OK
from chatspot_ros.operators.exchange import Exchange, Shown
from chatspot_ros.operators.web.picture import to_css
from chatspot_ros.operators.words import choice_words

Rate = Callable[[str, int], None]


class AnswerRow:
    """One answer beside the number and colour of its region."""

    def __init__(self, shown: Shown, rate: Rate) -> None:
        self._rate = rate
        with ui.element("div").classes("answer"):
            number = ui.label(str(shown.number)).classes("mark-inline")
            number.style(f"background: {to_css(shown.colour)}").tooltip(shown.about)
            with ui.element("div").classes("answer-body"):
                self._text = ui.label().classes("answer-text")
                self._more = ui.element("div").classes("answer-more")
        self._is_complete = False
        self.update(shown)

    def update(self, shown: Shown) -> None:
        """Show the answer as far as it has come."""
        self._text.set_text(shown.answer.text or ("(no text)" if shown.is_complete else ""))
        if shown.is_complete and not self._is_complete:
            self._is_complete = True
            with self._more:
                _show_details(shown, self._rate)


def _show_details(shown: Shown, rate: Rate) -> None:
    answer = shown.answer
    if answer.state:
        with ui.element("table").classes("state"):
            for key, value in answer.state.items():
                with ui.element("tr"):
                    with ui.element("th").props("scope=row"):
                        ui.label(key)
                    with ui.element("td"):
                        ui.label(value)
    if answer.steps:
        with ui.element("ol").classes("steps"):
            for step in answer.steps:
                with ui.element("li"):
                    ui.label(step)
    named = ", ".join(dict.fromkeys(one.label for one in answer.grounded if one.label))
    for title, text in (
        ("Choices", choice_words(shown.choices, answer.choice_probabilities)),
        ("Marked in the picture", named),
        ("Printed there", " / ".join(answer.print_lines)),
        ("From the notes", ", ".join(answer.sources)),
    ):
        if text:
            ui.label(f"{title}: {text}").classes("detail")
    with ui.element("div").classes("marks"):
        if answer.confidence:  # a text of the node's own has none
            _show_confidence(answer.confidence)
        for is_so, word, hint in (
            (answer.uncertain, "uncertain", "Do not act on it without another look"),
            (answer.truncated, "cut off", "The text is longer than the node allows"),
            (answer.looked_twice, "looked twice", "The region was also seen cut out and larger"),
        ):
            if is_so:
                ui.label(word).classes(f"tag tag-{word.split()[0]}").tooltip(hint)
        if answer.answer_id:
            ui.rating(
                max=5, size="1.3em", on_change=lambda event: rate(answer.answer_id, event.value)
            ).props('aria-label="Rate this answer" color=amber-8')


def _show_confidence(confidence: float) -> None:
    words = f"{round(100 * confidence)} %"
    bar = ui.linear_progress(confidence, show_value=False, size="6px")
    bar.props(f'aria-label="confidence {words}"')
    ui.label(words).classes("detail").tooltip("Confidence of the answer")


class ExchangeCard:
    """A question, its answers, and in the end the times, or the problem with its remedy."""

    def __init__(self, exchange: Exchange, rate: Rate) -> None:
        self.exchange = exchange
        self._rate = rate
        self._rows: list[AnswerRow] = []
        with ui.element("section").classes("exchange") as self.element:
            ui.label(exchange.ask.question).classes("question")
            self._body = ui.element("div")
            self._end = ui.label("Waiting for the first word ...").classes("detail")

    def update(self) -> None:
        """Show what has come since."""
        shown = self.exchange.shown
        for row, one in zip(self._rows, shown, strict=False):
            row.update(one)
        with self._body:
            self._rows += [AnswerRow(one, self._rate) for one in shown[len(self._rows) :]]
        reply = self.exchange.reply
        if reply is not None:
            self._end.set_text(self.exchange.headline)
            self._end.classes(toggle="", add="" if reply.status == OK else "problem")
        elif shown:
            self._end.set_text("Answering ...")
