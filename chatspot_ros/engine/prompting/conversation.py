"""A question as the ids that the model reads, and its ids as a reply."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from chatspot_ros.core.answer_form import ANY_FORM, AnswerForm
from chatspot_ros.core.answer_grammars import absent_alone
from chatspot_ros.core.choices import HARDLY_SAID, hardly_said
from chatspot_ros.core.crops import region_to_look_at
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.prompts import control_strings, neutralise
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.engine.api import OnText, Question, Reply, Turn
from chatspot_ros.engine.choice_scores import ChoiceScores
from chatspot_ros.engine.decoding_types import Constraint, Decoded
from chatspot_ros.engine.models.runner import Scene
from chatspot_ros.engine.prompting.chat_template import ChatTemplate, TextStream
from chatspot_ros.engine.prompting.grammar_constraint import Grammars
from chatspot_ros.engine.prompting.token_texts import ChoiceTokens
from chatspot_ros.errors import RequestError


@dataclass(frozen=True)
class Ready:
    """A question as the model reads it, with the limit and the constraint of its answer.

    `choices` are the ids of the texts of each choice, where the question has some.
    """

    question: Question
    task: str
    prompt: str
    ids: list[int]
    limit: int
    constraint: Constraint | None = None
    looks_twice: bool = False
    form: AnswerForm = ANY_FORM
    choices: list[list[list[int]]] = field(default_factory=list)
    word_ends: Tensor | None = None

    def scores(self) -> ChoiceScores | None:
        """Return what scores the question's choices; None: it has none."""
        if not self.choices or self.word_ends is None:
            return None
        return ChoiceScores(self.choices, self.word_ends)


class Words:
    """The text of a growing answer, handed on to a listener."""

    def __init__(self, stream: TextStream, on_text: OnText | None) -> None:
        self._stream, self._on_text = stream, on_text
        self.on_ids = None if on_text is None else self._add

    def _add(self, ids: list[int]) -> None:
        self.say(self._stream.add(ids))

    def finish(self, ids: list[int]) -> str:
        """Hand on the rest of the text and return all of it."""
        added, text = self._stream.finish(ids)
        self.say(added)
        return text

    def say(self, added: str) -> None:
        """Hand a text on."""
        if added and self._on_text is not None:
            self._on_text(added)


