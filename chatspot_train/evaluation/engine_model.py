"""A local model under test, asked through the engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.api import Question, RegionEngine, Reply, Turn
from chatspot_ros.engine.engine import Engine
from chatspot_ros.engine.serial_engine import as_batching
from chatspot_ros.errors import ChatspotError, ModelLoadError
from chatspot_train.evaluation.suite import NO_READER, Identity, Item, Prediction

BATCH = 32  # questions about one image
# The files of a checkpoint that its answers depend on; chatspot.yaml is in the engine's spec.
_FILES = ("*.safetensors", "*config.json", "tokenizer*", "*.model", "*.jinja", "*.txt",
          "vocab.json", "added_tokens.json", "special_tokens_map.json")  # fmt: skip


@dataclass(frozen=True)
class Looks:
    """How a model is asked: `look_twice`, `reader`, `knowledge` and `needs_note` of a Question."""

    look_twice: str = "auto"
    reader: str = "auto"
    knowledge: str = ""
    needs_note: bool = False


AUTO = Looks()


def identity_of(engine: Engine, looks: Looks = AUTO) -> Identity:
    """Return a model's name, settings and the hashes of its files."""
    files = sorted({path for pattern in _FILES for path in engine.folder.glob(pattern)})
    return {
        "name": engine.name,
        **({} if looks == AUTO else asdict(looks)),
        "dtype": str(engine.dtype),
        "spec": engine.spec.model_dump(mode="json"),
        "skills": list(engine.skills),
        "states": {name: list(values) for name, values in engine.states.items()},
        "files": {path.name: _hash(path) for path in files if path.is_file()},
    }


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


class EngineAnswerer:
    """A local model. The image is prepared once for all its items; questions that do not depend on
    an earlier answer are asked in batches. `identity` is that of `identity_of`, if answers shall
    be kept between runs."""

    def __init__(
        self, engine: RegionEngine, identity: Identity | None = None, looks: Looks = AUTO
    ) -> None:
        self.engine, self.identity, self.looks = as_batching(engine), identity, looks

    @property
    def name(self) -> str:
        """The model's name."""
        return self.engine.name

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        """See Answerer."""
        scene = self.engine.prepare(image_rgb)
        conversations = [_Conversation(item, self.looks) for item in items]
        while waiting := [one for one in conversations if not one.is_done]:
            for first in range(0, len(waiting), BATCH):
                self._ask(scene, waiting[first : first + BATCH])
        return [one.prediction() for one in conversations]

    def _ask(self, scene: Any, conversations: list[_Conversation]) -> None:
        """Ask the next question of each; if the batch fails, ask one by one."""
        questions = [one.next_question() for one in conversations]
        missing = dict(enumerate(conversations))

        def take(index: int, reply: Reply) -> None:
            missing.pop(index).replies.append(reply)

        try:
            self.engine.answer_many(scene, questions, on_reply=take)
        except ChatspotError as error:
            if len(conversations) == 1:
                (alone,) = conversations
                no_reader = isinstance(error, ModelLoadError) and alone.item.wants_reader
                alone.error = NO_READER if no_reader else str(error)
                return
            for one in missing.values():
                self._ask(scene, [one])


@dataclass
class _Conversation:
    """An item with the replies so far."""

    item: Item
    looks: Looks
    replies: list[Reply] = field(default_factory=list)
    error: str = ""

    @property
    def is_done(self) -> bool:
        return bool(self.error) or len(self.replies) == len(self.item.turns)

    def next_question(self) -> Question:
        turn = self.item.turns[len(self.replies)]
        earlier = tuple(Turn(reply.prompt, reply.raw_text, reply.task) for reply in self.replies)
        return Question(
            turn.question, turn.regions, turn.task, earlier,
            look_twice=self.looks.look_twice, reader=turn.reader or self.looks.reader,
            knowledge=self.looks.knowledge if turn.knowledge is None else turn.knowledge,
            needs_note=self.looks.needs_note or turn.needs_note,
        )  # fmt: skip

    def prediction(self) -> Prediction:
        if self.error:
            return self.item.failed(self.error)
        reply = self.replies[-1]
        return self.item.answered(reply.answer, reply.seconds, reply.log_probabilities)
