"""Renames a detector's boxes by the model's answers."""

from __future__ import annotations

from collections.abc import Mapping

from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
)

from chatspot_ros.core.answer_parser import Answer

_NAME_CHARS = 200
_ARTICLES = ("a ", "an ", "the ")


def relabel(message: Detection2DArray, answers: Mapping[int, Answer]) -> Detection2DArray:
    """Return a copy of a detector's message with the names of the answers, by detection index.

    The first hypothesis of a renamed detection is the detector's best one, score and pose included,
    under the model's name. The second is the same one under the detector's own name, with score 0
    so that it is never the best. The others follow. A detection without a certain answer stays
    unchanged; box, id and header of all stay unchanged.
    """
    changed = Detection2DArray(header=message.header)
    for index, detection in enumerate(message.detections):
        answer = answers.get(index)
        name = "" if answer is None or answer.uncertain else to_name(answer.text)
        changed.detections.append(
            _renamed(detection, name, answer.confidence) if answer and name else detection
        )
    return changed


def _renamed(detection: Detection2D, name: str, confidence: float) -> Detection2D:
    results = list(detection.results)
    best = max(results, key=lambda result: result.hypothesis.score, default=None)
    if best is None:
        hypothesis = ObjectHypothesis(class_id=name, score=float(confidence))
        named = [ObjectHypothesisWithPose(hypothesis=hypothesis)]
    else:
        results.remove(best)
        named = [
            ObjectHypothesisWithPose(
                hypothesis=ObjectHypothesis(class_id=class_id, score=score), pose=best.pose
            )
            for class_id, score in (
                (name, best.hypothesis.score),
                (best.hypothesis.class_id, 0.0),
            )
        ]
    return Detection2D(
        header=detection.header, results=[*named, *results], bbox=detection.bbox, id=detection.id
    )


def to_name(text: str) -> str:
    """Return an answer's text as a name: `A red mug.` becomes `red mug`."""
    name = " ".join(text.split()).rstrip(".!")
    for article in _ARTICLES:
        if name.lower().startswith(article):
            name = name[len(article) :]
    return name[:_NAME_CHARS].strip()
