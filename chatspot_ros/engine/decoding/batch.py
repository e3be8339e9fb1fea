"""Batches of questions about one scene; more may join between any two steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from chatspot_ros.engine.api import (
    OnReplyOf,
    OnTextOf,
    Question,
    Reply,
    ShouldStop,
    check_stop,
    for_index,
)
from chatspot_ros.engine.decoding.cuda_graphs import CudaGraphSteps
from chatspot_ros.engine.decoding.kv_cache import PackedCache, TurnCache
from chatspot_ros.engine.decoding.packed_batch import PackedBatch
from chatspot_ros.engine.decoding.pointing import Pointer, Pointing
from chatspot_ros.engine.decoding.sequence import TokenSequence, take
from chatspot_ros.engine.looking_up import LookUp
from chatspot_ros.engine.model_errors import ModelFailure
from chatspot_ros.engine.models.base import EncodedImage
from chatspot_ros.engine.models.image_inputs import crop_inputs
from chatspot_ros.engine.models.runner import Runner, Scene
from chatspot_ros.engine.print_reading import PrintReading
from chatspot_ros.engine.prompting.conversation import Conversation, Ready, Words
from chatspot_ros.errors import ChatspotError

ONE_PICTURE = "this model takes one picture: it looked once"


class SerialBatch:
    """Decodes questions one after the other, for a scene without a shared prefix.

    Other batches may use the model between two steps.
    """

    merges = False

    def __init__(self, runner: Runner, scene: Scene) -> None:
        """Take sequences whose ids are whole conversations."""
        self._runner, self._scene = runner, scene
        self._sequences: list[TokenSequence] = []
        self._cache: Any = None

    @property
    def live(self) -> int:
        """The number of unfinished sequences."""
        return sum(not sequence.done for sequence in self._sequences)

    def admit(self, sequence: TokenSequence) -> None:
        """Add a sequence behind the others."""
        self._sequences.append(sequence)

    def step(self) -> None:
        """Decode a token of the first unfinished sequence."""
        live = [sequence for sequence in self._sequences if sequence.goes_on()]
        self.tidy()
        if not live:
            return
        first = live[0]
        try:
            if first.scores_next:
                self._score(first)
            elif first.scores is not None:
                first.hear(self._read(first)[None])
            else:
                take([first], self._read(first)[None], self._runner.end_ids)
        except ChatspotError as error:
            first.fail(error)
        if first.done:
            first.finish()
        elif first.begins_anew:
            self._cache, first.begins_anew = None, False
        self.tidy()

    def tidy(self) -> None:
        """Drop the sequences that have ended."""
        if self._sequences and self._sequences[0].done:
            self._cache = None
        self._sequences = [sequence for sequence in self._sequences if not sequence.done]

    def _score(self, sequence: TokenSequence) -> None:
        """Read a given answer behind the question, on a copy of its cache."""
        if sequence.scores is None:
            return
        with ModelFailure("answer"):
            (ids,) = sequence.scores.plan(1)
            out = self._runner.model(
                input_ids=torch.tensor([ids], device=self._runner.device),
                past_key_values=copy.deepcopy(self._cache),
                use_cache=True,
            )
            sequence.hear(out.logits[0, -len(ids) :])

    def _read(self, sequence: TokenSequence) -> torch.Tensor:
        """Read the unread tokens; return the logits behind them, (vocabulary,)."""
        with ModelFailure("answer"):
            if not sequence.read:
                cuts = () if sequence.cut is None else (sequence.cut,)
                logits, self._cache = self._runner.read(self._scene, sequence.ids, cuts)
                sequence.read = len(sequence.ids)
            else:
                opens, unread = sequence.opens_box, sequence.unread
                out = self._runner.model(
                    input_ids=torch.tensor([unread], device=self._runner.device),
                    past_key_values=self._cache,
                    use_cache=True,
                    **({"output_hidden_states": True} if opens else {}),
                )
                sequence.read += len(unread)
                if opens:
                    sequence.point(out.hidden_states, -1)
                logits = out.logits[0, -1]
        return logits


class SequenceAdmission:
    """Questions in a batch, and their replies."""

    def __init__(self, sequences: list[TokenSequence], tidy: Callable[[], None]) -> None:
        self._sequences, self._tidy = sequences, tidy
        self.replies: dict[int, Reply] = {}

    @property
    def done(self) -> bool:
        """Whether all are answered, or one of them cannot be."""
        return all(sequence.done for sequence in self._sequences) or self.error is not None

    @property
    def error(self) -> Exception | None:
        """The error of the first question that failed or was stopped."""
        return next((one.error for one in self._sequences if one.error is not None), None)

    @property
    def memory(self) -> TurnCache | None:
        """The KV-cache entries for the conversation's next turn."""
        return self._sequences[0].memory if self._sequences else None

    def leave(self) -> None:
        """End the unfinished questions of this admission; the batch's others go on."""
        for sequence in self._sequences:
            sequence.leave()
        self._tidy()

    def result(self) -> list[Reply]:
        """Return the replies in order. Raises the error of the first that failed."""
        if self.error is not None:
            raise self.error
        return [self.replies[index] for index in range(len(self._sequences))]


