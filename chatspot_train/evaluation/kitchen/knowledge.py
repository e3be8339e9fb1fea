"""Knowledge: plans that only a note tells, on simulated kitchens, with the notes and without.

The questions are in config/evaluation/knowledge.yaml, the notes in examples/notes.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from chatspot_ros.core.tasks.plan import read_steps
from chatspot_ros.knowledge.folder import NotesFolder
from chatspot_ros.knowledge.rules import RuleKind
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_ros.util.resources import bundled_notes, share_folder
from chatspot_sim.actions import ACTIONS
from chatspot_sim.asking import Asker
from chatspot_sim.goals import goals
from chatspot_sim.truth import Thing, Truth
from chatspot_sim.unseen_wordings import TEST
from chatspot_train.evaluation.kitchen.render import render_kitchens, truth_of
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.report import headline_table
from chatspot_train.evaluation.suite import AskedTurn, Item, JudgingSuite, Prediction, Report, need

KITCHENS = 60
NOTED = (
    "goal",
    "other_words",
    "held_out",
    "rule",
    "forbidden",
)  # kinds of questions that need a note
_RNG_KEY = 818


@register
class KnowledgeSuite(JudgingSuite):
    """Plans and descriptions, each asked with the notes and with nothing looked up.

    Plans that need a note are asked a third time where that note is missing and the others are
    there, with `needs_note`. Without a limit KITCHENS kitchens of `test` are asked; the seed draws
    the wordings. Only the rows of NOTED count their answers as right or wrong by a note.
    """

    name = "knowledge"
    headline: ClassVar[Mapping[str, str]] = {
        "plan_with_note": "plans that need a note, with it: the steps are right and its file named",
        "plan_off": "the same questions, nothing looked up: right steps",
        "plan_without_note": "the same questions, that note missing: marked uncertain",
        "plan_goal": "with the note: its goal, in its words",
        "plan_other_words": "with the note: its goal, in other words",
        "plan_held_out": "with the note: its goal, in words whose answers were not looked at",
        "plan_rule": "with the note: a step more, which it wants",
        "plan_forbidden": "with the note: no steps and a mark, as it forbids one",
        "plan_plain": "plans that no note is about, with the notes: right steps, no source",
        "plan_plain_off": "the same, nothing looked up: right steps",
        "plan_near_miss": "a note is about the thing, but answers something else: not taken",
        "describe_with_note": "descriptions, with the notes: names the thing's note first, or none",
    }
    makes_data = True
    wants = "nothing: its images are rendered, its notes and questions are bundled"

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; `limit` counts kitchens. Raises RenderError, MissingDataError."""
        told = load_yaml(need(share_folder() / "config/evaluation/knowledge.yaml", "reinstall"))
        rules = NotesFolder(str(bundled_notes())).index().rules
        told["places"] = [rule.source for rule in rules if rule.kind is RuleKind.TO]
        without = _folders_without(data, set(told["notes"].values()))
        for number, picture in enumerate(render_kitchens(data, "test", limit or KITCHENS)):
            rng = np.random.default_rng([number, _RNG_KEY, seed])
            questions = _questions(Asker(truth_of(picture), rng, TEST, shape="box"), told)
            for k, (turn, truth) in enumerate(questions):
                yield from _arms(f"{number}-{k}-{truth['kind']}", picture, turn, truth, without)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """See JudgingSuite."""
        return [not p.error and _is_right(p) for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite."""
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for p, right in zip(predictions, self.right(predictions), strict=True):
            kind, arm = p.truth["kind"], p.truth["arm"]
            if kind not in NOTED:
                named = "describe_with_note" if kind == "describe" else f"plan_{kind}"
                rows = [f"{named}_off" if arm == "off" else named]
            else:
                rows = [{"with": "plan_with_note", "off": "plan_off"}.get(arm, "plan_without_note")]
                rows += [f"plan_{kind}"] if arm == "with" else []
            for row in rows:
                parts[row][p.key] = (float(right), 1.0)
        return {row: parts[row] for row in self.headline if row in parts}

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """See Suite."""
        rows = self.rows(predictions)
        return Report(rows, headline_table(rows, self.headline))


def _folders_without(data: Path, files: set[str]) -> dict[str, Path]:
    """Write a folder without each of the notes, all others in it; return them by that note."""
    folders = {}
    for file in sorted(files):
        folder = data / "notes_without" / Path(file).stem
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bundled_notes(), folder, ignore=shutil.ignore_patterns(file))
        folders[file] = folder
    return folders


def _arms(
    key: str, picture: Path, turn: AskedTurn, truth: dict[str, Any], without: Mapping[str, Path]
) -> Iterator[Item]:
    """Yield a question with the notes, with nothing looked up, and with its own note missing."""
    arms = {"with": (str(bundled_notes()), False)}
    if truth["kind"] in (*NOTED, "plain"):
        arms["off"] = ("", False)
    if truth["kind"] in NOTED:
        arms["without"] = (str(without[truth["file"]]), True)
    for arm, (folder, needs) in arms.items():
        asked = AskedTurn(turn.question, turn.regions, turn.task, "", folder, needs)
        yield Item(f"{key}-{arm}", picture, (asked,), {**truth, "arm": arm})


def _questions(ask: Asker, told: dict[str, Any]) -> Iterator[tuple[AskedTurn, dict[str, Any]]]:
    """Draw the questions about one kitchen, each with its truth."""
    things = ask.asked_things()
    for goal in told["goals"]:
        thing = ask.pick([one for one in things if one.name == goal["thing"]])
        for kind, key in (("goal", "asked"), ("other_words",) * 2, ("held_out",) * 2):
            if thing is not None:
                text = _drawn(ask, goal[key])
                truth = {"kind": kind, "steps": goal["steps"], "file": goal["file"]}
                yield AskedTurn(text, (ask.region(thing),), "plan"), truth
    for miss in told["near_misses"]:
        thing = ask.pick([one for one in things if one.name == miss["thing"]])
        if thing is not None:
            truth = {"kind": "near_miss", "steps": "", "file": "", "wrong": told["places"]}
            yield AskedTurn(_drawn(ask, miss["asked"]), (ask.region(thing),), "plan"), truth
    ruled = {rule["before"]: rule for rule in told["rules"]}
    for thing in things:
        for question, steps in _plain_plans(ask, thing, ask.truth):
            rules = [ruled[step] for step in steps if step in ruled]
            truth = {"kind": "plain", "steps": "; ".join(steps), "file": ""}
            if rules:
                truth = _with_rule(steps, rules[0])
            yield question, truth
    thing = ask.pick(things)
    if thing is not None:
        text = ask.word("describe")
        truth = {"kind": "describe", "steps": "", "file": told["notes"].get(thing.name, "")}
        yield AskedTurn(text, (ask.region(thing),), "describe"), truth


def _drawn(ask: Asker, wordings: Sequence[str]) -> str:
    return wordings[int(ask.rng.integers(len(wordings)))]


def _plain_plans(ask: Asker, thing: Thing, truth: Truth) -> Iterator[tuple[AskedTurn, list[str]]]:
    """Yield one plan that the picture alone gives for a thing, if it has any that needs steps."""
    found = [goal for goal in goals(thing, truth) if goal[2]]
    if found:
        wording, content, steps = found[int(ask.rng.integers(len(found)))]
        text = ask.word(wording, thing=thing.name, content=content)
        yield AskedTurn(text, (ask.region(thing),), "plan"), steps


def _with_rule(steps: list[str], rule: dict[str, str]) -> dict[str, Any]:
    """Return the truth of a plan to which a rule adds steps, or that it forbids."""
    if not rule["steps"]:
        return {"kind": "forbidden", "steps": "", "file": rule["file"]}
    at = steps.index(rule["before"])
    more = [*steps[:at], rule["steps"], *steps[at:]]
    return {"kind": "rule", "steps": "; ".join(more), "file": rule["file"]}


def _is_right(p: Prediction) -> bool:
    kind, arm, file = p.truth["kind"], p.truth["arm"], p.truth["file"]
    files = [source.partition(":")[0] for source in p.sources]
    if kind == "describe":
        return files[:1] == ([file] if file else [])
    if arm == "without":
        return p.uncertain
    if kind == "near_miss":
        return not set(p.sources) & set(p.truth["wrong"])
    named = arm == "off" or file in files or (not file and not files)
    if kind == "forbidden":
        return named and p.uncertain and not p.steps
    said = tuple((action, target.lower()) for action, target in p.steps)
    return named and not p.uncertain and said == _steps(p.truth["steps"])


def _steps(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((step.action, step.target) for step in read_steps(text, ACTIONS)[0])
