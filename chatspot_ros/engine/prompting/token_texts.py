"""The text of every token of a tokenizer, as bytes, and which of them may follow a whole word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from xgrammar import TokenizerInfo

from chatspot_ros.engine.prompting.chat_template import ChatTemplate
from chatspot_ros.errors import RequestError

# Inside words, as in "half-open" and "don't".
_JOINS = "_'-\u2019"


def token_texts(tokenizer: Any, end_ids: Iterable[int], size: int) -> list[bytes]:
    """Return the text of each of `size` tokens; `end_ids` end an answer.

    Raises:
        ValueError, RuntimeError: the tokens have no texts of their own.
    """
    known = TokenizerInfo.from_huggingface(
        tokenizer, vocab_size=size, stop_token_ids=sorted(set(end_ids))
    )
    return list(known.decoded_vocab)


def ends_word(text: bytes) -> bool:
    """Return whether a token with this text does not go on with the word before it."""
    head = text[:4].decode("utf-8", "ignore")[:1]
    return bool(head) and not (head.isalnum() or head in _JOINS)


class ChoiceTokens:
    """The tokens of the choices that one model is asked to choose from."""

    def __init__(self, chat: ChatTemplate, end_ids: Iterable[int], size: int) -> None:
        """`end_ids` end an answer; `size` is the number of logits."""
        self._chat, self._end_ids, self._size = chat, sorted(set(end_ids)), size
        self._ends: Tensor | None = None

    @property
    def ends(self) -> Tensor:
        """Which tokens may follow a whole word, bool (size,): those that end an answer too."""
        if self._ends is None:
            self._ends = self._read_ends()
        return self._ends

    def _read_ends(self) -> Tensor:
        ends = torch.zeros(self._size, dtype=torch.bool)
        try:
            size = max(self._size, len(self._chat.tokenizer))
            texts = token_texts(self._chat.tokenizer, self._end_ids, size)[: self._size]
        except (ValueError, RuntimeError):  # then only the end of the answer ends a word
            texts = []
        silent = self._chat.silent_ids
        for index, text in enumerate(texts):
            ends[index] = index not in silent and ends_word(text)
        ends[[index for index in self._end_ids if index < self._size]] = True
        return ends

    @property
    def before(self) -> list[int]:
        """The ids that end the reasoning which the prompt has opened; none where it has not."""
        return self._chat.end_of_reasoning if self._chat.reasons else []

    def encode(self, choices: list[list[str]]) -> list[list[list[int]]]:
        """Return the ids of each text of each choice, as the model would say it.

        Raises:
            RequestError: a choice holds control tokens, or the model reads two as the same.
        """
        found: list[list[list[int]]] = []
        seen: dict[tuple[int, ...], str] = {}
        for texts in choices:
            found.append([])
            for text in texts:
                ids = tuple(self._chat.answer_ids(text))
                if self._chat.holds_control_tokens(text) or not ids:
                    raise RequestError(
                        "the choice holds control tokens of the model", value=text,
                        remedy="give plain words",
                    )  # fmt: skip
                if ids in seen and list(ids) in found[-1]:
                    continue  # the model reads no capital letters
                if ids in seen:
                    raise RequestError(
                        "the model cannot tell two choices apart", value=f"{seen[ids]} and {text}",
                        remedy="give other words",
                    )  # fmt: skip
                seen[ids] = text
                found[-1].append(list(ids))
        return found
