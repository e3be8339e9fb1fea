"""POPE: is a thing in the image? Absent things are drawn at random, from the most frequent ones, or
from those that often occur together with the present ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from chatspot_train.evaluation.dataset_files import (
    checked,
    first_there,
    grouped_by_image,
    malformed,
    need_some,
    read_json_lines,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    JudgingSuite,
    Prediction,
    Report,
    markdown,
    need,
)

FILES = ("random", "popular", "adversarial")
MEASURES = ("accuracy", "precision", "recall", "f1", "yes_ratio")
_NO = {"No", "not", "no"}


def says_yes(text: str) -> bool:
    """POPE's own rule: False if the first sentence, without commas, has the word No, not or no.
    Any other answer, even an empty one, means yes."""
    return not _NO & set(text.split(".")[0].replace(",", "").split(" "))


@register
class PopeSuite(JudgingSuite):
    """Three files of yes/no questions.

    The names of the files begin with `prefix`; `images` is the folder of images.
    """

    name = "pope"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "random_accuracy": "accuracy, random",
        "popular_accuracy": "accuracy, popular",
        "adversarial_accuracy": "accuracy, adversarial",
    }

    def __init__(
        self,
        files: Sequence[str] = FILES,
        prefix: str = "coco_pope",
        images: str = "val2014",
    ) -> None:
        self.files, self.prefix, self.images = tuple(files), prefix, images

    @property
    def wants(self) -> str:
        """See Suite."""
        names = ", ".join(f"{self.prefix}_{name}.json" for name in self.files)
        return (f"give --data a folder with {names} (from RUCAIBox/POPE, output/coco) and COCO's "
                f"pictures in {self.images}/")  # fmt: skip

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite."""
        return {"random_accuracy": 0.914}

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; image by image across the files."""
        entries: list[tuple[str, tuple[str, dict[str, Any]]]] = []
        for name in self.files:
            path = first_there(data, self._places(name), self.wants)
            for entry in read_json_lines(path, self.wants):
                checked(entry, ("question_id", "image", "text", "label"), path, self.wants)
                if entry["label"] not in ("yes", "no"):
                    raise malformed(path, f"the label {entry['label']!r}", self.wants)
                entries.append((str(entry["image"]), (name, entry)))
            need_some(entries, path, self.wants)
        for name, entry in grouped_by_image(sample(entries, limit, seed)):
            image = need(data / self.images / str(entry["image"]), self.wants)
            truth = {"file": name, "label": entry["label"]}
            turn = AskedTurn(str(entry["text"]))
            yield Item(f"{name}/{entry['question_id']}", image, (turn,), truth)

    def _places(self, name: str) -> tuple[str, ...]:
        file = f"{self.prefix}_{name}.json"
        return file, f"coco/{file}", f"output/coco/{file}"

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """See JudgingSuite."""
        return [
            not p.error and says_yes(p.text) == (p.truth["label"] == "yes") for p in predictions
        ]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """Parts of `random_accuracy`, ..., and over all files of `accuracy`, ...

        A missing answer is neither yes nor no, and wrong.
        """
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for p, right in zip(predictions, self.right(predictions), strict=True):
            said, true = not p.error and says_yes(p.text), p.truth["label"] == "yes"
            found = {
                "accuracy": (right, 1), "precision": (said and true, said),
                "recall": (said and true, true), "f1": (2 * (said and true), said + true),
                "yes_ratio": (said, 1),
            }  # fmt: skip
            for measure, (numerator, denominator) in found.items():
                for row in (f"{p.truth['file']}_{measure}", measure):
                    parts[row][p.key] = (float(numerator), float(denominator))
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Accuracy; precision, recall and F1 of yes; the share of yes."""
        rows = self.rows(predictions)
        asked = [name for name in FILES if any(p.truth["file"] == name for p in predictions)]
        lines = [
            [name, *(rows[f"{name}_{measure}"]["value"] for measure in MEASURES),
             self.paper.get(f"{name}_accuracy", "-")]
            for name in asked
        ]  # fmt: skip
        lines.append(["all", *(rows[measure]["value"] for measure in MEASURES), "-"])
        table = markdown(
            ["POPE", "accuracy", "precision", "recall", "F1", "yes ratio", "paper"], lines
        )
        return Report(rows, f"{table}\n\nThe paper gives one number, for the random file.")
