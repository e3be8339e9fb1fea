"""The conversation that a server reads, with the prompt of a local model, and its reply."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from chatspot_ros.core import reasoning
from chatspot_ros.core.answer_form import AnswerForm
from chatspot_ros.core.crops import cut_around, region_to_look_at
from chatspot_ros.core.geometry import Fit, PictureGeometry, RgbImage, check_image
from chatspot_ros.core.geometry import fit as lay
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.prompts import control_strings, neutralise
from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question, Reply, Turn
from chatspot_ros.engine.remote.client import ChatRequest, Streamed
from chatspot_ros.engine.remote.config import RemoteConfig
from chatspot_ros.engine.remote.errors import BadReplyError
from chatspot_ros.errors import RequestError

NO_PROBABILITIES = "the server gives no log-probabilities: the confidence is unknown"
OTHER_MODEL = "the session's earlier answers were another model's: this one does not see them"
# A server's tokenizer reads control tokens in users' words, and cannot be asked for its own: these
# are those of the families that config/models knows.
SERVED_CONTROL = (
    "<|", "|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|image_pad|>", "<|vision_start|>",
    "<|vision_end|>", "<|video_pad|>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
    "<end_of_image>", "<bos>", "<eos>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]",
    "<img>", "</img>",
    "<IMG_CONTEXT>", "<im_start>", "<im_end>", "<turn|>", "<end_of_utterance>", "<video>",
    "<think>", "</think>", "<image_soft_token>", "<fake_token_around_image>",
)  # fmt: skip
_CONTEXT = 0.3


@dataclass(frozen=True)
class Picture:
    """A picture as it is sent: JPEG bytes, and an id made of them."""

    jpeg: bytes
    id: str

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"


@dataclass(frozen=True)
class RemoteScene:
    """A camera's image (uint8 H x W x 3, RGB), its layout, and the picture that is sent."""

    image_rgb: RgbImage
    fit: Fit
    picture: Picture


@dataclass(frozen=True)
class Asked:
    """A question as the server reads it; its regions are clipped."""

    question: Question
    task: str
    prompt: str
    form: AnswerForm
    turns: tuple[Turn, ...]
    limit: int
    cut: Picture | None = None
    began_s: float = 0.0


