"""Apply the rules of notes to a robot's plan. No step can come of it that is no skill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chatspot_ros.core.tasks import Step
from chatspot_ros.knowledge.index import NoteIndex
from chatspot_ros.knowledge.rules import Rule, RuleKind, is_about, step_of
from chatspot_ros.knowledge.words import content_words, share_of

MAX_PLAN_STEPS = 64
# A goal in other words than its rule's: these shares of the question's own words must be in the
# rule's passage: of all of them, and of those that are in any note.
LEAST_SHARE, LEAST_KNOWN_SHARE = 0.3, 0.6


@dataclass
class RuledPlan:
    """A plan after the rules: its steps, the rules used, and why it must not be done as it is.

    `replaced`: all of it is a goal's own rule; `asked`: so it is, or a rule is about the very step
    that was asked for; `refused`: it has no steps, for the `doubts`.
    """

    steps: list[Step]
    used: list[Rule] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    refused: bool = False
    replaced: bool = False
    asked: bool = False


@dataclass(frozen=True)
class Asked:
    """What a plan is for: the question, and the names of the things that it is about."""

    question: str
    names: tuple[str, ...] = ()


class PlanRules:
    """The rules of an index, read for the skills of one robot."""

    def __init__(self, index: NoteIndex, skills: Sequence[str]) -> None:
        self._index, self._skills = index, tuple(skills)
        self._skill_words = content_words(*skills)
        self._on_steps: list[tuple[Rule, Step]] = []
        self._goals: list[tuple[Rule, frozenset[str]]] = []
        for rule in index.rules if self._skills else ():
            step = step_of(rule.about, self._skills)
            if step is not None:
                self._on_steps.append((rule, step))
            elif rule.kind is RuleKind.TO and (words := content_words(rule.about)):
                self._goals.append((rule, words))

    def apply(self, steps: Sequence[Step], asked: Asked) -> RuledPlan:
        """Return a plan as the notes want it.

        A goal's own rule replaces the plan; then the rules of single steps add, replace and forbid.
        Where a rule names what is no skill, the plan has no steps and a doubt; so it has where a
        step is forbidden.
        """
        plan = RuledPlan(list(steps))
        goal = self._goal(asked)
        if goal is not None:
            plan.steps, plan.replaced = self._steps_of(goal, plan), True
        done: list[Step] = []
        for step in plan.steps:
            done += self._around(step, done, plan)
        plan.steps = done[:MAX_PLAN_STEPS]
        if len(done) > MAX_PLAN_STEPS:
            plan.doubts.append(f"the notes make it more than {MAX_PLAN_STEPS} steps")
        for rule, about in self._on_steps:
            never = rule.kind is RuleKind.NEVER
            if never and any(is_about(rule.kind, about, step) for step in plan.steps):
                plan.used.append(rule)
                plan.doubts.append(f"{rule.source} forbids: {about.action} {about.target}".rstrip())
        query = content_words(asked.question, *asked.names)
        plan.asked = plan.replaced or any(content_words(one.about) <= query for one in plan.used)
        if plan.doubts:
            plan.steps, plan.refused = [], True
        return plan

    def _around(self, step: Step, done: list[Step], plan: RuledPlan) -> list[Step]:
        """Return a step with those before and after it, or those in its place."""
        before: list[Step] = []
        after: list[Step] = []
        own = [step]
        for rule, about in self._on_steps:
            if rule.kind is RuleKind.NEVER or not is_about(rule.kind, about, step):
                continue
            extra = self._steps_of(rule, plan)
            if rule.kind is RuleKind.TO:
                own = extra
            elif rule.kind is RuleKind.BEFORE:
                before += [one for one in extra if not _is_in(one, (*done, *before))]
            else:
                after += [one for one in extra if not _is_in(one, after)]
        return [*before, *own, *(one for one in after if not _is_in(one, plan.steps))]

    def _steps_of(self, rule: Rule, plan: RuledPlan) -> list[Step]:
        """Return a rule's steps; those that are no skill become a doubt of the plan."""
        if rule not in plan.used:
            plan.used.append(rule)
        if rule.cut and (doubt := f"{rule.source} is too long to be followed") not in plan.doubts:
            plan.doubts.append(doubt)
        read = [(text, step_of(text, self._skills)) for text in rule.steps]
        for text, step in read:
            if step is None:
                doubt = f"{rule.source} wants what is no skill of this robot: {text}"
                plan.doubts += [] if doubt in plan.doubts else [doubt]
        return [step for _, step in read if step is not None]

    def _goal(self, asked: Asked) -> Rule | None:
        """Return the rule of the goal that is asked for: in its words, else in the note's words."""
        named = content_words(*asked.names)
        query = content_words(asked.question) | named
        inside = [(len(words), rule) for rule, words in self._goals if words <= query]
        if inside:
            return max(inside, key=lambda one: one[0])[1]
        own = content_words(asked.question) - named - self._skill_words
        if not own:
            return None  # it asks for a skill of a thing
        things = named or query
        best: tuple[float, Rule | None] = (0.0, None)
        for found in self._index.search(" ".join((asked.question, *asked.names))):
            said = self._index.words_of(found.passage)
            share, known = share_of(own, said), share_of(own & self._index.words, said)
            if share < max(LEAST_SHARE, best[0]) or known < LEAST_KNOWN_SHARE:
                continue
            rules = (r for r, words in self._goals if r.passage is found.passage and words & things)
            rule = next(rules, None)
            if rule is not None and share > best[0]:
                best = share, rule
        return best[1]


def _is_in(step: Step, steps: Sequence[Step]) -> bool:
    return any(
        one.action == step.action and one.target.lower() == step.target.lower() for one in steps
    )
