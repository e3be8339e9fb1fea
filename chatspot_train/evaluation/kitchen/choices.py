"""Questions with choices about kitchens: yes or no, and the two values of a state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chatspot_ros.core.regions import Region
from chatspot_ros.core.skills import read_states
from chatspot_ros.core.tasks import States
from chatspot_ros.engine.api import Question
from chatspot_sim.asking import Asker, KitchenQuestion
from chatspot_sim.judging import judge
from chatspot_sim.questions import YES_NO, yes_no_text
from chatspot_sim.truth import Thing, Truth
from chatspot_sim.wordings import Wordings

_RNG_KEY = 29
YES_OR_NO = ("yes", "no")


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question about a thing's attribute. `kind` is yes_no or value, `true` the index of the
    right one of its choices, `fact` what a right free answer says, as `door: open`."""

    kind: str
    question: Question
    true: int
    fact: str
    asked: KitchenQuestion

    def is_right(self, text: str, truth: Truth) -> bool:
        """Return whether a free answer is right."""
        if self.kind == "value":
            return self.fact in [part.strip() for part in text.split(",")]
        return judge(self.asked, text, truth.width, truth.height)


def choice_questions(
    truth: Truth, number: int, wordings: Wordings, states: States | None = None
) -> Iterator[ChoiceQuestion]:
    """Yield two questions about every state of every clear thing of kitchen `number`."""
    ask = Asker(truth, np.random.default_rng([number, _RNG_KEY]), wordings)
    known = states or read_states("states.yaml")
    for thing in ask.asked_things():
        for attribute, value in thing.state.items():
            region = (ask.region(thing),)
            yield _yes_no(ask, thing, attribute, region)
            values = tuple(known[attribute])
            text = ask.worded("state", tuple(thing.state.values()), thing=thing.name)[0]
            asked = KitchenQuestion("state", text, "", region, "")
            question = Question(text, region, choices=values)
            fact = f"{attribute}: {value}"
            yield ChoiceQuestion("value", question, values.index(value), fact, asked)


def _yes_no(ask: Asker, thing: Thing, attribute: str, region: tuple[Region, ...]) -> ChoiceQuestion:
    wording, yes = YES_NO[attribute]
    text, sense = ask.worded(wording, thing=thing.name)
    while sense.either:
        text, sense = ask.worded(wording, thing=thing.name)
    answer = yes_no_text(attribute, thing.state[attribute], yes, sense)
    said, _, fact = answer.partition(", ")
    asked = KitchenQuestion("yes_no", text, "", region, answer, thing=thing.id)
    question = Question(text, region, choices=YES_OR_NO)
    return ChoiceQuestion("yes_no", question, YES_OR_NO.index(said), fact, asked)
