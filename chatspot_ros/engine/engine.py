"""The engine: prepare a picture once, then answer questions about it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import RgbImage, check_image
from chatspot_ros.core.model_spec import ModelSpec, find_spec
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.tasks import States
from chatspot_ros.engine.api import OnReplyOf, OnText, OnTextOf, Question, Reply, ShouldStop
from chatspot_ros.engine.decoding.batch import Batch
from chatspot_ros.engine.decoding.cuda_graphs import CudaGraphSteps
from chatspot_ros.engine.decoding.kv_cache import tensor_bytes
from chatspot_ros.engine.decoding.oom_batch import OomBatch
from chatspot_ros.engine.decoding.oom_recovery import retry_out_of_memory
from chatspot_ros.engine.decoding.pointing import Pointing
from chatspot_ros.engine.loading import checkpoint, memory_estimate
from chatspot_ros.engine.look_first import find_places
from chatspot_ros.engine.looking_up import LookUp, name_things
from chatspot_ros.engine.model_errors import ModelFailure
from chatspot_ros.engine.models.grounding_head import GroundingHead, load_head
from chatspot_ros.engine.models.image_inputs import image_inputs
from chatspot_ros.engine.models.registry import family_of
from chatspot_ros.engine.models.runner import Runner, Scene
from chatspot_ros.engine.print_reading import PrintReading
from chatspot_ros.engine.prompting.chat_template import ChatTemplate
from chatspot_ros.engine.prompting.conversation import Conversation
from chatspot_ros.engine.prompting.grammar_constraint import Grammars
from chatspot_ros.engine.prompting.token_texts import ChoiceTokens
from chatspot_ros.engine.scheduling.byte_cache import content_key
from chatspot_ros.engine.segmenter import Segmenter
from chatspot_ros.engine.warm_up import warm_up as ask_some
from chatspot_ros.errors import ChatspotError, ModelLoadError
from chatspot_ros.knowledge.index import Embed

_ANYHOW = memory_estimate.Plan()
_log = logging.getLogger(__name__)


class Engine:
    """A loaded model. Use it from one thread at a time."""

    # Called when the device's memory is full, to free scenes that can be prepared again.
    on_out_of_memory: Callable[[], None] | None = None
    # Decodes a question that is alone in its batch, where it is given.
    cuda_graphs: CudaGraphSteps | None = None
    # Outlines what the answers point at.
    segmenter: Segmenter | None = None

    def __init__(
        self,
        loaded: checkpoint.Loaded,
        spec: ModelSpec,
        name: str,
        skills: Iterable[str] = (),
        states: States | None = None,
        constrain_answers: bool = True,
        embed: Embed | None = None,
    ) -> None:
        """`skills` are the names of the actions that a plan may use, `states` the attributes of a
        state with the values of each; empty: any words. With `constrain_answers` a grammar holds
        states, plans and places to their form. `embed` ranks notes, None: their words do."""
        self.name, self.spec = name, spec
        self.folder = loaded.folder
        head = _head_of(loaded, spec)
        self._runner = Runner(loaded, head)
        self._print = PrintReading(spec.reads_print)
        self.device, self.dtype = loaded.device, loaded.dtype
        spoken = spec.dialect.make().control_strings
        self._chat = ChatTemplate(
            loaded.tokenizer,
            spec.chat_template or loaded.chat_template,
            self._runner.image_token_id,
            spoken,
            self._runner.placeholder,
            self._runner.opening,
            loaded.template_faults,
        )
        ends, size = self._runner.end_ids, loaded.model.config.get_text_config().vocab_size
        held = (loaded.tokenizer, ends, self._chat.silent_ids, size)
        self.conversation = Conversation(
            self._chat,
            PromptBuilder(spec, skills, states, self._chat.control_strings),
            self._runner.max_tokens,
            Grammars(*held) if constrain_answers else None,
            ChoiceTokens(self._chat, ends, size),
        )
        self._pointing = _pointing_of(head, spec, loaded.tokenizer)
        self._look_up = LookUp(self.skills, self.conversation.builder.reads_notes, embed)

    @property
    def skills(self) -> tuple[str, ...]:
        """The names of the actions that a plan may use; empty: any words."""
        return self.conversation.builder.context.skills

    @property
    def states(self) -> States:
        """The attributes of a state with the values of each; empty: any words."""
        return self.conversation.builder.context.states

    @property
    def dialect(self) -> Dialect:
        """The form in which regions are written."""
        return self.conversation.builder.dialect

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
        states: States | None = None,
        constrain_answers: bool = True,
        plan: memory_estimate.Plan = _ANYHOW,
        compile: str = "off",  # noqa: A002 (as torch calls it)
        warm_up: bool = False,
        picture_pixels: int = 0,
        embed: Embed | None = None,
    ) -> Engine:
        """Load a checkpoint and try it once.

        `model` is a folder or a hub id (`owner/name`, fetched only when not `local_only`); `spec`
        None: found by `model_spec.find_spec`; `device` auto, cpu, cuda, cuda:1, ...; `dtype` auto,
        float32, bfloat16 or float16; `threads` of the CPU, 0: torch's own number; `plan` the
        weights' quantisation and the memory needed besides; `compile` off, auto (record decoding
        steps on a GPU) or on (fuse their kernels first, which takes minutes); `warm_up` asks some
        questions, so that the first real one is not slow; `picture_pixels` the largest picture,
        where the model takes several sizes, 0: the family's; `embed` ranks notes, None: BM25 does.

        Raises:
            ModelLoadError: the fault and its remedy.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        folder = checkpoint.find_folder(model, local_only)
        config = checkpoint.read_config(folder)
        family_of(config)
        # The cache names the folder of a hub id by its commit.
        is_folder = Path(model).expanduser().is_dir()
        name = folder.resolve().name if is_folder else model
        spec = spec or find_spec(name, str(config["model_type"]), folder)
        spec = spec.with_budget(picture_pixels)
        loaded = checkpoint.load(folder, device, dtype, plan)
        engine = cls(loaded, spec, name, skills, states, constrain_answers, embed)
        engine._smoke_test(plan.cache_tokens, compile, warm_up)
        return engine

    @retry_out_of_memory
    def prepare(self, image_rgb: RgbImage) -> Scene:
        """Compute the scene that all questions about a picture share.

        `image_rgb` is uint8 H x W x 3, RGB, 0 to 255, of any size; the geometry of the model's
        settings lays all of it out.

        Raises:
            ImageError: another type or shape.
            ModelError: the model failed.
        """
        began_s = time.perf_counter()
        check_image(image_rgb)
        with torch.inference_mode(), ModelFailure("see the picture"):
            fit, pixels = image_inputs(image_rgb, self.spec, self._runner.image_processor)
            scene = self._runner.prepare(
                pixels, fit, lambda shown: self._chat.encode("x", (), shown)
            )
        return replace(scene, seconds=time.perf_counter() - began_s, image_rgb=image_rgb)

    def answer(
        self,
        scene: Scene,
        question: Question,
        on_text: OnText | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Reply:
        """Answer a question about a scene, greedily.

        `on_text` gets the text as it is generated; its pieces concatenate to the reply's
        `raw_text`. `should_stop` is called before each token: True or an exception ends the answer.

        Raises:
            RequestError: an unusable question, or a conversation too long for the model.
            RegionError: an unusable region.
            CancelledError: `should_stop` returned True; what it raises goes through.
            ModelError: the model failed.
        """
        hears = None if on_text is None else lambda _, added: on_text(added)
        return self.answer_many(scene, [question], hears, should_stop)[0]

    def answer_many(
        self,
        scene: Scene,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
    ) -> list[Reply]:
        """Answer questions about a scene together, with the same replies as `answer` one by one.

        `on_text` gets the question's index and the text added, `on_reply` the index and each
        reply as soon as it is complete; `should_stop` is called before each token. `seconds` of a
        reply counts from this call.

        Raises:
            RequestError, RegionError: one of the questions cannot be asked; none is answered.
            CancelledError, ModelError: as `answer`; replies that were complete went to `on_reply`.
        """
        batch = self.open(scene)
        for ask_first in (find_places, name_things):
            asking = ask_first(batch, questions, should_stop)
            while True:
                try:
                    next(asking).step()
                except StopIteration as found:
                    questions = found.value
                    break
        asked = batch.admit(questions, on_text, should_stop, on_reply)
        try:
            while not asked.done:
                batch.step()
        finally:
            asked.leave()
        return asked.result()

    def open(self, scene: Scene) -> OomBatch:
        """Return an empty batch for questions about a scene."""
        parts = (self.conversation, self._runner, scene, self.cuda_graphs, self._print)
        return OomBatch(Batch(*parts, self._look_up, self._pointing, self.segmenter), self)

    def scene_key(self, image_rgb: RgbImage) -> bytes:
        """Return a hash of the picture's pixels, the model and its geometry.

        `image_rgb` as for `prepare`. Raises ImageError.
        """
        check_image(image_rgb)
        return content_key(image_rgb, self.name, repr(self.spec.geometry), repr(self.spec.fill_rgb))

    def scene_bytes(self, scene: Scene) -> int:
        """Return the bytes of a scene's tensors: the picture's features, keys and values."""
        return tensor_bytes([scene.inputs, scene.cache, scene.maps])

    def prompt_of(self, scene: Scene, question: Question, task: str) -> str:
        """Return the user's turn as the model will read it, its regions clipped. Raises
        RequestError."""
        return self.conversation.prompt_of(scene, question, task)

    def _smoke_test(self, tokens: int, compiles: str, warm_up: bool) -> None:
        """Ask at least one question, so that a wrong setting fails at start-up."""
        try:
            if compiles != "off" and self.device.type == "cuda":
                self.cuda_graphs = self._record(tokens, "inductor" if compiles == "on" else None)
            if warm_up:
                self.conversation.compile_grammars()
                _log.info("%s is warm after %.1f s", self.name, ask_some(self))
            else:
                scene = self.prepare(np.full((48, 64, 3), 127, np.uint8))
                self.answer(scene, Question("What is this?", max_new_tokens=1, reasoning_tokens=0))
        except ChatspotError as error:
            raise ModelLoadError(
                f"the model does not run: {error.problem}",
                value=error.value,
                remedy="check that chatspot.yaml (picture size, dialect) fits the checkpoint",
            ) from error

    def _record(self, tokens: int, compiler: str | None) -> CudaGraphSteps | None:
        """Record decoding steps over at most `tokens` tokens; None where that fails."""
        cache = self.prepare(np.full((48, 64, 3), 127, np.uint8)).cache
        steps = CudaGraphSteps(self._runner.model, tokens=tokens, compiler=compiler)
        with torch.inference_mode(), ModelFailure("record its steps"):
            return steps if steps.prepare(cache) else None


def _head_of(loaded: checkpoint.Loaded, spec: ModelSpec) -> GroundingHead | None:
    """Return the grounding head beside a checkpoint; None: it has none. Raises ModelLoadError."""
    if spec.pointing is None:
        return None
    return load_head(loaded.folder / spec.pointing.file, loaded.device)


def _pointing_of(head: GroundingHead | None, spec: ModelSpec, tokenizer: Any) -> Pointing | None:
    """Return what makes pointers of a head. Raises ModelLoadError where no token opens a box."""
    if head is None or spec.pointing is None:
        return None
    return Pointing(head, spec.pointing.threshold, spec.dialect.make(), tokenizer)
