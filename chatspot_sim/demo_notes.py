"""The demo's further question: a plan that only a note tells, without the notes and with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chatspot_ros.core.regions import Region
from chatspot_ros.util.resources import bundled_notes
from chatspot_sim.asking import clear_things
from chatspot_sim.demo_client import DemoError, Moment, Planner, request_fields
from chatspot_sim.truth import Thing, Truth

PARAMETER = "knowledge"
# Kind of thing -> the question, and the steps as examples/notes has them.
QUESTIONS = {
    "kettle": ("How do I descale this?", "turn_on tap; fill kettle; turn_off tap; empty kettle"),
    "fridge": ("How do I defrost this?", "unplug fridge; open fridge"),
    "mug": ("How do I rinse this?", "turn_on tap; fill mug; turn_off tap; empty mug"),
    "stove": ("How do I test this?", "turn_on stove; turn_off stove"),
    "tap": ("How do I flush this on Monday morning?", "turn_on tap; turn_off tap"),
}


@dataclass(frozen=True)
class LookedUp:
    """A question asked twice: the steps without the notes and with them, and the notes used."""

    question: str
    without: str
    steps: str
    truth: str
    sources: tuple[str, ...]

    @property
    def right(self) -> bool:
        """True if the steps are the note's, and a note is named."""
        return self.steps == self.truth and bool(self.sources)

    def __str__(self) -> str:
        told = f"with the notes of examples/notes: {self.steps or 'no steps'}"
        named = f"({', '.join(self.sources) or 'no note'})"
        wrong = "" if self.right else f"; the note says: {self.truth}"
        return f"{self.question} without notes: {self.without or 'no steps'}; {told} {named}{wrong}"


def ask_with_notes(planner: Planner, moment: Moment, say: Callable[[str], None]) -> LookedUp | None:
    """Ask about a thing that the notes tell of; None: the picture shows none.

    The node looks nothing up before and after. Raises DemoError.
    """
    thing = _noted_thing(moment.truth)
    if thing is None:
        say("the picture shows nothing that the notes tell of")
        return None
    question, truth = QUESTIONS[thing.name]
    say(f"asking one more, without notes and with them: {question}")
    without = _plan(planner, question, thing, moment)
    planner.set_parameter(PARAMETER, str(bundled_notes()))
    try:
        answer = _plan(planner, question, thing, moment)
    finally:
        planner.set_parameter(PARAMETER, "")
    return LookedUp(question, _steps(without), _steps(answer), truth, tuple(answer.sources))


def _noted_thing(truth: Truth) -> Thing | None:
    clear = clear_things(truth)
    return next((one for kind in QUESTIONS for one in clear if one.name == kind), None)


def _plan(planner: Planner, question: str, thing: Thing, moment: Moment) -> Any:
    region = Region.box(*thing.box_xyxy_px)
    reply = planner.query(
        **request_fields(question, (region,), task="plan", stamp_ns=moment.stamp_ns)
    )
    if not reply.ok or len(reply.message.answers) != 1:
        raise DemoError(f"no plan came: {reply.message.message or 'no answer'}")
    return reply.message.answers[0]


def _steps(answer: Any) -> str:
    return "; ".join(f"{step.action} {step.target}".strip() for step in answer.steps)
