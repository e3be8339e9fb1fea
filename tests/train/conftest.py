"""For all training tests: a few small kitchens rendered once, tiny random parts of real classes,
records of painted rectangles to teach them with, and a chat endpoint to ask."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from chatspot_ros.core.regions import Region
from chatspot_sim.dataset import Job, render_shard
from chatspot_train.data.build import build
from chatspot_train.data.records import Record, Records, RecordTurn, write_records
from chatspot_train.data.sources import find_source
from chatspot_train.tiny.config import TinySettings

COLOURS = {"red": (0, 0, 220), "green": (0, 200, 0), "blue": (220, 0, 0)}  # BGR, as OpenCV writes
SPEC = {
    "name": "joined",
    "dialect": {"name": "chatspot", "decimals": 2, "separator": " ", "lead": " "},
    "geometry": {"mode": "pad_centre", "width": 32, "height": 32},
    "prompt_style": "tags",
    "max_new_tokens": 16,
}


def make_parts(folder: Path, hidden: int = 32, seed: int = 0) -> dict[str, Any]:
    """A CLIP tower of 2 x 2 patches and a Llama; returns the `model` settings of a run."""
    torch.manual_seed(seed)
    tower = CLIPVisionModel(CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
        image_size=32, patch_size=16,
    ))  # fmt: skip
    tower.save_pretrained(folder / "clip")
    CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder / "clip")
    tokenizer = _byte_tokenizer()
    words = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ))  # fmt: skip
    words.save_pretrained(folder / "words")
    tokenizer.save_pretrained(folder / "words")
    return {"vision": str(folder / "clip"), "language": str(folder / "words"), "spec": SPEC}


def _byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: k for k, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False,
        pad_token="<pad>", bos_token="<s>", eos_token="</s>",
    )  # fmt: skip


def make_records(
    folder: Path, count: int, seed: int = 0, source: str = "painted"
) -> dict[str, str]:
    """Pictures with one rectangle and what colour it has; returns a run's settings of a source."""
    rng = np.random.default_rng(seed)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    records = []
    for k in range(count):
        name = str(rng.choice(list(COLOURS)))
        picture = np.full((30, 40, 3), 120, np.uint8)
        x, y = int(rng.integers(24)), int(rng.integers(16))
        picture[y : y + 12, x : x + 14] = COLOURS[name]
        cv2.imwrite(str(images / f"{source}{k}.png"), picture)
        box = Region.box(x, y, x + 14, y + 12)
        turns = (
            RecordTurn("Which colour is <region>?", name, (box,)),
            RecordTurn(f"Where is the {name} thing?", "<region>", (), "locate", (box,)),
        )
        records.append(Record(source, str(k), f"{source}{k}.png", 40, 30, turns))
    write_records(records, folder / "records")
    return {"records": str(folder / "records"), "images": str(images)}


Converted = tuple[list[Record], dict[str, list[str]]]


def convert_source(
    name: str, annotations: Any, pictures: dict[str, tuple[int, int]], folder: Path, **options: Any
) -> Converted:
    """The records of a data set written to disk, and its drops as {reason: where each stood}."""
    for picture, size in pictures.items():
        (folder / "images" / picture).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(folder / "images" / picture)
    (folder / "annotations.json").write_text(json.dumps(annotations, ensure_ascii=False))
    build(find_source(name), folder / "annotations.json", folder / "images", folder / "out",
          progress=False, **options)  # fmt: skip
    drops: dict[str, list[str]] = {}
    for line in (folder / "out" / "drops.jsonl").read_text().splitlines():
        drop = json.loads(line)
        drops.setdefault(drop["reason"], []).append(drop["where"])
    return list(Records(folder / "out")), drops


@pytest.fixture
def convert() -> Callable[..., Converted]:
    """convert_source, for the tests of the sources."""
    return convert_source


Reply = tuple[int, dict[str, str], Any]  # status, headers, body


class ChatServer(ThreadingHTTPServer):
    """Speaks the chat completions API on loopback.

    `answer` gets what the last message is about (`topic` of its text), and how often that has been
    asked. `most` is how many were asked at a time.
    """

    key = "sk-a-secret-of-the-test"
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ChatHandler)
        self.topic: Callable[[str], str] = lambda text: text
        self.answer: Callable[[str, int], Reply] = lambda topic, count: self.completion("a mug")
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.now = self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @staticmethod
    def completion(content: Any, finish: str = "stop") -> Reply:
        """What is said: a text, or something as JSON."""
        text = content if isinstance(content, str) else json.dumps(content)
        return 200, {}, {
            "id": "1", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "finish_reason": finish,
                         "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
        }  # fmt: skip

    @staticmethod
    def last_text(body: dict[str, Any]) -> str:
        content = body["messages"][-1]["content"]
        return str(content if isinstance(content, str) else content[-1]["text"])


class _ChatHandler(BaseHTTPRequestHandler):
    server: ChatServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        topic = server.topic(server.last_text(body))
        with server.lock:
            server.asked[topic] += 1
            count = server.asked[topic]
            server.bodies.append(body)
            server.keys.add(self.headers["Authorization"])
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            right = self.path == "/v1/chat/completions"
            status, headers, reply = server.answer(topic, count) if right else (404, {}, {})
        finally:
            with server.lock:
                server.now -= 1
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """A running ChatServer whose key is in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", ChatServer.key)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ChatServer() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join(5.0)


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The `model` settings of a run that joins a tiny CLIP tower and a tiny Llama."""
    return make_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """make_records into a folder of its own."""

    def make(count: int, seed: int = 0, source: str = "painted") -> dict[str, str]:
        return make_records(tmp_path_factory.mktemp(source), count, seed, source)

    return make


@pytest.fixture(scope="session")
def kitchens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kitchens")
    for split, first in (("train", 0), ("val", 0)):
        render_shard(Job(str(folder / split), split, first, 3, 2, 96))
    return folder


@pytest.fixture
def settings(kitchens: Path, tmp_path: Path) -> TinySettings:
    stage = {"steps": 4, "batch": 2, "learning_rate": 1e-3, "warmup": 1, "save_every": 2,
             "bf16": False, "progress": False}  # fmt: skip
    return TinySettings.model_validate({
        "out": tmp_path / "run",
        "data": {"folder": kitchens, "train_kitchens": 3, "val_kitchens": 3, "moments": 2,
                 "side": 96},
        "vision": {"image_size": 64, "patch_size": 16, "hidden_size": 32, "layers": 2,
                   "heads": 2, "mlp_size": 64},
        "language": {"hidden_size": 32, "layers": 3, "heads": 2, "mlp_size": 64,
                     "vocabulary": 400},
        "vision_stage": stage, "text_stage": stage, "dialogue_stage": stage, "turns": 3,
    })  # fmt: skip
