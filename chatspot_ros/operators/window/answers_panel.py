"""The panel of answers: the question, and a card for each answer, beside the numbered regions."""

from __future__ import annotations

from chatspot_ros.images.annotate import Colour
from chatspot_ros.operators.exchange import Exchange, Shown
from chatspot_ros.operators.window.qt import Qt, QtGui, QtWidgets, Signal
from chatspot_ros.operators.words import choice_words

_MOST_EARLIER = 20
RATINGS = (1, 2, 3, 4, 5)


class AnswersPanel(QtWidgets.QScrollArea):
    """Shows an Exchange as it comes; tells when a person rates an answer."""

    rated = Signal(str, int, str)  # answer_id, 1 to 5, comment

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        """Start empty."""
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("answers")
        self.setMinimumWidth(200)
        self.cards: list[AnswerCard] = []
        self._turns: list[str] = []
        self._exchange: Exchange | None = None
        inside = QtWidgets.QWidget()
        self._column = QtWidgets.QVBoxLayout(inside)
        self._earlier = _label("", "earlier questions")
        self._earlier.setForegroundRole(QtGui.QPalette.ColorRole.PlaceholderText)
        self.question = _label("", "question")
        font = self.question.font()
        font.setBold(True)
        self.question.setFont(font)
        self._column.addWidget(self._earlier)
        self._column.addWidget(self.question)
        self._column.addStretch(1)
        self.setWidget(inside)
        self.clear()

    def clear(self) -> None:
        """Forget the conversation."""
        self._turns, self._exchange = [], None
        self._drop_cards()
        self._earlier.hide()
        self.question.setText(
            "Click, drag a box or set corners with the right button on the picture. Then ask."
        )

    def begin(self, exchange: Exchange, *, continues: bool) -> None:
        """Show a new question; in a conversation the earlier ones stay above it."""
        if self._exchange is not None and continues:
            said = "; ".join(one.answer.text for one in self._exchange.shown) or "no answer"
            self._turns = [*self._turns, f"{self._exchange.ask.question} – {said}"][-_MOST_EARLIER:]
        else:
            self._turns = []
        self._exchange = exchange
        self._earlier.setText("\n".join(self._turns))
        self._earlier.setVisible(bool(self._turns))
        self.question.setText(exchange.ask.question)
        self._drop_cards()
        self.refresh()

    def refresh(self) -> None:
        """Show what has come."""
        if self._exchange is None:
            return
        shown = self._exchange.shown
        if any(one.is_complete for one in shown) and any(
            not card.is_complete for card in self.cards
        ):
            self._drop_cards()
        for one in shown[len(self.cards) :]:
            card = AnswerCard(one)
            card.rated.connect(self.rated)
            self.cards.append(card)
            self._column.insertWidget(self._column.count() - 1, card)
        for card, one in zip(self.cards, shown, strict=False):
            card.show_text(one)

    def show_rated(self, answer_id: str, problem: str) -> None:
        """Say below an answer that its rating has arrived, or why not."""
        for card in self.cards:
            if card.answer_id == answer_id:
                card.show_rated(problem)

    def _drop_cards(self) -> None:
        for card in self.cards:
            self._column.removeWidget(card)
            card.deleteLater()
        self.cards = []


