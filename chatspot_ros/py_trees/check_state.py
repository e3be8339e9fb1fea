"""A behaviour that looks whether things are in a state, such as `door: open`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from py_trees.common import Status

from chatspot_ros.errors import RequestError
from chatspot_ros.operators.client import Ask, OperatorClient
from chatspot_ros.py_trees.ask_region import AskRegion, AskSource, IfUnsure

STATE_QUESTION = "What is the state of this?"
Wanted = Mapping[str, str] | Callable[[], Mapping[str, str]]


class CheckState(AskRegion):
    """SUCCESS when every region is surely in the wanted state, RUNNING while asked, else FAILURE.

    An answer is sure if it is not marked uncertain, its confidence is at least `min_confidence`,
    and it tells every wanted attribute. What is not sure is looked at again, or is a FAILURE
    (`if_unsure`). `feedback_message` says what was seen, and what was wanted. `ask` needs regions
    alone: an empty question and an empty task become those of a state.

    Args:
        name: the behaviour's name.
        client: as in AskRegion.
        ask: as in AskRegion.
        wanted: such as {"door": "open"}, in the model's words; or what returns that at a look.
        min_confidence: in [0, 1]; what an answer's `confidence` must reach.
        only_told: True: attributes that an answer does not tell, because the picture does not
            show them, are not judged, as long as it tells one. False: they are not sure.
        result_key: as in AskRegion.
        timeout_s: as in AskRegion.
        if_unsure: as in AskRegion.
        looks: as in AskRegion.
    """

    def __init__(
        self,
        name: str,
        client: OperatorClient,
        ask: AskSource,
        wanted: Wanted,
        *,
        min_confidence: float = 0.7,
        only_told: bool = False,
        result_key: str = "region_result",
        timeout_s: float = 60.0,
        if_unsure: IfUnsure = "look_again",
        looks: int = 3,
    ) -> None:
        """Raises RequestError: as AskRegion; no state is wanted; a confidence outside [0, 1]."""
        super().__init__(
            name, client, ask, result_key=result_key, timeout_s=timeout_s,
            if_unsure=if_unsure, looks=looks,
        )  # fmt: skip
        if not callable(wanted) and not wanted:
            raise RequestError("CheckState wants no state", value=wanted,
                               remedy='give one, such as {"door": "open"}')  # fmt: skip
        if not 0.0 <= min_confidence <= 1.0:
            raise RequestError("min_confidence lies in [0, 1]", value=min_confidence,
                               remedy="0.7 is the default")  # fmt: skip
        self._wanted = wanted
        self._min_confidence = min_confidence
        self._only_told = only_told

    @property
    def wanted(self) -> Mapping[str, str]:
        """The wanted state, as it is now."""
        return self._wanted() if callable(self._wanted) else self._wanted

    def complete(self, ask: Ask) -> Ask:
        """Return the question with the words and the task of a state, where it has none."""
        return replace(ask, question=ask.question or STATE_QUESTION, task=ask.task or "state")

    def unsure(self, answers: Sequence[Any]) -> str:
        """Return why these answers are not sure; empty if they are."""
        if found := super().unsure(answers):
            return found
        for answer in answers:
            if answer.confidence < self._min_confidence:
                return (
                    f"{_told(answer)}, with confidence {answer.confidence:.2f} below "
                    f"{self._min_confidence:g}"
                )
            wanted = set(self.wanted)
            untold = wanted - {pair.key for pair in answer.state}
            if untold == wanted or (untold and not self._only_told):
                return f"{_told(answer)}: it does not tell {', '.join(sorted(untold))}"
        return ""

    def judge(self, answers: Sequence[Any]) -> tuple[Status, str]:
        """Return SUCCESS if all answers tell the wanted state, and what was seen."""
        wanted = self.wanted
        seen = "; ".join(f"{_told(answer)} ({answer.confidence:.2f})" for answer in answers)
        for answer in answers:
            state = {pair.key: pair.value for pair in answer.state}
            if any(state.get(key, value) != value for key, value in wanted.items()):
                said = ", ".join(f"{key}: {value}" for key, value in wanted.items())
                return Status.FAILURE, f"{seen}, wanted {said}"
        return Status.SUCCESS, seen


def _told(answer: Any) -> str:
    told = ", ".join(f"{pair.key}: {pair.value}" for pair in answer.state)
    return told or answer.text or "(no text)"
