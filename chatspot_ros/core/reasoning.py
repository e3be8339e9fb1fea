"""The reasoning that some models write before their answer, between `<think>` and `</think>`.

Often the chat template has written the opening tag, and the model only the closing one.
"""

from __future__ import annotations

OPENING, CLOSING = "<think>", "</think>"


def answer_of(text: str, opened: bool = False) -> str | None:
    """Return what follows the last closing tag; without one the whole text.

    None: the reasoning has not ended. `opened`: it began in the prompt.
    """
    if CLOSING in text:
        return text.rpartition(CLOSING)[2].strip()
    return None if opened or text.lstrip().startswith(OPENING) else text


def may_begin(text: str) -> bool:
    """Return whether a text is the beginning of an opening tag, or empty."""
    return OPENING.startswith(text.lstrip())


def is_open(prompt: str) -> bool:
    """Return whether a conversation as text ends within reasoning, which the answer continues."""
    return prompt.rstrip().endswith(OPENING)
