"""An index of passages: ranks them for a question, by BM25 or by embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.knowledge.passages import Passage
from chatspot_ros.knowledge.rules import Rule, rules_of
from chatspot_ros.knowledge.words import content_words, ranking_words

# Texts to unit vectors, (n, d).
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
# Below this cosine an embedded passage is about something else.
MIN_COSINE = 0.35
MAX_FOUND = 8


@dataclass(frozen=True)
class Found:
    """A passage and how well it fits: above 0, higher is better."""

    passage: Passage
    score: float


class NoteIndex:
    """The passages of a folder at one moment. Made once and then only read, by any thread."""

    def __init__(self, passages: Iterable[Passage] = (), embed: Embed | None = None) -> None:
        """`embed` ranks by the cosine of embeddings; None: by BM25 over stemmed words."""
        self.passages = tuple(passages)
        self.rules: tuple[Rule, ...] = tuple(
            rule for passage in self.passages for rule in rules_of(passage)
        )
        self._texts = [f"{one.heading}\n{one.text}" for one in self.passages]
        pairs = zip(self.passages, self._texts, strict=True)
        self._words = {id(passage): content_words(text) for passage, text in pairs}
        self.words: frozenset[str] = frozenset().union(*self._words.values())
        self._embed = embed
        self._vectors: NDArray[np.float32] | None = None
        self._bm25: Any = None
        ranked = [ranking_words(text) for text in self._texts]
        if embed is not None and self.passages:
            self._vectors = embed(self._texts)
        elif any(ranked):
            import bm25s  # a third of a second, which a node without notes need not wait

            self._bm25 = bm25s.BM25()
            self._bm25.index(ranked, show_progress=False)

    @property
    def by_embeddings(self) -> bool:
        """Whether passages are ranked by their meaning, not by their words."""
        return self._embed is not None

    def words_of(self, passage: Passage) -> frozenset[str]:
        """Return the content words of a passage of this index, its heading's included."""
        return self._words[id(passage)]

    def search(self, query: str, count: int = MAX_FOUND) -> list[Found]:
        """Return the passages that fit a question, best first, at most `count`."""
        scores = self._scores(query)
        order = np.argsort(-scores, kind="stable")[:count]
        return [Found(self.passages[k], float(scores[k])) for k in order if scores[k] > 0]

    def _scores(self, query: str) -> NDArray[np.float32]:
        if self._embed is not None and self._vectors is not None:
            cosines = self._vectors @ self._embed([query])[0]
            return np.where(cosines >= MIN_COSINE, cosines, 0).astype(np.float32)
        words = ranking_words(query)
        if self._bm25 is None or not words:
            return np.zeros(len(self.passages), np.float32)
        return np.asarray(self._bm25.get_scores(words), np.float32)
