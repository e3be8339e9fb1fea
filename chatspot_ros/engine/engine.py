"""The engine: a picture is prepared once, then questions are asked of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from chatspot_ros import answers, grammars, phrases, prompts
from chatspot_ros.calibration import confidence_of, threshold_of
from chatspot_ros.engine import decoding, loading, memory
from chatspot_ros.engine.api import (
    OnReplyOf,
    OnText,
    OnTextOf,
    Question,
    Reply,
    ShouldStop,
)
from chatspot_ros.engine.batch import Batch
from chatspot_ros.engine.chat import Chat, TextStream
from chatspot_ros.engine.failures import ModelFailure
from chatspot_ros.engine.grammar import Grammars
from chatspot_ros.engine.growing import tensor_bytes
from chatspot_ros.engine.out_of_memory import try_again
from chatspot_ros.engine.runner import Runner, Scene
from chatspot_ros.engine.scene_cache import content_key
from chatspot_ros.engine.shrinking import ShrinkingBatch
from chatspot_ros.engine.static_steps import StaticSteps
from chatspot_ros.engine.warm_up import warm_up as ask_some
from chatspot_ros.errors import ChatspotError, ModelLoadError, RequestError
from chatspot_ros.geometry import RgbImage, check_image
from chatspot_ros.model_spec import ModelSpec, find_spec
from chatspot_ros.regions import REGION_MARK

_ANY_LENGTH = 10**9
_ANYHOW = memory.Plan()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ready:
    """A question as the model reads it, how many tokens its answer may have, and which."""

    question: Question
    task: str
    prompt: str
    ids: list[int]
    limit: int
    constraint: decoding.Constraint | None = None


class _Words:
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


class Engine:
    """A loaded model. Use it from one thread at a time."""

    # Called when the device's memory is full, to let go of scenes that can be made again.
    on_out_of_memory: Callable[[], None] | None = None
    # Where it is given, a single question is decoded by it.
    static_steps: StaticSteps | None = None

    def __init__(
        self,
        loaded: loading.Loaded,
        spec: ModelSpec,
        name: str,
        skills: Iterable[str] = (),
        states: grammars.States | None = None,
        constrain_answers: bool = True,
    ) -> None:
        """`skills` are the names of the actions that a plan may use, `states` the attributes of a
        state with the values of each; empty: any words. With `constrain_answers` states, plans and
        places cannot be said in any other form."""
        self.name = name
        self.spec = spec
        self.skills, self.states = tuple(skills), dict(states or {})
        self.dialect = spec.dialect.make()
        self._runner = Runner(loaded)
        self.device, self.dtype = loaded.device, loaded.dtype
        self._chat = Chat(
            loaded.tokenizer,
            loaded.chat_template or spec.chat_template,
            self._runner.image_token_id,
            self.dialect.control_strings,
            self._runner.placeholder,
            self._runner.opening,
        )
        self._grammars = (
            Grammars(
                loaded.tokenizer,
                self._runner.end_ids,
                self._chat.silent_ids,
                loaded.model.config.get_text_config().vocab_size,
            )
            if constrain_answers
            else None
        )

    @classmethod
    def load(
        cls,
        model: str,
        *,
        spec: ModelSpec | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        local_only: bool = True,
        skills: Iterable[str] = (),
        states: grammars.States | None = None,
        constrain_answers: bool = True,
        plan: memory.Plan = _ANYHOW,
        compile: str = "off",  # noqa: A002 (as torch calls it)
        warm_up: bool = False,
    ) -> Engine:
        """Load a checkpoint and try it once.

        `model` is a folder or a hub id (`owner/name`, fetched only when not `local_only`); `spec`
        None: found by `model_spec.find_spec`; `device` auto, cpu, cuda, cuda:1, ...; `dtype` auto,
        float32, bfloat16 or float16; `threads` of the CPU, 0: as torch has it; `plan` how small the
        weights are to be and what must fit besides; `compile` off, auto (on a GPU, decoding steps
        are recorded) or on (their kernels are fused before, which takes minutes); with `warm_up`
        some questions are asked, so that the first real one is not slow.

        Raises:
            ModelLoadError: what is wrong with it, and what to do.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        folder = loading.find_folder(model, local_only)
        model_type = str(loading.read_config(folder)["model_type"])
        # A cached hub id lies in a folder named by its commit.
        is_folder = Path(model).expanduser().is_dir()
        name = folder.resolve().name if is_folder else model
        spec = spec or find_spec(name, model_type, folder)
        loaded = loading.load(folder, device, dtype, plan)
        engine = cls(loaded, spec, name, skills, states, constrain_answers)
        engine._try(plan.cache_tokens, compile, warm_up)
        return engine

    @try_again
    def prepare(self, image_rgb: RgbImage) -> Scene:
        """Compute what all questions about a picture share.

        `image_rgb` is uint8 H x W x 3, RGB, 0 to 255, of any size; all of it is seen, by the
        geometry of the model's settings.

        Raises:
            ImageError: another type or shape.
            ModelError: the model failed.
        """
        began_s = time.perf_counter()
        check_image(image_rgb)
        fit = self.spec.geometry.fit((image_rgb.shape[1], image_rgb.shape[0]))
        picture = fit.apply(image_rgb, self.spec.fill_rgb)
        with torch.inference_mode(), ModelFailure("see the picture"):
            scene = self._runner.prepare(
                picture, fit, lambda shown: self._chat.encode("x", (), shown)
            )
        return replace(scene, seconds=time.perf_counter() - began_s)

    @try_again
    def answer(
        self,
        scene: Scene,
        question: Question,
        on_text: OnText | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Reply:
        """Answer a question about a scene, greedily.

        `on_text` gets the words as they come; its pieces concatenate to the reply's `raw_text`.
        `should_stop` is asked before each token: True or an exception ends the answer.

        Raises:
            RequestError: an unusable question, or a conversation too long for the model.
            RegionError: an unusable region.
            CancelledError: `should_stop` returned True; what it raises goes through.
            ModelError: the model failed.
        """
        began_s = time.perf_counter()
        ready = self._make_ready(scene, question)
        words = self._words(on_text)
        decoding.check_stop(should_stop)
        with torch.inference_mode():
            with ModelFailure("read the question"):
                logits, cache = self._runner.read(scene, ready.ids)
            steps = self.static_steps
            decoded = decoding.decode(
                self._runner.model if steps is None else steps.follow(cache, ready.limit),
                logits,
                cache,
                end_ids=self._runner.end_ids,
                max_new_tokens=ready.limit,
                on_ids=words.on_ids,
                should_stop=should_stop,
                constraint=ready.constraint,
            )
        return self._reply(scene, ready, decoded, words, time.perf_counter() - began_s)

    def answer_many(
        self,
        scene: Scene,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
    ) -> list[Reply]:
        """Answer questions about a scene together, each by itself: as `answer` one by one, sooner.

        `on_text` gets the question's index and the words added, `on_reply` the index and each
        reply as soon as it is complete; `should_stop` is asked before each token. `seconds` of a
        reply counts from the beginning of all.

        Raises:
            RequestError, RegionError: one of the questions cannot be asked; none is answered.
            CancelledError, ModelError: as `answer`; replies that were complete went to `on_reply`.
        """
        batch = self.open(scene)
        asked = batch.admit(questions, on_text, should_stop, on_reply)
        try:
            while not asked.done:
                batch.step()
        finally:
            asked.leave()
        return asked.result()

    def open(self, scene: Scene) -> ShrinkingBatch:
        """Begin to answer questions about a scene, which may come and go one by one."""
        return ShrinkingBatch(Batch(self, scene), self)

    def scene_key(self, image_rgb: RgbImage) -> bytes:
        """Return what tells the scenes of pictures apart: their pixels, the model, its geometry.

        `image_rgb` as for `prepare`. Raises ImageError.
        """
        check_image(image_rgb)
        return content_key(image_rgb, self.name, repr(self.spec.geometry), repr(self.spec.fill_rgb))

    def scene_bytes(self, scene: Scene) -> int:
        """How many bytes the tensors of a scene take: the picture's features, keys and values."""
        return tensor_bytes([scene.inputs, scene.cache])

    def _words(self, on_text: OnText | None) -> _Words:
        return _Words(TextStream(self._chat), on_text)

    def _make_ready(self, scene: Scene, question: Question) -> _Ready:
        """A question as ids, its regions clipped. Raises RequestError or RegionError."""
        task = question.task or prompts.route(question.text)
        width, height = scene.image_wh
        clipped = tuple(region.clipped(width, height) for region in question.regions)
        question = replace(question, regions=clipped)
        prompt = self.prompt_of(scene, question, task)
        ids = self._chat.encode(prompt, question.turns, scene.picture)
        limit = question.max_new_tokens or self.spec.max_new_tokens
        room = self._runner.max_tokens - len(ids)
        if room < 1:
            raise RequestError(
                f"the conversation does not fit into the model's {self._runner.max_tokens} tokens",
                value=f"{len(ids)} tokens",
                remedy="shorten the question or start a new session",
            )
        return _Ready(question, task, prompt, ids, min(limit, room), self._constraint(task))

    def _constraint(self, task: str) -> decoding.Constraint | None:
        """What holds an answer to its task's grammar; None: free text."""
        if self._grammars is None:
            return None
        grammar = grammars.for_task(
            task, skills=self.skills, states=self.states, dialect=self.dialect
        )
        return None if grammar is None else self._grammars.start(grammar)

    def _reply(
        self, scene: Scene, ready: _Ready, decoded: decoding.Decoded, words: _Words, seconds: float
    ) -> Reply:
        text = words.finish(decoded.ids)
        calibration, least = self.spec.calibration, ready.question.min_confidence
        return Reply(
            answer=answers.read(
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
            control = self._chat.control_strings
            if self.spec.phrases is not None:
                return phrases.build(
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
        self._chat.check_words(prompt, build(f"x {REGION_MARK} " * len(question.regions) + "x"))
        return prompt

    def _try(self, tokens: int, compiles: str, warm_up: bool) -> None:
        """Ask one question of a grey picture, so that a wrong setting shows at start-up."""
        try:
            scene = self.prepare(np.full((48, 64, 3), 127, np.uint8))
            self.answer(scene, Question("What is this?", max_new_tokens=1))
            if compiles != "off" and self.device.type == "cuda":
                compiler = "inductor" if compiles == "on" else None
                steps = StaticSteps(self._runner.model, tokens=tokens, compiler=compiler)
                with torch.inference_mode(), ModelFailure("record its steps"):
                    self.static_steps = steps if steps.prepare(scene.cache) else None
            if warm_up:
                _log.info("%s is warm after %.1f s", self.name, ask_some(self))
        except ChatspotError as error:
            raise ModelLoadError(
                f"the model does not run: {error.problem}",
                value=error.value,
                remedy="check that chatspot.yaml (picture size, dialect) fits the checkpoint",
            ) from error
