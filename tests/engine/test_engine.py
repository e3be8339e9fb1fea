from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.core.geometry import PictureGeometry
from chatspot_ros.core.model_spec import GeometrySpec
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question, Reply, Scene, Turn
from chatspot_ros.engine.decoding import sequence
from chatspot_ros.engine.decoding_types import Decoded
from chatspot_ros.engine.prompting.conversation import Conversation
from chatspot_ros.errors import (
    CancelledError,
    DeadlineError,
    ImageError,
    ModelError,
    RegionError,
    RequestError,
)

BOX = Region.box(10, 10, 100, 80)
QUESTIONS = [
    Question("What is this?", (BOX,)),
    Question("What is <region> to <region>?", (BOX, Region.point(200, 90))),
    Question("Describe the whole image.", task="describe"),
    Question("Is it Größe 7 or 八?", (Region.polygon([(10, 10), (90, 20), (50, 90)]),)),
]


@pytest.fixture(params=["llava", "qwen"])
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Decoded]:
    """What every later answer decoded, token by token."""
    all_decoded: list[Decoded] = []
    reply = Conversation.reply

    def spy(self: Conversation, scene: Any, ready: Any, decoded: Any, *rest: Any) -> Reply:
        all_decoded.append(decoded)
        return reply(self, scene, ready, decoded, *rest)

    monkeypatch.setattr(Conversation, "reply", spy)
    return all_decoded


def generate(engine: Engine, image_rgb: np.ndarray, reply: Reply, question: Question) -> list[int]:
    """The plain way: everything at once through `generate`, from the pixels on."""
    fit = engine.spec.geometry.fit(image_rgb.shape[1::-1])
    picture = fit.apply(image_rgb, engine.spec.fill_rgb)
    pixels = engine._runner.image_processor(
        images=picture, return_tensors="pt", do_resize=False, do_center_crop=False
    )
    model = engine._runner.model
    tokens = len(model.get_image_features(**pixels, return_dict=True).pooler_output[0])
    ids = torch.tensor([engine._chat.encode(reply.prompt, question.turns, tokens)])
    extra = {}
    if hasattr(model.model, "rope_deltas"):
        model.model.rope_deltas = None
        extra["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=question.max_new_tokens or engine.spec.max_new_tokens,
        do_sample=False,
        **pixels,
        **extra,
    )
    return [i for i in out[0, ids.shape[1] :].tolist() if i not in engine._runner.end_ids]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.text[:12])
def test_cached_equals_plain_generate_token_for_token(
    engine: Engine, image_rgb: np.ndarray, said: list[Decoded], question: Question
) -> None:
    question = replace(question, max_new_tokens=24)
    reply = engine.answer(engine.prepare(image_rgb), question)
    assert said[0].ids == generate(engine, image_rgb, reply, question)
    assert reply.tokens == len(said[0].ids) > 0


