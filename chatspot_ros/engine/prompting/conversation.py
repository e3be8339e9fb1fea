"""What is said around the model: a question as the ids that it reads, its ids as a reply."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chatspot_ros.core import answer_parser, prompts, task_prompts
from chatspot_ros.core.answer_grammars import States, for_task
from chatspot_ros.core.confidence import confidence_of, threshold_of
from chatspot_ros.core.model_spec import ModelSpec
from chatspot_ros.core.regions import REGION_MARK
from chatspot_ros.engine.api import OnText, Question, Reply
from chatspot_ros.engine.decoding_types import Constraint, Decoded
from chatspot_ros.engine.models.runner import Scene
from chatspot_ros.engine.prompting.chat_template import Chat, TextStream
from chatspot_ros.engine.prompting.grammar_constraint import Grammars
from chatspot_ros.errors import RequestError

_ANY_LENGTH = 10**9


@dataclass(frozen=True)
class Ready:
    """A question as the model reads it, how many tokens its answer may have, and which."""

    question: Question
    task: str
    prompt: str
    ids: list[int]
    limit: int
    constraint: Constraint | None = None


class Words:
    """An answer's words as they come, handed on to whoever listens."""

    def __init__(self, stream: TextStream, on_text: OnText | None) -> None:
        self._stream, self._on_text = stream, on_text
        self.on_ids = None if on_text is None else self._add

    def _add(self, ids: list[int]) -> None:
        self._say(self._stream.add(ids))

    def finish(self, ids: list[int]) -> str:
        """The whole text; what of it was not handed on yet is."""
        added, text = self._stream.finish(ids)
        self._say(added)
        return text

    def _say(self, added: str) -> None:
        if added and self._on_text is not None:
            self._on_text(added)


class Dialogue:
    """How questions are put to one model, and how its answers are understood."""

    def __init__(
        self,
        chat: Chat,
        spec: ModelSpec,
        max_tokens: int,
        grammars: Grammars | None = None,
        skills: tuple[str, ...] = (),
        states: States | None = None,
    ) -> None:
        """A conversation may have `max_tokens`. Without `grammars` all answers are free text;
        `skills` and `states` as for `Engine`."""
        self.chat, self.spec = chat, spec
        self.dialect = spec.dialect.make()
        self.skills, self.states = skills, states or {}
        self._max_tokens, self._grammars = max_tokens, grammars

    def words(self, on_text: OnText | None) -> Words:
        """What hands an answer's words on as they come."""
        return Words(TextStream(self.chat), on_text)

    def read(self, scene: Scene, question: Question) -> Ready:
        """Return a question as ids, its regions clipped. Raises RequestError or RegionError."""
        task = question.task or prompts.route(question.text)
        width, height = scene.image_wh
        clipped = tuple(region.clipped(width, height) for region in question.regions)
        question = replace(question, regions=clipped)
        prompt = self.prompt_of(scene, question, task)
        ids = self.chat.encode(prompt, question.turns, scene.picture)
        limit = question.max_new_tokens or self.spec.max_new_tokens
        room = self._max_tokens - len(ids)
        if room < 1:
            raise RequestError(
                f"the conversation does not fit into the model's {self._max_tokens} tokens",
                value=f"{len(ids)} tokens",
                remedy="shorten the question or start a new session",
            )
        return Ready(question, task, prompt, ids, min(limit, room), self.constraint(task))

    def constraint(self, task: str) -> Constraint | None:
        """Return what holds an answer to its task's grammar; None: free text."""
        if self._grammars is None:
            return None
        grammar = for_task(task, skills=self.skills, states=self.states, dialect=self.dialect)
        return None if grammar is None else self._grammars.start(grammar)

    def compile_grammars(self) -> None:
        """Compile the grammars of all tasks, which takes up to half a second, before they are
        needed."""
        for task in prompts.TASKS:
            self.constraint(task)

    def reply(
        self, scene: Scene, ready: Ready, decoded: Decoded, words: Words, seconds: float
    ) -> Reply:
        """Return what came of a question: its answer, read as its task wants."""
        text = words.finish(decoded.ids)
        calibration, least = self.spec.calibration, ready.question.min_confidence
        return Reply(
            answer=answer_parser.read(
                text,
                task=ready.task,
                regions=ready.question.regions,
                fit=scene.fit,
                dialect=self.dialect,
                skills=self.skills,
                confidence=confidence_of(calibration, ready.task, decoded.log_probabilities),
                truncated=decoded.truncated,
                min_confidence=threshold_of(calibration) if least is None else least,
            ),
            prompt=ready.prompt,
            raw_text=text,
            tokens=len(decoded.ids),
            log_probabilities=tuple(decoded.log_probabilities),
            seconds=seconds,
            task=ready.task,
            notes=self._notes(ready.question, ready.task),
        )

    def _notes(self, question: Question, task: str) -> tuple[str, ...]:
        """What of a question the model cannot be told."""
        notes = [self.dialect.simplifies(region) for region in question.regions]
        if self.spec.phrases is not None:
            about_regions = any(region.points_px for region in question.regions)
            notes.append(self.spec.phrases.ignores(task, about_regions))
        return tuple(dict.fromkeys(note for note in notes if note))

    def prompt_of(self, scene: Scene, question: Question, task: str) -> str:
        """Return the user's turn as the model will read it; its regions are clipped. Raises
        RequestError."""

        def build(text: str) -> str:
            about = (text, question.regions, task, scene.fit, self.dialect)
            control = self.chat.control_strings
            if self.spec.phrases is not None:
                return task_prompts.build(
                    *about, self.spec.phrases, control_strings=control, max_chars=_ANY_LENGTH
                )
            return prompts.build(
                *about,
                self.spec.prompt_style,
                self.skills,
                states=self.states,
                control_strings=control,
                max_chars=_ANY_LENGTH,
            )

        prompt = build(question.text)
        self.chat.check_words(prompt, build(f"x {REGION_MARK} " * len(question.regions) + "x"))
        return prompt