class Batch:
    """Answers questions about one scene, in parallel where the model allows it."""

    def __init__(
        self,
        conversation: Conversation,
        runner: Runner,
        scene: Scene,
        cuda_graphs: CudaGraphSteps | None = None,
        print_reading: PrintReading | None = None,
        look_up: LookUp | None = None,
        pointing: Pointing | None = None,
    ) -> None:
        """`cuda_graphs` decode a question that is alone in the batch, where they fit;
        `print_reading` reads and `look_up` looks up for the questions that want it; `pointing`
        fills in the boxes of answers."""
        self._print, self._look_up, self._pointing = print_reading, look_up, pointing
        self._conversation, self._runner, self._scene = conversation, runner, scene
        self._known = 0
        self._packed: PackedBatch | SerialBatch
        if scene.cache is not None and PackedCache.can_grow(scene.cache):
            self._known = len(scene.prefix_ids)
            self._packed = PackedBatch(runner, scene.cache, cuda_graphs)
        else:
            self._packed = SerialBatch(runner, scene)

    @property
    def merges(self) -> bool:
        """Whether further questions are cheaper in this batch than after it."""
        return self._packed.merges

    @property
    def live(self) -> int:
        """The number of unfinished questions."""
        return self._packed.live

    def admit(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
        memory: TurnCache | None = None,
        remember: bool = False,
    ) -> SequenceAdmission:
        """Take questions in, each to be answered by itself; see `Engine.answer_many`.

        `memory` are the KV-cache entries of an earlier turn about the same picture; with `remember`
        the first question leaves them too. They change no token.

        Raises:
            RequestError, RegionError: one of the questions cannot be asked; none is admitted.
            CancelledError, DeadlineError: `should_stop` said so between two regions; the same.
        """
        began_s = time.perf_counter()
        all_ready, cuts = self._all_ready(questions, should_stop)
        sequences: list[TokenSequence] = []
        asked = SequenceAdmission(sequences, self._tidy)
        for index, ready in enumerate(all_ready):
            if tuple(ready.ids[: self._known]) != self._scene.prefix_ids[: self._known]:
                raise RuntimeError("a question about a scene does not begin with its picture")
            words = self._conversation.words(for_index(on_text, index))

            def on_done(index: int = index, ready: Ready = ready, words: Words = words) -> None:
                seconds = time.perf_counter() - began_s
                own = sequences[index]
                reply = self._conversation.reply(
                    self._scene, ready, own.decoded, words, seconds, own.scores
                )
                if self._look_up is not None:
                    reply = self._look_up.complete(ready.question, reply)
                asked.replies[index] = reply
                if on_reply is not None:
                    on_reply(index, reply)

            sequences.append(
                TokenSequence(
                    ready.ids[self._known :],
                    ready.limit,
                    words.on_ids,
                    should_stop,
                    on_done,
                    constraint=ready.constraint,
                    past=memory,
                    remember=remember and index == 0,
                    cut=cuts[index],
                    pointer=self._pointer(ready),
                    absence=self._conversation.absence,
                    scores=ready.scores(),
                )
            )
        for sequence in sequences:
            self._packed.admit(sequence)
        return asked

    def _all_ready(
        self, questions: Sequence[Question], should_stop: ShouldStop | None
    ) -> tuple[list[Ready], list[EncodedImage | None]]:
        """Return the questions as ids, with the print in their regions, and their second looks.

        Raises what `should_stop` raises, between two regions.
        """
        image_rgb = self._scene.image_rgb
        if self._print is not None and image_rgb is not None:
            questions = self._print.fill(image_rgb, questions, should_stop)
        if self._look_up is not None:
            questions = self._look_up.fill(questions, lambda: check_stop(should_stop))
        if not self._runner.takes_cuts:
            questions = [
                replace(one, notes=(*one.notes, ONE_PICTURE)) if one.look_twice == "on" else one
                for one in questions
            ]
        cuts: list[EncodedImage | None] = []
        for question in questions:
            check_stop(should_stop)
            cuts.append(self._second_look(question))
        all_ready = [
            self._conversation.read(self._scene, question, "" if cut is None else cut.text)
            for question, cut in zip(questions, cuts, strict=True)
        ]
        return all_ready, cuts

    def _second_look(self, question: Question) -> EncodedImage | None:
        """Return the cut around a question's region, encoded; None: it is looked at once."""
        region = self._conversation.looked_at(self._scene, question)
        image_rgb = self._scene.image_rgb
        if region is None or image_rgb is None or not self._runner.takes_cuts:
            return None
        with torch.inference_mode(), ModelFailure("look at the region"):
            spec, processor = self._conversation.builder.spec, self._runner.image_processor
            return self._runner.encode_cut(crop_inputs(image_rgb, region, spec, processor))

    def _pointer(self, ready: Ready) -> Pointer | None:
        """Return what points for a question; None: the model says coordinates by itself."""
        if self._pointing is None or self._scene.maps is None or ready.choices:
            return None
        turns = [turn.answer_text for turn in ready.question.turns]
        reasons = self._conversation.chat.reasons
        return self._pointing.pointer(self._scene.maps, self._scene.fit, ready.task, turns, reasons)

    def step(self) -> None:
        """Decode a token of every question, or of the first one alone."""
        with torch.inference_mode():
            self._packed.step()

    def _tidy(self) -> None:
        with torch.inference_mode():
            self._packed.tidy()