def test_the_scene_cache_is_used_and_left_alone(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    assert scene.cache is not None
    before = [(layer.keys.clone(), layer.values.clone()) for layer in scene.cache.layers]
    first = [llava.answer(scene, question).raw_text for question in QUESTIONS]
    again = [llava.answer(scene, question).raw_text for question in reversed(QUESTIONS)]
    assert again[::-1] == first
    for layer, (keys, values) in zip(scene.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_cached_equals_uncached(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    bare = replace(scene, cache=None, prefix_ids=())
    for question in QUESTIONS:
        assert llava.answer(scene, question).raw_text == llava.answer(bare, question).raw_text


def test_two_scenes_do_not_mix(engine: Engine, image_rgb: np.ndarray) -> None:
    other_rgb = np.full((300, 120, 3), 30, np.uint8)
    question = Question("What is this?", max_new_tokens=16)
    alone = [
        engine.answer(engine.prepare(rgb), question).raw_text for rgb in (image_rgb, other_rgb)
    ]
    first, second = engine.prepare(image_rgb), engine.prepare(other_rgb)
    mixed = [engine.answer(scene, question).raw_text for scene in (first, second, first)]
    assert mixed == [alone[0], alone[1], alone[0]]
    assert alone[0] != alone[1]


def test_a_conversation_equals_one_built_anew(
    engine: Engine, image_rgb: np.ndarray, said: list[Decoded]
) -> None:
    scene = engine.prepare(image_rgb)
    turns: tuple[Turn, ...] = ()
    for text in ("What is this?", "And this?", "And <region>?"):
        question = Question(text, (BOX,), turns=turns, max_new_tokens=8)
        reply = engine.answer(scene, question)
        assert said[-1].ids == generate(engine, image_rgb, reply, question)
        turns = (*turns, Turn(reply.prompt, reply.raw_text))
    alone = engine.answer(scene, Question("And <region>?", (BOX,), max_new_tokens=8))
    assert alone.raw_text != reply.raw_text


def test_streamed_pieces_make_the_whole_text(engine: Engine, image_rgb: np.ndarray) -> None:
    scene = engine.prepare(image_rgb)
    for question in (replace(one, max_new_tokens=24) for one in QUESTIONS):
        pieces: list[str] = []
        reply = engine.answer(scene, question, on_text=pieces.append)
        assert "".join(pieces) == reply.raw_text
        assert reply.raw_text == engine.answer(scene, question).raw_text


def test_the_region_reaches_the_model(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    reply = llava.answer(scene, Question("What is this?", (Region.box(105, 0, 211, 97),)))
    assert reply.prompt == "[short] What is this? <box> 0.50 0.00 1.00 1.00</box>"
    assert reply.answer.regions == (Region.box(105, 0, 211, 97),)
    assert reply.task == ""


def test_regions_are_clipped(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    reply = llava.answer(scene, Question("What is this?", (Region.box(-9, -9, 900, 900),)))
    assert reply.answer.regions == (Region.box(0, 0, 211, 97),)
    with pytest.raises(RegionError):
        llava.answer(scene, Question("What is this?", (Region.point(300, 5),)))


def test_what_stands_at_the_sides_of_a_wide_picture_is_seen(llava: Engine) -> None:
    picture = np.full((60, 400, 3), 100, np.uint8)
    marked = picture.copy()
    marked[:, :20] = 255
    seen = [llava.prepare(one).inputs["mm_encoder_outputs"]["image"].pooler_output[0]
            for one in (picture, marked)]  # fmt: skip
    changed = (seen[0] - seen[1]).abs().amax(1).reshape(4, 4)
    assert (changed[:, 0] > 1e-3).all()


def test_the_answers_task_is_routed(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    assert llava.answer(scene, Question("What is the state of this?", (BOX,))).task == "state"
    assert llava.answer(scene, Question("What is this?", (BOX,), task="read")).task == "read"


def test_confidence_is_the_geometric_mean(
    llava: Engine, image_rgb: np.ndarray, said: list[Decoded]
) -> None:
    reply = llava.answer(llava.prepare(image_rgb), QUESTIONS[0])
    probabilities = np.exp(said[0].log_probabilities)
    assert reply.answer.confidence == pytest.approx(np.prod(probabilities) ** (1 / reply.tokens))
    assert 0 < reply.answer.confidence < 1


def test_the_limit_of_tokens_truncates(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    reply = llava.answer(scene, replace(QUESTIONS[0], max_new_tokens=2))
    assert (reply.tokens, reply.answer.truncated) == (2, True)


def test_the_end_token_ends_the_answer(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = llava.prepare(image_rgb)
    chosen = iter([20, 21, 2, 22])
    monkeypatch.setattr(sequence, "likeliest", lambda *_: [(next(chosen), -0.1)])
    reply = llava.answer(scene, QUESTIONS[0])
    assert (reply.tokens, reply.answer.truncated) == (2, False)


def test_an_answer_without_words_is_uncertain(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence, "likeliest", lambda *_: [(2, -0.1)])
    reply = llava.answer(llava.prepare(image_rgb), QUESTIONS[0])
    assert (reply.tokens, reply.answer.text, reply.answer.confidence) == (0, "", 0)
    assert reply.answer.uncertain


def test_should_stop_is_asked_between_tokens(engine: Engine, image_rgb: np.ndarray) -> None:
    scene = engine.prepare(image_rgb)
    question = Question("What is this?", max_new_tokens=12)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    with pytest.raises(CancelledError):
        engine.answer(scene, question, should_stop=should_stop)
    assert asked == 6


def test_what_should_stop_raises_goes_through(llava: Engine, image_rgb: np.ndarray) -> None:
    late = DeadlineError("late", value="3 s", remedy="wait")

    def should_stop() -> bool:
        raise late

    with pytest.raises(DeadlineError) as caught:
        llava.answer(llava.prepare(image_rgb), QUESTIONS[0], should_stop=should_stop)
    assert caught.value is late


@pytest.mark.parametrize("raised", [ValueError("gone"), RuntimeError("gone")])
def test_what_a_listener_raises_is_not_blamed_on_the_model(
    llava: Engine, image_rgb: np.ndarray, raised: Exception
) -> None:
    def on_text(added: str) -> None:
        raise raised

    with pytest.raises(type(raised), match="gone"):
        llava.answer(llava.prepare(image_rgb), QUESTIONS[0], on_text=on_text)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    scene = llava.prepare(image_rgb)
    monkeypatch.setattr(
        llava._runner.model.lm_head.weight, "data", llava._runner.model.lm_head.weight * bad
    )
    with pytest.raises(ModelError, match="not finite"):
        llava.answer(scene, QUESTIONS[0])


def test_a_failure_in_the_model_is_a_model_error(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = llava.prepare(image_rgb)

    def fail(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(llava._runner.model.lm_head, "forward", fail)
    with pytest.raises(ModelError, match="out of memory") as caught:
        llava.answer(scene, QUESTIONS[0])
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 3, 3), "u1")],
)
def test_other_arrays_are_refused(llava: Engine, image: np.ndarray) -> None:
    with pytest.raises(ImageError):
        llava.prepare(image)


@pytest.mark.parametrize("wh", [(1, 1), (1, 900), (900, 1), (2000, 1500)])
def test_every_size_of_picture_runs(engine: Engine, wh: tuple[int, int]) -> None:
    scene = engine.prepare(np.full((wh[1], wh[0], 3), 90, np.uint8))
    assert scene.image_wh == wh
    reply = engine.answer(scene, Question("What is this?", max_new_tokens=1))
    assert reply.tokens <= 1


def test_a_conversation_too_long_for_the_model_is_refused(
    llava: Engine, image_rgb: np.ndarray
) -> None:
    scene = llava.prepare(image_rgb)
    turns = (Turn("x" * 1000, "y" * 1000),) * 2
    with pytest.raises(RequestError, match="2048 tokens"):
        llava.answer(scene, Question("And this?", (BOX,), turns=turns))


def test_a_padded_picture_shifts_the_numbers(llava: Engine, image_rgb: np.ndarray) -> None:
    padded = GeometrySpec(mode=PictureGeometry.PAD_CENTRE, width=56, height=56)
    engine = object.__new__(Engine)
    engine.__dict__ = {**llava.__dict__, "spec": llava.spec.model_copy(update={"geometry": padded})}
    scene = engine.prepare(image_rgb)
    assert isinstance(scene, Scene)
    reply = engine.answer(scene, Question("What is this?", (Region.box(0, 0, 211, 97),)))
    # 97 of 211 rows become 26 of 56, from row 15 on.
    assert reply.prompt.endswith("<box> 0.00 0.27 1.00 0.73</box>")
