"""What a person types again and again: the history of questions, and quick ones at hand."""

from __future__ import annotations

from collections.abc import Iterable

# Wordings that the bundled models know. A window or page lets a person change them.
QUICK_QUESTIONS = (
    "What is this?",
    "What is the state of this?",
    "Is this plugged in?",
    "What does it say?",
    "What should the robot do to clean this?",
    "Describe this in detail.",
)
_MOST = 100
_MOST_CHARS = 2000


class History:
    """The asked questions, the newest last, each once; at most 100."""

    def __init__(self, questions: Iterable[str] = ()) -> None:
        self.questions: list[str] = []
        self._place = 0
        self._draft = ""
        for question in questions:
            self.add(question)

    def add(self, question: str) -> None:
        """Take a question as the newest; the walk starts from it again."""
        text = question.strip()[:_MOST_CHARS]
        if text:
            others = [one for one in self.questions if one != text]
            self.questions = [*others[1 - _MOST :], text]
        self._place, self._draft = len(self.questions), ""

    def older(self, typed: str) -> str:
        """Return the question before the one that is shown; `typed` is kept for the way back."""
        if self._place == len(self.questions):
            self._draft = typed
        self._place = max(self._place - 1, 0)
        return self.questions[self._place] if self.questions else typed

    def newer(self, typed: str) -> str:
        """Return the question after the one that is shown; in the end what was typed."""
        if self._place >= len(self.questions):
            return typed
        self._place += 1
        return self._draft if self._place == len(self.questions) else self.questions[self._place]


def read_quick_questions(text: str) -> tuple[str, ...]:
    """Return the quick questions of a text, one a line, each once; of an empty text the usual."""
    lines = (line.strip()[:_MOST_CHARS] for line in text.splitlines())
    return tuple(dict.fromkeys(line for line in lines if line)) or QUICK_QUESTIONS