class AnswerCard(QtWidgets.QFrame):
    """One answer: number, region, confidence, text, state, steps, print, sources, rating."""

    rated = Signal(str, int, str)

    def __init__(self, shown: Shown) -> None:
        """Show all of a complete answer; of one that comes, number and text."""
        super().__init__()
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self.setAutoFillBackground(True)
        self.setBackgroundRole(QtGui.QPalette.ColorRole.AlternateBase)
        self.is_complete = shown.is_complete
        self.answer_id = shown.answer.answer_id
        self.stars: list[QtWidgets.QToolButton] = []
        self._rating = 0
        answer = shown.answer
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.addLayout(self._head(shown))
        self.text = _label(answer.text, f"answer {shown.number}")
        font = self.text.font()
        font.setPointSizeF(font.pointSizeF() * 1.15)
        self.text.setFont(font)
        column.addWidget(self.text)
        if answer.state:
            column.addWidget(_state_table(dict(answer.state)))
        if answer.steps:
            column.addWidget(_list(answer.steps, "steps", numbered=True))
        if said := choice_words(shown.choices, answer.choice_probabilities):
            column.addWidget(_label(said, "choices"))
        for words, lines in (("Printed there", answer.print_lines), ("From", answer.sources)):
            if lines:
                column.addWidget(_label(f"{words}: {', '.join(lines)}", words))
        if self.is_complete and self.answer_id:
            column.addLayout(self._rating_row())
            self.rating_said = _label("", "rating")
            self.rating_said.hide()
            column.addWidget(self.rating_said)

    def show_text(self, shown: Shown) -> None:
        """Show the text as far as it has come."""
        text = shown.answer.text if shown.is_complete else f"{shown.answer.text} …"
        if self.text.text() != text:
            self.text.setText(text or "(no text)")

    def show_rated(self, problem: str) -> None:
        """Say that the rating has arrived, or why not."""
        self.rating_said.setText(problem or "Thank you: the node keeps your rating.")
        self.rating_said.show()

    def _head(self, shown: Shown) -> QtWidgets.QHBoxLayout:
        row = QtWidgets.QHBoxLayout()
        row.addWidget(_badge(shown.number, shown.colour))
        about = _label(shown.about, "region")
        row.addWidget(about, 1)
        if shown.is_complete:
            self.sureness = _label(_sureness(shown), "confidence")
            self.sureness.setWordWrap(False)
            row.addWidget(self.sureness)
        return row

    def _rating_row(self) -> QtWidgets.QHBoxLayout:
        row = QtWidgets.QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(QtWidgets.QLabel("Rate"))
        for rating in RATINGS:
            star = QtWidgets.QToolButton()
            star.setText(str(rating))
            star.setCheckable(True)
            star.setAutoRaise(True)
            meaning = {1: " (bad)", 5: " (good)"}.get(rating, "")
            star.setToolTip(f"Rate this answer {rating} of 5{meaning}")
            star.setAccessibleName(f"rate {rating} of 5")
            star.clicked.connect(lambda _=False, given=rating: self._rate(given))
            self.stars.append(star)
            row.addWidget(star)
        self.comment = QtWidgets.QLineEdit()
        self.comment.setPlaceholderText("comment")
        self.comment.setAccessibleName("comment on the answer")
        self.comment.setMaxLength(1000)
        self.comment.returnPressed.connect(self._rate_again)
        row.addWidget(self.comment, 1)
        return row

    def _rate(self, rating: int) -> None:
        self._rating = rating
        for value, star in zip(RATINGS, self.stars, strict=True):
            star.setChecked(value == rating)
        self.rated.emit(self.answer_id, rating, self.comment.text().strip())

    def _rate_again(self) -> None:
        if self._rating:
            self._rate(self._rating)
        else:
            self.show_rated("Choose 1 (bad) to 5 (good), too.")


def _sureness(shown: Shown) -> str:
    answer = shown.answer
    words = [f"{answer.confidence:.0%}"]
    words += [
        word
        for word, holds in (
            ("not sure", answer.uncertain), ("cut off", answer.truncated),
            ("looked twice", answer.looked_twice),
        )
        if holds
    ]  # fmt: skip
    return " · ".join(words)


def _label(text: str, name: str) -> QtWidgets.QLabel:
    label = QtWidgets.QLabel(text)
    # The text of a model or a note is no markup.
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(
        Qt.TextInteractionFlag.TextSelectableByMouse
        | Qt.TextInteractionFlag.TextSelectableByKeyboard
    )
    label.setAccessibleName(name)
    return label


def _badge(number: int, colour: Colour) -> QtWidgets.QLabel:
    badge = QtWidgets.QLabel(str(number))
    red, green, blue = colour
    ink = "black" if green > 90 or red > 240 else "white"
    badge.setStyleSheet(
        f"background: rgb({red}, {green}, {blue}); color: {ink}; font-weight: bold;"
        "border-radius: 4px; padding: 1px 6px;"
    )
    badge.setSizePolicy(QtWidgets.QSizePolicy.Policy.Fixed, QtWidgets.QSizePolicy.Policy.Fixed)
    badge.setAccessibleName(f"region {number}")
    return badge


def _state_table(state: dict[str, str]) -> QtWidgets.QTableWidget:
    table = QtWidgets.QTableWidget(len(state), 2)
    table.setAccessibleName("state")
    table.setHorizontalHeaderLabels(["what", "state"])
    table.verticalHeader().hide()
    table.horizontalHeader().setStretchLastSection(True)
    table.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setTabKeyNavigation(False)
    for row, (key, value) in enumerate(state.items()):
        table.setItem(row, 0, QtWidgets.QTableWidgetItem(key))
        table.setItem(row, 1, QtWidgets.QTableWidgetItem(value))
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    row_height = table.fontMetrics().height() + 6
    table.verticalHeader().setDefaultSectionSize(row_height)
    table.verticalHeader().setMinimumSectionSize(row_height)
    height = table.horizontalHeader().sizeHint().height() + 2 * table.frameWidth()
    table.setFixedHeight(height + sum(table.rowHeight(row) for row in range(len(state))))
    return table


def _list(lines: tuple[str, ...], name: str, *, numbered: bool) -> QtWidgets.QLabel:
    rows = [f"{k}.  {line}" if numbered else line for k, line in enumerate(lines, 1)]
    return _label("\n".join(rows), name)
