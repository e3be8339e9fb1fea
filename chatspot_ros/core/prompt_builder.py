"""One way from a question to the text that a model reads, and from its text to an answer.

The node's engine, the training collator, endpoints and evaluation all use it, so that a model is
trained and measured on what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from chatspot_ros.core import answer_parser, prompts, reasoning, task_prompts
from chatspot_ros.core.answer_form import ANY_FORM, AnswerForm
from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.choices import hardly_said, probabilities, ways_to_say
from chatspot_ros.core.confidence import confidence_of, threshold_of
from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.json_schema import JsonSchema
from chatspot_ros.core.model_spec import ModelSpec
from chatspot_ros.core.prompts import PromptStyle
from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.core.task_router import route
from chatspot_ros.core.tasks import TASKS, States, TaskContext, find_task

_About = tuple[str, Sequence[Region], str, Fit, Dialect]


class PromptBuilder:
    """Prompts and answers of one model, for the skills and states of one robot.

    Regions are clipped to the image; `fit` lays the image onto the model's picture.
    """

    def __init__(
        self,
        spec: ModelSpec,
        skills: Iterable[str] = (),
        states: States | None = None,
        control_strings: Iterable[str] = (),
    ) -> None:
        """`skills` are the actions of a plan, `states` the attributes of a state with their values;
        empty: any words. `control_strings` are those of the model's tokenizer."""
        self.spec, self.dialect = spec, spec.dialect.make()
        self.context = TaskContext(self.dialect, tuple(skills), states or {}, spec.none)
        self._control = tuple(control_strings)

    def task(self, question: str, task: str = "", previous: str = "") -> str:
        """Return the name of the task, by the question's wording where none is given.

        `previous` is the task of the turn before, which "And this one?" asks for again.
        """
        before = TASKS.get(previous)
        # Without a new schema nobody wants JSON again.
        return task or route(question, "" if before is None or before.needs_schema else previous)

    def user_text(
        self,
        question: str,
        regions: Sequence[Region],
        task: str,
        fit: Fit,
        form: AnswerForm = ANY_FORM,
    ) -> str:
        """Return the user's turn as the model reads it.

        Raises:
            RequestError: an empty question, an unknown task or one that the model has no prompt
                for, or not as many `<region>` as regions.
        """
        about = (question, regions, task, fit, self.dialect)
        fixed = self.spec.phrases
        if fixed is None and not form.choices:
            fixed = self._wording(question, regions, task)
        return self._say(about, fixed, form)

    def print_text(self, lines: Iterable[str]) -> str:
        """Return the line before a question that tells the print in its region; see prompts."""
        return prompts.print_text(lines, (*self.dialect.control_strings, *self._control))

    @property
    def reads_notes(self) -> bool:
        """Whether the model reads notes before a question: a chat model, taught no tags or phrases.

        chatspot-tiny's tags come with a language of 700 tokens, in which no note makes sense.
        """
        return self.spec.phrases is None and self.spec.prompt_style is PromptStyle.WORDS

    def notes_text(self, notes: Iterable[str]) -> str:
        """Return the lines before a question that tell what notes say; see prompts."""
        return prompts.notes_text(notes, (*self.dialect.control_strings, *self._control))

    def _say(
        self, about: _About, fixed: task_prompts.TaskPrompts | None, form: AnswerForm = ANY_FORM
    ) -> str:
        if fixed is not None:
            return task_prompts.build(*about, fixed, control=self._control)
        return prompts.build(
            *about,
            self.spec.prompt_style,
            self.context.skills,
            states=self.context.states,
            none=self.context.none,
            control=self._control,
            choices=form.choices,
            schema=form.schema.text if form.schema else "",
        )

    def _wording(
        self, question: str, regions: Sequence[Region], task: str
    ) -> task_prompts.TaskPrompts | None:
        """Return the family's own wording where it has one for a question; None: it has none."""
        wording = self.spec.wording
        about_regions = any(region.points_px for region in regions)
        if wording is None or not wording.takes(question, task, about_regions):
            return None
        return wording

    def scaffold(self, question: str, regions: Sequence[Region], task: str, fit: Fit) -> str:
        """Return the turn of `user_text` without the user's words. Raises RequestError."""
        fixed = self.spec.phrases or self._wording(question, regions, task)
        bare = f"x {REGION_MARK} " * len(regions) + "x"
        return self._say((bare, regions, task, fit, self.dialect), fixed)

    def answer_text(self, answer: str, regions: Sequence[Region], task: str, fit: Fit) -> str:
        """Return an answer of the training data in the form that `grammar` and `read` have.

        Each `<region>` of the answer stands for one of `regions`; the rest is neutralised like a
        question. Raises RequestError.
        """
        forbidden = (*prompts.control_strings(), *self.dialect.control_strings, *self._control)
        pieces = (prompts.neutralise(piece, forbidden) for piece in answer.split(REGION_MARK))
        return find_task(task).write(REGION_MARK.join(pieces), regions, fit, self.context)

    def grammar(self, task: str, form: AnswerForm = ANY_FORM) -> str | JsonSchema | None:
        """Return the EBNF of a task's answers or their schema; None: free text. Raises
        RequestError."""
        return find_task(task).grammar(replace(self.context, schema=form.schema))

    def read(
        self,
        text: str,
        regions: Iterable[Region],
        task: str,
        fit: Fit,
        *,
        truncated: bool,
        log_probabilities: Sequence[float] | None,
        min_confidence: float | None = None,
        reasons: bool = False,
        box_scores: Sequence[float] = (),
        form: AnswerForm = ANY_FORM,
    ) -> Answer:
        """Read a model's text as an answer.

        `log_probabilities` are the natural ones of its tokens; None: unknown, then the confidence
        is 0 and no reason for doubt. `min_confidence` None: the model's own threshold. Reasoning
        before the answer is left out; where it has not ended, the answer is its text, truncated.
        `reasons`: the prompt has begun it. `box_scores` are a grounding head's, of the boxes of the
        text in order; those below the model's threshold are left out, and make it uncertain.
        """
        answered = reasoning.answer_of(text, reasons)
        if answered is None:
            unread = self.read(
                "", regions, task, fit, truncated=True, log_probabilities=None, form=form
            )
            return replace(unread, text=answer_parser.clean(text))
        calibration, confidence, least = self.spec.calibration, 0.0, 0.0
        if log_probabilities is not None:
            confidence = confidence_of(calibration, task, log_probabilities)
            least = threshold_of(calibration) if min_confidence is None else min_confidence
        return answer_parser.read(
            answered,
            task=task,
            regions=regions,
            fit=fit,
            dialect=self.dialect,
            skills=self.context.skills,
            none=self.context.none,
            confidence=confidence,
            truncated=truncated,
            min_confidence=least,
            box_scores=box_scores,
            min_box_score=self.spec.pointing.threshold if self.spec.pointing else 0.0,
            schema=form.schema,
        )

    def choosing(self, question: str, choices: Sequence[str]) -> tuple[str, list[list[str]]]:
        """Return the task by which one of some choices is asked for, and the texts that say each.

        A model that was taught tags says states as pairs: those of the choices that are values of
        one attribute are looked for as pairs, too.
        """
        if self.spec.phrases is not None or self.spec.prompt_style is not PromptStyle.TAGS:
            return "", ways_to_say(choices, {})
        plain, ways = (ways_to_say(choices, states) for states in ({}, self.context.states))
        if ways != plain:
            return "state", ways
        return ("read" if route(question) == "read" else ""), ways

    def chosen(
        self,
        choices: Sequence[str],
        scores: Sequence[float],
        regions: Sequence[Region],
        task: str,
        min_confidence: float | None = None,
    ) -> Answer:
        """Return the likeliest of some choices as an answer, from their log-probabilities.

        `min_confidence` as in `read`. Choices that the model would hardly say are uncertain.
        """
        calibration = self.spec.calibration
        found = probabilities(
            scores, 1.0 if calibration is None else calibration.choice_temperature
        )
        best = max(range(len(found)), key=found.__getitem__)
        least = threshold_of(calibration) if min_confidence is None else min_confidence
        return Answer(
            text=choices[best],
            regions=tuple(regions),
            confidence=min(found[best], 1.0),
            uncertain=found[best] < least or hardly_said(scores, task),
            choice_probabilities=found,
        )

    def notes(self, regions: Sequence[Region], task: str) -> tuple[str, ...]:
        """Return sentences on what of a question the model is not told."""
        notes = [self.dialect.simplifies(region) for region in regions]
        if self.spec.phrases is not None:
            about_regions = any(region.points_px for region in regions)
            notes.append(self.spec.phrases.ignores(task, about_regions))
        return tuple(dict.fromkeys(note for note in notes if note))
