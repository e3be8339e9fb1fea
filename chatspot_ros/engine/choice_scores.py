"""The log-probabilities of given answers, read all at once behind one question.

Each text of each choice is a branch behind the question's tokens: it attends to these and to
itself. So a choice costs its own tokens, not the question's or the picture's (docs/adr/0029).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from chatspot_ros.core.choices import log_sum, without_longer

# Logits of so many tokens at once: each is a row of the vocabulary's size.
MAX_SCORED_TOKENS = 512


class ChoiceScores:
    """The scores of one question's choices, as they are read."""

    def __init__(self, choices: Sequence[Sequence[Sequence[int]]], ends: Tensor) -> None:
        """`choices` are the ids of the texts of each choice; `ends` says which tokens may follow a
        whole word, bool (vocabulary,) on the CPU."""
        self._counts = [len(texts) for texts in choices]
        self.texts = [list(text) for texts in choices for text in texts]
        self._ends = ends
        self._logs: list[list[float]] = [[] for _ in self.texts]
        # Of a whole word behind each text.
        self._closed: list[float] = []
        self._now: list[int] = []
        self.begun = False

    @property
    def done(self) -> bool:
        """Whether all texts have their scores."""
        return len(self._closed) == len(self.texts)

    @property
    def failed(self) -> bool:
        """Whether a number is not finite, as of a damaged model."""
        numbers = [*(one for logs in self._logs for one in logs), *self._closed]
        return any(math.isnan(one) or one == math.inf for one in numbers)

    def begin(self, logits: Tensor) -> None:
        """Take the logits behind the question, (vocabulary,)."""
        logs = logits.float().log_softmax(-1)
        firsts = torch.tensor([text[0] for text in self.texts], device=logs.device)
        for text, value in zip(self._logs, logs[firsts].tolist(), strict=True):
            text.append(value)
        self.begun = True

    def plan(self, room: int) -> list[list[int]]:
        """Return the next texts to read, of at most `room` tokens in all but at least one text."""
        first = len(self._closed)
        self._now, tokens = [], 0
        for index in range(first, len(self.texts)):
            tokens += len(self.texts[index])
            if self._now and tokens > room:
                break
            self._now.append(index)
        return [self.texts[index] for index in self._now]

    @property
    def planned(self) -> list[list[int]]:
        """The texts of the last plan."""
        return [self.texts[index] for index in self._now]

    def hear(self, logits: Tensor) -> None:
        """Take the logits of the planned texts' tokens, (tokens, vocabulary), in their order."""
        logs = logits.float().log_softmax(-1)
        texts = self.planned
        last = torch.tensor([len(text) for text in texts]).cumsum(0) - 1
        ends = self._ends[: logs.shape[-1]].to(logs.device)
        closed = logs[last.to(logs.device)][:, ends].logsumexp(-1)
        # What follows each token but the last of its text.
        places = [k for k in range(len(logs)) if k not in set(last.tolist())]
        following = [token for text in texts for token in text[1:]]
        said = logs[places, following] if places else logs.new_zeros(0)
        numbers = torch.cat([closed, said]).tolist()
        self._closed += numbers[: len(texts)]
        rest = iter(numbers[len(texts) :])
        for index in self._now:
            self._logs[index] += [next(rest) for _ in self.texts[index][1:]]
        self._now = []

    def scores(self) -> list[float]:
        """Return the log-probability that an answer begins with each choice, as whole words."""
        ends = self._ends.tolist()
        logs = [sum(said) + end for said, end in zip(self._logs, self._closed, strict=True)]
        own = without_longer(self.texts, logs, [[ends[i] for i in text] for text in self.texts])
        rest = iter(own)
        return [log_sum([next(rest) for _ in range(count)]) for count in self._counts]

    def of(self, choice: int) -> list[float]:
        """Return the log-probabilities of the tokens of a choice's likeliest text."""
        first = sum(self._counts[:choice])
        mine = self._logs[first : first + self._counts[choice]]
        return max(mine, key=sum)