class Conversation:
    """Encodes the questions to one model and decodes its answers."""

    def __init__(
        self,
        chat: ChatTemplate,
        builder: PromptBuilder,
        max_tokens: int,
        grammars: Grammars | None = None,
        choice_tokens: ChoiceTokens | None = None,
    ) -> None:
        """A conversation may have `max_tokens`. Without `grammars` all answers are free text,
        without `choice_tokens` none is chosen."""
        self.chat, self.builder = chat, builder
        self._max_tokens, self._grammars = max_tokens, grammars
        self._choice_tokens = choice_tokens
        spoken = builder.dialect.control_strings
        forbidden = {*control_strings(), *chat.control_strings}.difference(spoken)
        self._never_said = tuple(sorted(forbidden))

    def words(self, on_text: OnText | None) -> Words:
        """Return what hands an answer's text on as it grows."""
        return Words(TextStream(self.chat), on_text)

    def _without_control_strings(self, turn: Turn) -> Turn:
        """Return an earlier turn, the control strings in its answer broken open."""
        if not any(one in turn.answer_text for one in self._never_said):
            return turn
        return replace(turn, answer_text=neutralise(turn.answer_text, self._never_said))

    def looked_at(self, scene: Scene, question: Question) -> Region | None:
        """Return the clipped region to cut out for a second look; None: there is none. Raises
        RegionError."""
        trained = self.builder.spec.crop is not None
        if question.look_twice == "off" or (question.look_twice == "auto" and not trained):
            return None
        return region_to_look_at([one.clipped(*scene.image_wh) for one in question.regions])

    def read(self, scene: Scene, question: Question, cut: str = "") -> Ready:
        """Return a question as ids, its regions clipped. Raises RequestError or RegionError.

        Earlier answers may hold the dialect's control strings, and no others. `cut` stands for the
        picture of a second look, before the question.
        """
        previous = question.turns[-1].task if question.turns else ""
        form, before = question.form, list[int]()
        choices: list[list[list[int]]] = []
        if form.choices:
            task, ways = self.builder.choosing(question.text, form.choices)
            choices, before = self._tokens.encode(ways), self._tokens.before
        else:
            task = self.builder.task(question.text, question.task, previous)
        width, height = scene.image_wh
        clipped = tuple(region.clipped(width, height) for region in question.regions)
        question = replace(question, regions=clipped)
        prompt = self.prompt_of(scene, question, task)
        turns = tuple(map(self._without_control_strings, question.turns))
        ids = [*self.chat.encode(f"{cut}{prompt}", turns, scene.picture), *before]
        limit = question.max_new_tokens or self.builder.spec.max_new_tokens
        if self.chat.reasons:
            more = question.reasoning_tokens
            limit += self.builder.spec.reasoning_tokens if more is None else more
        room = self._max_tokens - len(ids)
        if room < max((len(text) for texts in choices for text in texts), default=1):
            raise RequestError(
                f"the conversation does not fit into the model's {self._max_tokens} tokens",
                value=f"{len(ids)} tokens",
                remedy="shorten the question or start a new session",
            )
        limit = min(limit, room)
        if choices:
            return Ready(question, task, prompt, ids, 1, None, bool(cut), form, choices,
                         self._tokens.ends)  # fmt: skip
        held = self.constraint(task, form)
        return Ready(question, task, prompt, ids, limit, held, bool(cut), form)

    @property
    def _tokens(self) -> ChoiceTokens:
        if self._choice_tokens is None:
            raise RequestError(
                "this model cannot be given choices", value=self.builder.spec.name,
                remedy="ask without them",
            )  # fmt: skip
        return self._choice_tokens

    def constraint(self, task: str, form: AnswerForm = ANY_FORM) -> Constraint | None:
        """Return the constraint of a task's answers; None: free text. Raises RequestError."""
        if self._grammars is None:
            return None
        grammar = self.builder.grammar(task, form)
        if grammar is None:
            return None
        started = self._grammars.start(grammar)
        if not self.chat.reasons:
            return started
        return self._grammars.behind(started, self.chat.answer_start)

    def absence(self) -> Constraint | None:
        """Return the constraint of an answer that a thing is not there; None: free text."""
        if self._grammars is None:
            return None
        started = self._grammars.start(absent_alone(self.builder.context.none))
        if not self.chat.reasons:
            return started
        return self._grammars.behind(started, self.chat.answer_start)

    def compile_grammars(self) -> None:
        """Compile the grammars of all tasks before the first answer; up to half a second each."""
        for task in TASKS:
            self.constraint(task)
        if self._choice_tokens is not None:
            _ = self._choice_tokens.ends
        if self.builder.spec.pointing is not None:
            self.absence()

    def reply(
        self,
        scene: Scene,
        ready: Ready,
        decoded: Decoded,
        words: Words,
        seconds: float,
        scores: ChoiceScores | None = None,
    ) -> Reply:
        """Return the reply to a question: its answer, read as its task wants; with `scores` the
        likeliest of its choices."""
        if scores is not None:
            return self._chosen(ready, scores, words, seconds)
        text, regions = words.finish(decoded.ids), ready.question.regions
        begin = self.chat.answer_start(decoded.ids) or 0
        return Reply(
            answer=self.builder.read(
                text,
                regions,
                ready.task,
                scene.fit,
                truncated=decoded.truncated,
                log_probabilities=decoded.log_probabilities[begin:],
                min_confidence=ready.question.min_confidence,
                reasons=self.chat.reasons and not begin,
                box_scores=decoded.box_scores,
                form=ready.form,
            ),
            raw_text=text,
            tokens=len(decoded.ids),
            log_probabilities=tuple(decoded.log_probabilities[begin:]),
            **self._about(ready, seconds),
        )

    def _chosen(self, ready: Ready, scores: ChoiceScores, words: Words, seconds: float) -> Reply:
        """Return the reply to a question with choices: the likeliest, handed on to the listener."""
        question, logs = ready.question, scores.scores()
        answer = self.builder.chosen(
            ready.form.choices, logs, question.regions, ready.task, question.min_confidence
        )
        best = max(range(len(logs)), key=logs.__getitem__)
        words.say(answer.text)
        said, about = scores.of(best), self._about(ready, seconds)
        if hardly_said(logs, ready.task):
            about["notes"] = (*about["notes"], HARDLY_SAID)
        return Reply(
            answer=answer, raw_text=answer.text, tokens=len(said), log_probabilities=tuple(said),
            **about,
        )  # fmt: skip

    def _about(self, ready: Ready, seconds: float) -> dict[str, Any]:
        """Return the fields of a reply that tell of its question."""
        question = ready.question
        return {
            "prompt": ready.prompt,
            "seconds": seconds,
            "task": ready.task,
            "notes": (*question.notes, *self.builder.notes(question.regions, ready.task)),
            "looked_twice": ready.looks_twice,
            "print_lines": question.print_lines,
        }

    def prompt_of(self, scene: Scene, question: Question, task: str) -> str:
        """Return the user's turn as the model reads it; its regions are clipped. Raises
        RequestError."""
        words = question.text + question.hint
        prompt = self._notes_of(question) + self.builder.print_text(question.print_lines)
        prompt += self.builder.user_text(words, question.regions, task, scene.fit, question.form)
        scaffold = self.builder.scaffold(words, question.regions, task, scene.fit)
        self.chat.check_words(prompt, scaffold)
        return prompt

    def _notes_of(self, question: Question) -> str:
        """Return what the prompt tells of notes; nothing where they would hold control tokens."""
        if question.looked_up is None or not self.builder.reads_notes:
            return ""
        notes = self.builder.notes_text(one.shown for one in question.looked_up.passages)
        return "" if self.chat.holds_control_tokens(notes) else notes
