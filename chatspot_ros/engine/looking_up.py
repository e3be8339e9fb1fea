"""Look up what a folder of notes says of plans and descriptions, before and behind the model.

Before it, the passages about the asked thing are found; a chat model is told of them. Behind it,
the notes' rules are applied to the plan's steps, whichever model wrote it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.prompts import MAX_NOTES
from chatspot_ros.core.regions import Region
from chatspot_ros.core.task_router import route
from chatspot_ros.engine.api import Batch, Question, Reply, ShouldStop
from chatspot_ros.engine.look_first import ask_first
from chatspot_ros.knowledge.files import NotesError
from chatspot_ros.knowledge.folder import NotesFolder
from chatspot_ros.knowledge.index import Embed, NoteIndex
from chatspot_ros.knowledge.looked_up import LookedUp
from chatspot_ros.knowledge.passages import Passage
from chatspot_ros.knowledge.plan_rules import Asked, PlanRules, RuledPlan
from chatspot_ros.knowledge.words import content_words

NO_NOTE = "no note was found for this: look it up before acting on it"
_TASKS = ("plan", "describe")
_MAX_NAMED = 4
_MAX_FOLDERS = 4
# A passage that fits far worse than the best one is about something else.
_LEAST_OF_BEST = 0.3
_SHEETS = r"(?:notes?|manual|instructions?|house rules?|rules?|handbook|guide|procedure|leaflet)"
_OUR = r"(?:the|our|its|your|my)"
_ASKS_FOR_NOTE = re.compile(
    rf"\b(?:according to|as in|as per|following|follow|by|per)\s+{_OUR}\s+{_SHEETS}\b"
    rf"|\b(?:as|what|how|the way)\s+{_OUR}\s+{_SHEETS}\s+(?:say|tell|want|ask|read)",
    re.IGNORECASE,
)


def is_looked_up(question: Question) -> bool:
    """Return whether notes are wanted for a question: a plan or a description, and a folder."""
    wanted = question.task or (not question.choices and route(question.text))
    return bool(question.knowledge) and wanted in _TASKS


def name_things(
    batch: Batch, questions: Sequence[Question], should_stop: ShouldStop | None = None
) -> Generator[Batch, None, list[Question]]:
    """Ask what the regions are of questions that are looked up, a step of the batch at a time;
    return the questions with the names. A detector's label is taken for the name.

    Raises what `Batch.step` raises.
    """
    asked = list(questions)
    wanted: list[tuple[int, Region]] = []
    for number, question in enumerate(questions):
        if not is_looked_up(question) or question.names:
            continue
        regions = [one for one in question.regions if one.points_px][:_MAX_NAMED]
        labels = tuple(one.label for one in regions if one.label)
        asked[number] = replace(question, names=labels)
        wanted += [(number, one) for one in regions if not one.label]
    if not wanted:
        return asked
    names_of = [_name_of(questions[number], region) for number, region in wanted]
    replies = yield from ask_first(batch, names_of, should_stop)
    for (number, _), reply in zip(wanted, replies, strict=True):
        if reply.answer.text and not reply.answer.uncertain:
            names = (*asked[number].names, reply.answer.text)
            asked[number] = replace(asked[number], names=names)
    return asked


def _name_of(question: Question, region: Region) -> Question:
    return replace(
        question, text="What is this?", task="", regions=(region,), hint="", turns=(),
        knowledge="", max_new_tokens=None, reasoning_tokens=None, choices=(), json_schema="",
    )  # fmt: skip


class LookUp:
    """Looks questions up for one model and one robot's skills; keeps the indexes of folders."""

    def __init__(self, skills: Sequence[str], told: bool, embed: Embed | None = None) -> None:
        """`told`: the model reads passages in its prompt; `embed` as for NoteIndex."""
        self._skills, self._told, self._embed = tuple(skills), told, embed
        self._folders: OrderedDict[str, NotesFolder] = OrderedDict()
        self._rules: tuple[NoteIndex, PlanRules] | None = None

    def fill(
        self, questions: Sequence[Question], check: Callable[[], object] | None = None
    ) -> list[Question]:
        """Return the questions with what the notes say of them.

        `check` is called while the notes are read for the first time; what it raises goes through.
        """
        return [self._found(one, check) if is_looked_up(one) else one for one in questions]

    def _found(self, question: Question, check: Callable[[], object] | None) -> Question:
        try:
            index = self._folder(question.knowledge).index(check)
        except NotesError as error:
            return replace(question, looked_up=LookedUp(NoteIndex(), fault=str(error)))
        return replace(question, looked_up=LookedUp(index, _about(index, question)))

    def _folder(self, folder: str) -> NotesFolder:
        if folder not in self._folders:
            self._folders[folder] = NotesFolder(folder, self._embed)
            while len(self._folders) > _MAX_FOLDERS:
                self._folders.popitem(last=False)
        self._folders.move_to_end(folder)
        return self._folders[folder]

    def complete(self, question: Question, reply: Reply) -> Reply:
        """Return a reply with the notes' share in it: the steps, the sources, the doubts."""
        found = question.looked_up
        if found is None:
            return reply
        answer, doubts = reply.answer, [found.fault] if found.fault else []
        told = found.passages if self._told or reply.task == "describe" else ()
        used, served = [(one.place(), one) for one in told], bool(told)
        if reply.task == "plan" and not found.fault:
            answer, plan = self._ruled(found.index, question, answer)
            used = [*((rule.source, rule.passage) for rule in plan.used), *used]
            doubts, served = [*doubts, *plan.doubts], served or plan.asked
        needs = question.needs_note and reply.task == "plan"
        needs = needs or bool(_ASKS_FOR_NOTE.search(question.text))
        if needs and not doubts and not served:
            doubts.append(NO_NOTE)
        places = dict(used)
        answer = replace(
            answer,
            sources=tuple(places),
            passages=tuple(one.shown for one in places.values()),
            uncertain=answer.uncertain or bool(doubts),
        )
        return replace(reply, answer=answer, notes=(*reply.notes, *doubts))

    def _ruled(
        self, index: NoteIndex, question: Question, answer: Answer
    ) -> tuple[Answer, RuledPlan]:
        """Return a plan's answer after the rules, and what they did."""
        if self._rules is None or self._rules[0] is not index:
            self._rules = index, PlanRules(index, self._skills)
        names = (*question.names, *(step.target for step in answer.steps))
        plan = self._rules[1].apply(answer.steps, Asked(question.text, names))
        # Where the notes are the whole plan, the doubts about the model's own one do not count.
        doubtful = plan.refused or (answer.uncertain and not plan.replaced)
        cut = answer.truncated and not plan.replaced
        ruled = replace(answer, steps=tuple(plan.steps), uncertain=doubtful, truncated=cut)
        return ruled, plan


def _about(index: NoteIndex, question: Question) -> tuple[Passage, ...]:
    """Return the passages about what is asked, best first: they name it, or mean it."""
    found = index.search(" ".join((question.text, *question.names)))
    things = content_words(*question.names) or content_words(question.text)
    best = found[0].score if found else 0.0
    return tuple(
        one.passage for one in found
        if (index.by_embeddings or things & index.words_of(one.passage))
        and one.score >= _LEAST_OF_BEST * best
    )[:MAX_NOTES]  # fmt: skip
