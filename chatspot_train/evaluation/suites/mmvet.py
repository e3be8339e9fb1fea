"""MM-Vet: open questions that each need several capabilities, graded 0 to 1 by a language model.

The predictions are written for the benchmark's own grader. The grader here asks an
OpenAI-compatible endpoint and keeps its grades in the same layout, so a stopped run resumes.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from chatspot_train.evaluation.dataset_files import (
    checked,
    first_there,
    malformed,
    need_some,
    read_json,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    Option,
    Prediction,
    Report,
    Suite,
    SuiteOptionError,
    markdown,
    need,
)
from chatspot_train.evaluation.suites.mmvet_grading import (
    Grader,
    check_grader,
    grade_all,
    read_grades,
)

PAPER_TOTAL = 0.375
EXPORTED = "mmvet.json"
GRADES = "grades.json"
CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")


@register
class MmVetSuite(Suite):
    """MM-Vet's questions. `task` is the task of all; if empty, each question's wording decides.

    Only graded predictions are scored: by `grader`, or by an earlier run's grades.
    """

    name = "mmvet"
    wants = "give --data a folder with mm-vet.json and images/ (mm-vet.zip of yuweihao/MM-Vet)"
    options = (
        Option("grade", "the address of an OpenAI-compatible endpoint that grades the answers"),
        Option("grader", "the grading model's name at that endpoint"),
        Option("grade_runs", "how often to grade each answer (default: 1)", int),
    )

    def __init__(self, task: str = "", grader: Grader | None = None) -> None:
        self.task, self.grader = task, grader

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        endpoint, model = options.get("grade"), options.get("grader")
        if not endpoint and not model:
            return cls()
        if not endpoint or not model:
            raise SuiteOptionError(
                "a grader needs an endpoint and a model",
                value=endpoint or model,
                remedy="give both --grade and --grader",
            )
        runs = options.get("grade_runs")
        if runs is not None and runs < 1:
            raise SuiteOptionError(
                "answers cannot be graded this often", value=runs, remedy="give --grade-runs 1"
            )
        return cls(grader=Grader(endpoint, model, runs or 1))

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite."""
        return {"total": PAPER_TOTAL}

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite."""
        path = first_there(data, ("mm-vet.json", "mm-vet/mm-vet.json"), self.wants)
        entries = read_json(path, self.wants)
        if not isinstance(entries, dict):
            raise malformed(path, "it is no object of questions", self.wants)
        need_some(list(entries), path, self.wants)
        for key, entry in sample(list(entries.items()), limit, seed):
            checked(entry, ("imagename", "question", "answer", "capability"), path, self.wants)
            image = need(path.parent / "images" / entry["imagename"], self.wants)
            told = {name: entry[name] for name in ("question", "answer")}
            needs = sorted(set(entry["capability"]))
            truth = {**told, "capability": needs}
            yield Item(key, image, (AskedTurn(entry["question"], task=self.task),), truth)

    def begin(self, out: Path, fresh: bool) -> None:
        """Drop the kept grades if `fresh`. Raises OtherGraderError for those of another grader."""
        file = out / GRADES
        if fresh:
            file.unlink(missing_ok=True)
        elif self.grader is not None:
            check_grader(read_grades(file), self.grader.identity, file)

    def export(self, predictions: Sequence[Prediction], out: Path) -> None:
        """Write the predictions for MM-Vet's own grader; ask this suite's grader, if any.

        Raises EndpointError, AskError.
        """
        write_predictions(predictions, out / EXPORTED)
        if self.grader is not None:
            asyncio.run(grade_all(predictions, self.grader, out / GRADES))

    def judged(self, predictions: Sequence[Prediction], out: Path) -> list[Prediction]:
        """Return the predictions with the grades kept in `out`, if any."""
        return with_grades(predictions, read_grades(out / GRADES))

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite; a prediction without a grade has no parts."""
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for p in predictions:
            if "grade" in p.truth:
                for row in ("total", *p.truth["capability"]):
                    parts[row][p.key] = (float(p.truth["grade"]), 1.0)
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Mean grade of all questions and by capability."""
        rows = self.rows(predictions)
        missing = sum("grade" not in p.truth for p in predictions)
        names = [name for name in (*CAPABILITIES, "total") if name in rows]
        names += sorted(set(rows) - set(names))
        lines = [[name, rows[name]["n"], rows[name]["value"],
                  self.paper.get(name, "-")] for name in names]  # fmt: skip
        table = markdown(["MM-Vet", "questions", "ours", "paper"], lines)
        graders = sorted({p.truth["grader"] for p in predictions if p.truth.get("grader")})
        if graders:
            table += f"\n\nGraded by {', '.join(graders)}."
        if missing:
            table += f"\n\n{missing} of {len(predictions)} answers are not graded and not counted."
        return Report(rows, table)


def write_predictions(predictions: Sequence[Prediction], file: Path) -> None:
    """Write `{"v1_0": "answer", ...}` for MM-Vet's own grader."""
    answers = {p.key: p.text for p in predictions}
    file.write_text(json.dumps(answers, ensure_ascii=False, indent=1), encoding="utf-8")


def with_grades(predictions: Sequence[Prediction], grades: Mapping[str, Any]) -> list[Prediction]:
    """Put each grade, the mean of its runs, into its prediction's truth as `grade`, with the
    grading model's name as `grader`.

    A grade of another answer than the prediction's text is left out.
    """
    graded = []
    for p in predictions:
        known = grades.get(p.key, {})
        scores = known.get("score", []) if known.get("prediction", [p.text]) == [p.text] else []
        more: dict[str, Any] = {"grade": sum(scores) / len(scores)} if scores else {}
        if scores and known.get("grader"):
            more["grader"] = known["grader"]["model"]
        graded.append(replace(p, truth={**p.truth, **more}))
    return graded
