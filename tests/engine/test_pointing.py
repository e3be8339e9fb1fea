"""A grounding head beside a checkpoint fills in boxes: alone, together, in turns, or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from chatspot_ros.core.boxes import iou
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question, Turn
from chatspot_ros.engine.decoding.pointing import SAME, WithoutToken
from chatspot_ros.engine.models.grounding_head import (
    HEAD_FILE,
    GroundingHead,
    HeadConfig,
    load_head,
)
from chatspot_ros.engine.models.patches import on_grid
from chatspot_ros.errors import ModelLoadError

BOX_ID = 4
WHERE = [Question(f"Where is the {name}?", task="locate") for name in ("mug", "pan", "red jar")]
LONG = 69  # three boxes of a byte tokenizer


def make_head(folder: Path, seed: int = 1) -> GroundingHead:
    """A head whose random weights answer differently for every state and place."""
    torch.manual_seed(seed)
    head = GroundingHead(HeadConfig(32, 32, (1, 2), width=16, unfold=4))
    torch.nn.init.normal_(head.found.weight)
    head.save(folder / HEAD_FILE)
    return load_head(folder / HEAD_FILE)


def write_spec(folder: Path, dialect: dict[str, Any] | None = None, **pointing: Any) -> None:
    file = folder / "chatspot.yaml"
    spec = yaml.safe_load(file.read_text())
    spec |= {"pointing": pointing, "max_new_tokens": LONG, "dialect": dialect or spec["dialect"]}
    file.write_text(yaml.safe_dump(spec))


@pytest.fixture(scope="module")
def folder(llava_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pointing") / "pointing-llava"
    shutil.copytree(llava_folder, folder)
    make_head(folder)
    return folder


def load(folder: Path, threshold: float) -> Engine:
    """Load a model that opens a box wherever it may."""
    write_spec(folder, threshold=threshold)
    engine = Engine.load(str(folder), device="cpu")
    eager = torch.zeros(engine._runner.model.lm_head.out_features)
    eager[BOX_ID] = 1e3
    engine._runner.model.lm_head.register_forward_hook(lambda _, inputs, out: out + eager)
    return engine


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return load(folder, 0.0)


def boxes_of(reply: Any) -> list[tuple[float, ...]]:
    return [region.box_xyxy_px for region in reply.answer.grounded]


def test_the_box_is_the_heads_own_for_the_state_at_the_opening_token(
    engine: Engine, folder: Path, image_rgb: np.ndarray
) -> None:
    scene = engine.prepare(image_rgb)
    reply = engine.answer(scene, WHERE[0])
    ids = [*engine.conversation.read(scene, WHERE[0]).ids, BOX_ID]
    head, model = load_head(folder / HEAD_FILE), engine._runner.model
    patches = []
    model.model.multi_modal_projector.register_forward_pre_hook(
        lambda _, inputs: patches.append(inputs[0])
    )
    with torch.inference_mode():
        pixels = engine._runner.image_processor(
            scene.fit.apply(image_rgb, engine.spec.fill_rgb), return_tensors="pt", do_resize=False,
            do_center_crop=False,
        )  # fmt: skip
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True,
                       pixel_values=pixels["pixel_values"]).hidden_states  # fmt: skip
        at = torch.stack([states[k][0, -1] for k in (1, 2)])
        scores, boxes = head.scored(head.maps(on_grid(patches[-1][0], (56, 56))[None]), at[None])
    x1, y1, x2, y2 = boxes[0, scores[0].argmax()].tolist()
    assert boxes_of(reply)[0] == pytest.approx(
        (x1 * 211, y1 * 97, x2 * 211, y2 * 97), abs=0.012 * 211
    )
    # The coordinates are as likely as the box is right.
    assert reply.log_probabilities[1] == pytest.approx(float(scores.max().log()), abs=1e-3)


def test_together_and_without_a_shared_prefix_is_as_one_by_one(
    engine: Engine, image_rgb: np.ndarray
) -> None:
    scene = engine.prepare(image_rgb)
    asked = [*WHERE, Question("Describe it.", task="describe"), Question("What is this?")]
    alone = [engine.answer(scene, question) for question in asked]
    assert len({reply.raw_text for reply in alone}) > 2
    assert all(reply.answer.grounded for reply in alone)
    together = engine.answer_many(scene, asked)
    assert [r.raw_text for r in together] == [r.raw_text for r in alone]
    serial = replace(scene, cache=None, prefix_ids=())
    assert [r.raw_text for r in engine.answer_many(serial, asked)] == [r.raw_text for r in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-3)


def test_an_answer_gives_no_box_twice(engine: Engine, image_rgb: np.ndarray) -> None:
    reply = engine.answer(engine.prepare(image_rgb), Question("Describe it.", task="describe"))
    boxes = boxes_of(reply)
    assert len(boxes) == 3
    assert all(iou(a, b) < SAME + 0.05 for a, b in combinations(boxes, 2))


def test_a_later_turn_gives_a_thing_its_earlier_box(engine: Engine, image_rgb: np.ndarray) -> None:
    scene, pointing = engine.prepare(image_rgb), engine._pointing
    assert pointing is not None
    assert scene.maps is not None
    states = torch.randn(2, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        alone = pointing.pointer(scene.maps, scene.fit, "locate", []).point(states, [])
        x1, y1, x2, y2 = (round(side, 2) for side in alone.box)
        earlier = f"mug <box> {x1:.2f} {y1:.2f} {x2 - 0.01:.2f} {y2:.2f}</box>, pan"
        again = pointing.pointer(scene.maps, scene.fit, "locate", [earlier]).point(states, [])
    assert again.box == pytest.approx((x1, y1, x2 - 0.01, y2), abs=1e-6)
    assert again.box != alone.box
    reply = engine.answer(scene, replace(WHERE[0], turns=(Turn("[locate] x", earlier, "locate"),)))
    assert reply.answer.grounded


def test_what_is_too_unlikely_is_said_not_to_be_there(folder: Path, image_rgb: np.ndarray) -> None:
    engine = load(folder, 1.0)
    scene = engine.prepare(image_rgb)
    heard: list[str] = []
    reply = engine.answer(scene, WHERE[0], heard.append)
    assert "<box>" not in reply.raw_text
    assert "here" in reply.raw_text[:5].lower()
    assert "".join(heard) == reply.raw_text
    asked = [*WHERE, Question("Describe it.", task="describe")]
    together = engine.answer_many(scene, asked)
    alone = [engine.answer(scene, one) for one in asked]
    assert [r.raw_text for r in together] == [r.raw_text for r in alone]
    serial = replace(scene, cache=None, prefix_ids=())
    assert [r.raw_text for r in engine.answer_many(serial, asked)] == [r.raw_text for r in alone]
    # A description keeps its words; what they point at does not count.
    described = together[-1].answer
    assert "<box>" in together[-1].raw_text
    assert described.grounded == ()
    assert described.uncertain


@pytest.mark.parametrize("token", [0, 31, 32, 63, 70])
def test_one_token_may_not_come(token: int) -> None:
    bits = torch.zeros(3, dtype=torch.int32)
    WithoutToken(None, token).allow([], bits)
    words = [int(word) & 0xFFFFFFFF for word in bits]
    allowed = {k for k in range(96) if words[k // 32] >> k % 32 & 1}
    assert allowed == set(range(96)) - {token}


def test_faults_of_a_head_are_named(folder: Path, tmp_path: Path) -> None:
    write_spec(folder, file="missing.safetensors")
    with pytest.raises(ModelLoadError, match="missing"):
        Engine.load(str(folder), device="cpu")
    (tmp_path / "broken").write_bytes(b"no head")
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load_head(tmp_path / "broken")
    write_spec(folder, {"name": "pixel_json"})
    with pytest.raises(ModelLoadError, match="opens a box"):
        Engine.load(str(folder), device="cpu")
    with pytest.raises(ValueError, match="no such shape"):
        HeadConfig(0, 32, (1,))
    with pytest.raises(ValueError, match="no grid"):
        on_grid(torch.zeros(7, 3), (64, 48))
