"""Rules of notes: how they are read, and what a plan becomes by them."""

from __future__ import annotations

import pytest

from chatspot_ros.core.tasks.plan import read_steps
from chatspot_ros.knowledge.index import NoteIndex
from chatspot_ros.knowledge.passages import passages_of
from chatspot_ros.knowledge.plan_rules import Asked, PlanRules, RuledPlan

SKILLS = ("open", "close", "pick", "place", "plug_in", "unplug", "turn_on", "turn_off", "fill")


def index_of(note: str) -> NoteIndex:
    return NoteIndex(passages_of(note, "n.md", markdown=True))


def ruled(note: str, plan: str, question: str = "Do it.", *names: str) -> RuledPlan:
    rules = PlanRules(index_of(note), SKILLS)
    return rules.apply(read_steps(plan, SKILLS)[0], Asked(question, names))


def said(plan: RuledPlan) -> str:
    return "; ".join(f"{step.action} {step.target}".strip() for step in plan.steps)


@pytest.mark.parametrize(
    ("note", "steps"),
    [
        ("Before open fridge: unplug fridge", "unplug fridge; open fridge; pick cola"),
        ("**Before you open the fridge:** unplug the fridge.",
         "unplug fridge; open fridge; pick cola"),
        ("* Before opening it look.\n* After you open the fridge: turn off the\n  stove. Wait.",
         "open fridge; turn_off stove; pick cola"),
        ("It is old. Before you open the\nfridge door: unplug the fridge. Then wait.",
         "unplug fridge; open fridge; pick cola"),
        ("To open the fridge:\n\n1. unplug the fridge\n2) open the fridge\n",
         "unplug fridge; open fridge; pick cola"),
        ("Before open: close drawer", "close drawer; open fridge; pick cola"),
        # Of another thing, of another skill, or no rule at all.
        ("Before you open the oven: unplug the oven", "open fridge; pick cola"),
        ("To open the fridge of the lab: unplug it", "open fridge; pick cola"),
        ("Before you leave: close the fridge", "open fridge; pick cola"),
        ("The fridge opens before noon: see the plan", "open fridge; pick cola"),
        ("Never close the fridge", "open fridge; pick cola"),
    ],
)  # fmt: skip
def test_rules_of_single_steps(note: str, steps: str) -> None:
    plan = ruled(note, "open fridge; pick cola")
    assert said(plan) == steps
    assert not plan.doubts
    assert bool(plan.used) == (steps != "open fridge; pick cola")


def test_a_step_that_the_plan_has_is_not_added_again() -> None:
    note = "Before open fridge: unplug fridge\n\nAfter open fridge: close fridge"
    plan = "unplug fridge; open fridge; pick cola; close fridge"
    assert said(ruled(note, plan)) == plan


@pytest.mark.parametrize("note", [
    "Never open the fridge.", "- **Do not open the fridge** until it is mended: its lamp",
    "Its lamp is broken. Don't open the fridge!",
])  # fmt: skip
def test_a_forbidden_step_refuses_the_plan(note: str) -> None:
    plan = ruled(note, "open fridge; pick cola")
    assert plan.refused
    assert plan.steps == []
    assert "n.md:1 forbids: open" in plan.doubts[0]


def test_no_skill_comes_out_of_a_note() -> None:
    plan = ruled("Before open fridge: lift the handle; unplug fridge", "open fridge")
    assert plan.refused
    assert plan.steps == []
    assert plan.doubts == ["n.md:1 wants what is no skill of this robot: lift the handle"]
    # Without a list of skills a note's words are no steps.
    free = PlanRules(index_of("Before open fridge: unplug fridge"), ())
    assert not free.apply(read_steps("open fridge", ())[0], Asked("x")).used


GOALS = """# Fridge
Ice grows at the back. To defrost the fridge: unplug the fridge; open the fridge.

To restart the fridge after an alarm: unplug the fridge; plug in the fridge.

The runners of the fridge's drawers are worn.
"""


@pytest.mark.parametrize(
    ("question", "steps"),
    [
        ("Defrost this.", "unplug fridge; open fridge"),
        ("It needs defrosting", "unplug fridge; open fridge"),
        ("Get the ice out of here", "unplug fridge; open fridge"),
        ("Restart it after this alarm", "unplug fridge; plug_in fridge"),
        ("How do I open this?", "close fridge"),
        ("Take the ice cream out of this, paint it, sell it, lend it", "close fridge"),
        ("Replace the worn runners", "close fridge"),
    ],
)
def test_a_goal_has_the_plan_of_its_note(question: str, steps: str) -> None:
    plan = ruled(GOALS, "close fridge", question, "fridge")
    assert said(plan) == steps
    assert plan.replaced == (steps != "close fridge")


def test_a_goal_of_another_thing_is_not_taken() -> None:
    assert not ruled(GOALS, "", "Defrost this.", "microwave").used


def test_a_note_cannot_make_a_plan_endless() -> None:
    many = ["; ".join(f"close {name}{k}" for k in range(30)) for name in ("a", "b", "c")]
    note = "\n\n".join(f"Before open fridge: {steps}" for steps in many)
    plan = ruled(note, "open fridge")
    assert plan.refused
    assert "more than" in plan.doubts[0]


@pytest.mark.parametrize("steps", [
    "; ".join(f"close box{k}" for k in range(40)), "close box " + "very " * 400,
])  # fmt: skip
def test_half_a_rule_is_not_followed(steps: str) -> None:
    plan = ruled(f"Before open fridge: {steps}", "open fridge")
    assert plan.refused
    assert plan.doubts[0] == "n.md:1 is too long to be followed"