class RemotePrompt:
    """Writes requests and reads replies of one model, for one robot's skills and states."""

    def __init__(self, builder: PromptBuilder, config: RemoteConfig) -> None:
        """The model's name marks its turns of a session."""
        self.builder, self._name = builder, config.model
        self._quality, self._reasoning = config.jpeg_quality, config.reasoning_tokens
        # Earlier answers may hold the dialect's own.
        spoken = builder.dialect.control_strings
        self._never_said = tuple(
            one
            for one in sorted({*control_strings(), *SERVED_CONTROL})
            if not any(one in own for own in spoken)
        )

    def see(self, image_rgb: RgbImage) -> RemoteScene:
        """Lay out a picture (uint8 H x W x 3, RGB) as the model reads it. Raises ImageError."""
        check_image(image_rgb)
        height, width = image_rgb.shape[:2]
        fit = self.builder.spec.geometry.fit((width, height))
        return RemoteScene(image_rgb, fit, self._picture(image_rgb, fit))

    def _picture(self, image_rgb: RgbImage, fit: Fit) -> Picture:
        shown = fit.apply(image_rgb, self.builder.spec.fill_rgb)
        bgr = cv2.cvtColor(shown, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        jpeg = data.tobytes()
        return Picture(jpeg, hashlib.sha256(jpeg).hexdigest()[:32])

    def read(self, scene: RemoteScene, question: Question) -> Asked:
        """Return a question as the server will read it. Raises RequestError or RegionError."""
        if question.choices:
            raise RequestError(
                "a server gives no probability of each choice", value=self._name,
                remedy="ask without choices, with the task json, or of a local checkpoint",
            )  # fmt: skip
        form = question.form
        previous = question.turns[-1].task if question.turns else ""
        task = self.builder.task(question.text, question.task, previous)
        turns = tuple(one for one in question.turns if one.model in ("", self._name))
        notes = question.notes if len(turns) == len(question.turns) else (
            *question.notes, OTHER_MODEL)  # fmt: skip
        width, height = scene.fit.image_wh
        clipped = tuple(region.clipped(width, height) for region in question.regions)
        question = replace(question, regions=clipped, notes=notes)
        more = self._reasoning if question.reasoning_tokens is None else question.reasoning_tokens
        limit = (question.max_new_tokens or self.builder.spec.max_new_tokens) + more
        return Asked(
            question, task, self._prompt_of(scene, question, task, form), form,
            tuple(map(self._without_control_strings, turns)), limit,
            self._second_look(scene, question), time.monotonic(),
        )  # fmt: skip

    def _prompt_of(
        self, scene: RemoteScene, question: Question, task: str, form: AnswerForm
    ) -> str:
        words, builder = question.text + question.hint, self.builder
        prompt = builder.print_text(question.print_lines)
        if question.looked_up is not None and builder.reads_notes:
            notes = builder.notes_text(one.shown for one in question.looked_up.passages)
            prompt = notes + prompt
        return prompt + builder.user_text(words, question.regions, task, scene.fit, form)

    def _without_control_strings(self, turn: Turn) -> Turn:
        return replace(turn, answer_text=neutralise(turn.answer_text, self._never_said))

    def _second_look(self, scene: RemoteScene, question: Question) -> Picture | None:
        """Return the cut around the question's one region; None: it is looked at once."""
        crop = self.builder.spec.crop
        region = region_to_look_at(question.regions)
        if region is None or question.look_twice == "off":
            return None
        if question.look_twice == "auto" and crop is None:
            return None
        return self._cut(scene.image_rgb, region)

    def _cut(self, image_rgb: RgbImage, region: Region) -> Picture:
        crop, height, width = self.builder.spec.crop, *image_rgb.shape[:2]
        x1, y1, x2, y2 = cut_around(region, (width, height), crop.context if crop else _CONTEXT)
        cut, wh = np.ascontiguousarray(image_rgb[y1:y2, x1:x2]), (x2 - x1, y2 - y1)
        laid = self.builder.spec.geometry.fit(wh)
        if crop is not None:
            laid = lay(PictureGeometry.STRETCH, wh, (crop.width, crop.height))
        return self._picture(cut, laid)

    def request(self, scene: RemoteScene, asked: Asked, known: frozenset[str]) -> ChatRequest:
        """Return the request: the picture first, so that servers find it in their prefix cache.

        Pictures whose ids are `known` are named by their ids; with ids at all only where
        `known` holds the empty text.
        """
        pictures = [scene.picture, *([asked.cut] if asked.cut is not None else [])]
        first = asked.turns[0].user_text if asked.turns else asked.prompt
        content = [_part(one, known) for one in (pictures if not asked.turns else pictures[:1])]
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": [*content, {"type": "text", "text": first}]}
        ]
        for number, turn in enumerate(asked.turns):
            if number:
                messages.append({"role": "user", "content": turn.user_text})
            messages.append({"role": "assistant", "content": turn.answer_text})
        if asked.turns:
            text = {"type": "text", "text": asked.prompt}
            last = [_part(asked.cut, known), text] if asked.cut is not None else asked.prompt
            messages.append({"role": "user", "content": last})
        schema = None if asked.form.schema is None else json.loads(asked.form.schema.text)
        return ChatRequest(messages, asked.limit, schema)

    def reply(self, scene: RemoteScene, asked: Asked, streamed: Streamed) -> Reply:
        """Return the reply to a question. Raises BadReplyError for an empty answer."""
        text, question = streamed.text, asked.question
        logs = _answer_logs(streamed)
        if not text.strip():
            raise BadReplyError(
                "the server's answer is empty", value=streamed.finish_reason,
                remedy="check the model and its chat template at the server",
            )  # fmt: skip
        answer = self.builder.read(
            text, question.regions, asked.task, scene.fit,
            truncated=streamed.finish_reason == "length",
            log_probabilities=logs, min_confidence=question.min_confidence, form=asked.form,
        )  # fmt: skip
        notes = (*question.notes, *self.builder.notes(question.regions, asked.task))
        if logs is None:
            answer, notes = replace(answer, uncertain=True), (*notes, NO_PROBABILITIES)
        return Reply(
            answer=answer,
            prompt=asked.prompt,
            raw_text=reasoning.answer_of(text) or text,
            tokens=len(streamed.pieces) or streamed.chunks,
            seconds=time.monotonic() - asked.began_s,
            task=asked.task,
            log_probabilities=tuple(logs or ()),
            notes=notes,
            looked_twice=asked.cut is not None,
            print_lines=question.print_lines,
            model=self._name,
        )


def _part(picture: Picture, known: frozenset[str]) -> dict[str, Any]:
    """Return a picture as a part of a message: itself, or its id where the server knows it."""
    if picture.id in known:
        return {"type": "image_url", "image_url": None, "uuid": picture.id}
    named = {"uuid": picture.id} if "" in known else {}
    return {"type": "image_url", "image_url": {"url": picture.uri}, **named}


def _answer_logs(streamed: Streamed) -> list[float] | None:
    """Return the log-probabilities of the tokens behind the reasoning; None: there are none."""
    pieces = streamed.pieces
    said = "".join(token for token, _ in pieces)
    cut = said.rfind(reasoning.CLOSING)
    if cut >= 0:
        start, length = 0, 0
        while start < len(pieces) and length < cut + len(reasoning.CLOSING):
            length += len(pieces[start][0])
            start += 1
        pieces = pieces[start:]
    return [value for _, value in pieces] or None
