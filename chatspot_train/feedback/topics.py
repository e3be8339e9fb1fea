"""Groups the comments of a log by topic: words weighted by TF-IDF, clusters by k-means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import silhouette_score

from chatspot_train.feedback.log_table import JudgedAnswer

LEAST_COMMENTS = 6
MOST_TOPICS = 8
_NAMED_BY = 3  # words
_EXAMPLES = 3
_TELLING = 0.1  # weight of a word in the middle of its topic
_WORD = r"(?u)\b[^\W\d]\w+\b"  # two letters at least, no number
_REST = "(other)"


@dataclass(frozen=True)
class Topic:
    """A group of comments: `name`, its most telling words; the mean `rating`, 1 to 5; up to three
    examples, the nearest to its middle first."""

    name: str
    count: int
    rating: float
    examples: tuple[str, ...]


def topics(answers: Sequence[JudgedAnswer]) -> list[Topic]:
    """Group the comments of rated answers, the most frequent topic first.

    The number of topics, 2 to 8, is the one with the best silhouette. Fewer than six comments, or
    comments without a word in common, make one topic.
    """
    said = [one for one in answers if one.rating and one.comment.strip()]
    if not said:
        return []
    groups, names, nearness = _grouped([one.comment for one in said])
    found = []
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        mine = mine[np.argsort(-nearness[mine], kind="stable")]
        examples = dict.fromkeys(said[k].comment.strip() for k in mine)
        rating = float(np.mean([said[k].rating or 0 for k in mine]))
        found.append(Topic(names[group], len(mine), rating, tuple(examples)[:_EXAMPLES]))
    return sorted(found, key=lambda one: (-one.count, one.rating))


def _grouped(texts: list[str]) -> tuple[np.ndarray, dict[int, str], np.ndarray]:
    """Return each text's group, the groups' names, and how near each is to its group's middle."""
    rest = np.full(len(texts), -1), {-1: _REST}, np.zeros(len(texts))
    if len(texts) < LEAST_COMMENTS:
        return rest
    # A word of one comment alone, however often it was sent, makes no topic.
    weights = TfidfVectorizer(stop_words="english", sublinear_tf=True, token_pattern=_WORD,
                              min_df=2, max_features=2000)  # fmt: skip
    try:
        words = weights.fit(list(dict.fromkeys(texts))).transform(texts)
    except ValueError:  # no such word
        return rest
    told = np.asarray(words.sum(1)).ravel() > 0
    vectors = words[told].toarray()
    distinct = len(np.unique(vectors, axis=0))
    most = min(MOST_TOPICS, distinct, len(vectors) - 1)
    best = max(
        (KMeans(k, n_init=4, random_state=0).fit(vectors)
         for k in range(2, most + 1)),
        key=lambda one: silhouette_score(vectors, one.labels_),
        default=KMeans(1, n_init=1, random_state=0).fit(vectors),
    )  # fmt: skip
    vocabulary = weights.get_feature_names_out()
    groups, names, nearness = rest
    groups[told] = best.labels_
    nearness[told] = (vectors * best.cluster_centers_[best.labels_]).sum(1)
    for k, middle in enumerate(best.cluster_centers_):
        top = [int(i) for i in np.argsort(-middle)[:_NAMED_BY] if middle[i] > _TELLING]
        names[k] = ", ".join(str(vocabulary[i]) for i in top)
    return groups, names, nearness
