"""Every family's own classes through the whole engine: loading, seeing, asking, many at once.

What the engine says is held to transformers' plain `generate` on everything at once, and what it
makes of a question to the family's own processor.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import published_by_processor
import pytest
import torch
import transformers as hf
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from chatspot_ros.core import reasoning
from chatspot_ros.core.geometry import tiled_wh
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question, Turn
from chatspot_ros.engine.models.image_inputs import image_inputs
from chatspot_ros.errors import RequestError


def load_module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


families = load_module("families")
MAKERS = {**families.MAKERS, **published_by_processor.MAKERS}
FAMILIES = sorted(MAKERS)
# One prefix for all questions about a picture, and conversations.
CHATS = [
    "internvl",
    "molmo2",
    "qwen2_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    *published_by_processor.MAKERS,
]
# What the image processor says beside the model's own arguments.
NOT_FOR_THE_MODEL = ("num_patches", "num_crops", "num_soft_tokens_per_image", "rows", "cols")
TOKEN_TYPES = {"gemma3": "token_type_ids", "gemma4": "mm_token_type_ids"}
BOX, POINT = Region.box(10, 10, 100, 80), Region.point(200, 90)
POLYGON = Region.polygon([(10, 10), (90, 20), (50, 90)])
QUESTIONS = [
    Question("What is this?", (BOX,)),
    Question("What is this?", (POINT,)),
    Question("What is this?", (POLYGON,)),
    Question("What is <region> to <region>?", (BOX, POINT)),
    Question("Describe it.", (BOX,), task="describe"),
    Question("Describe the whole image."),
    Question("Is the red mug here?"),
    Question("Is it Größe 7 or 八?"),
]


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Engine]:
    """Filled as they are asked for."""
    return {}


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(
    name: str, engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Engine:
    if name not in engines:
        folder = MAKERS[name](tmp_path_factory.mktemp("family") / f"tiny-{name}")
        engines[name] = Engine.load(str(folder), device="cpu", dtype="float32")
    return engines[name]


def pixels_of(engine: Engine, image_rgb: np.ndarray) -> dict[str, torch.Tensor]:
    return image_inputs(image_rgb, engine.spec, engine._runner.image_processor)[1]


def generate(
    engine: Engine, name: str, image_rgb: np.ndarray, prompt: str, question: Question
) -> str:
    """What plain generate says, everything at once and from the pixels on."""
    pixels = pixels_of(engine, image_rgb)
    pixels = {key: one for key, one in pixels.items() if key not in NOT_FOR_THE_MODEL}
    model: Any = engine._runner._family.whole
    ids = engine._chat.encode(prompt, question.turns, engine.prepare(image_rgb).picture)
    limit = question.max_new_tokens or 1
    inputs: dict[str, Any] = {"input_ids": torch.tensor([ids])}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    image = inputs["input_ids"] == engine._runner.image_token_id
    begin = len(ids)
    if name.startswith("qwen"):
        model.model.rope_deltas = None
        inputs["mm_token_type_ids"] = image.int()
    elif name in TOKEN_TYPES:
        inputs[TOKEN_TYPES[name]] = image.int()
    elif name == "kosmos2":
        first = int(image[0].int().argmax())
        image[0, first] = False
        inputs["image_embeds_position_mask"] = image.int()
    elif name.startswith("paligemma"):
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    elif name == "molmo2":
        marks = torch.tensor(engine._chat.tokenizer.convert_tokens_to_ids(
            ["<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<im_end>"]
        ))  # fmt: skip
        inputs["mm_token_type_ids"] = torch.isin(inputs["input_ids"], marks).int()
    elif name == "florence2":
        # The decoder's first token, the second, which is forced, and the last, which is as well.
        begin, limit = 2, limit + 2
    out = model.generate(**inputs, **pixels, max_new_tokens=limit, do_sample=False, num_beams=1)
    said = [i for i in out[0, begin:].tolist() if i not in engine._runner.end_ids]
    # Random weights may say that a reasoning ends.
    return reasoning.answer_of(engine._chat.decode(said).strip()) or ""


@pytest.mark.parametrize("index", range(len(QUESTIONS)))
def test_what_it_says_is_what_generate_says(
    engine: Engine, name: str, image_rgb: np.ndarray, index: int
) -> None:
    question = replace(QUESTIONS[index], max_new_tokens=12)
    reply = engine.answer(engine.prepare(image_rgb), question)
    assert reply.raw_text == generate(engine, name, image_rgb, reply.prompt, question)
    assert reply.tokens > 0


def test_a_picture_is_cut_up_apart_to_the_same_ids(
    engine: Engine, name: str, image_rgb: np.ndarray
) -> None:
    chat, shown = engine._chat, engine.prepare(image_rgb).picture
    # Blank lines around Gemma 3's may join those of the template, in one token.
    assert (chat._picture(shown) is None) == (name == "gemma3")
    earlier = ((), (Turn("And this?", "a mug"),))
    # Some templates refuse a second turn.
    several = "single questions" not in chat._template
    for text in ("What is this?", " spaces ", "\n\n", "Größe 八", "x" * 50):
        for turns in earlier[: 1 + several]:
            whole = chat._text(text, turns).replace(chat._placeholder, shown, 1)
            ids = chat.tokenizer.encode(whole, add_special_tokens=chat._adds_begin(whole))
            assert chat.encode(text, turns, shown) == ids


def test_many_at_once_are_answered_as_one_by_one(engine: Engine, image_rgb: np.ndarray) -> None:
    scene = engine.prepare(image_rgb)
    asked = [replace(one, max_new_tokens=5 + k) for k, one in enumerate(QUESTIONS)]
    one_by_one = [engine.answer(scene, question) for question in asked]
    together = engine.answer_many(scene, asked)
    assert [r.raw_text for r in together] == [r.raw_text for r in one_by_one]
    assert [r.tokens for r in together] == [r.tokens for r in one_by_one]
    assert len({r.raw_text for r in one_by_one}) > 2


def test_pictures_do_not_mix(engine: Engine, image_rgb: np.ndarray) -> None:
    """Of other proportions, so that positions differ: Qwen keeps those of the last picture."""
    tall_rgb = np.random.default_rng(5).integers(0, 256, (300, 60, 3), dtype=np.uint8)
    asked = [Question("What is this?", max_new_tokens=8),
             Question("Is it a mug?", (BOX,), max_new_tokens=8)]  # fmt: skip

    def say(scene: Any) -> list[str]:
        return [reply.raw_text for reply in engine.answer_many(scene, asked)]

    alone = [say(engine.prepare(rgb)) for rgb in (image_rgb, tall_rgb)]
    first, second = engine.prepare(image_rgb), engine.prepare(tall_rgb)
    assert [say(first), say(second), say(first)] == [alone[0], alone[1], alone[0]]
    assert [engine.answer(first, one).raw_text for one in asked] == alone[0]
    assert alone[0] != alone[1]


def test_what_is_shared(engine: Engine, name: str, image_rgb: np.ndarray) -> None:
    scene = engine.prepare(image_rgb)
    shared = name in (*CHATS, "kosmos2")
    assert (scene.cache is not None) == shared == bool(scene.prefix_ids)
    bare = replace(scene, cache=None, prefix_ids=())
    for question in (replace(one, max_new_tokens=6) for one in QUESTIONS[:4]):
        assert engine.answer(scene, question).raw_text == engine.answer(bare, question).raw_text


def test_a_conversation_goes_on_or_is_refused(
    engine: Engine, name: str, image_rgb: np.ndarray
) -> None:
    scene = engine.prepare(image_rgb)
    first = engine.answer(scene, Question("What is this?", (BOX,), max_new_tokens=6))
    turns = (Turn(first.prompt, first.raw_text),)
    second = Question("And this?", (POINT,), turns=turns, max_new_tokens=6)
    if name not in CHATS:
        with pytest.raises(RequestError, match="single questions"):
            engine.answer(scene, second)
        return
    reply = engine.answer(scene, second)
    assert reply.raw_text == generate(engine, name, image_rgb, reply.prompt, second)
    assert engine.answer_many(scene, [second, second])[1].raw_text == reply.raw_text


def test_what_the_model_could_not_be_told_is_noted(
    engine: Engine, name: str, image_rgb: np.ndarray
) -> None:
    scene = engine.prepare(image_rgb)
    of_box, of_polygon = (
        engine.answer(scene, Question("What is this?", (region,), max_new_tokens=1)).notes
        for region in (BOX, POLYGON)
    )
    assert any("middle" in note for note in of_box) == (name == "molmo2")
    assert any("own words" in note for note in of_box) == (engine.spec.phrases is not None)
    assert any("polygon" in note or "middle" in note for note in of_polygon)


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("florence2", "Locate the red mug in the image."),
        ("kosmos2", "<phrase> the red mug</phrase>"),
        ("paligemma", "detect the red mug"),
    ],
)
def test_places_are_asked_for_in_the_familys_phrase(
    engine: Engine, name: str, image_rgb: np.ndarray, prompt: str
) -> None:
    question = Question("Where is the red mug?", max_new_tokens=8)
    reply = engine.answer(engine.prepare(image_rgb), question)
    assert reply.prompt == prompt
    assert reply.task == "locate"
    assert reply.raw_text == generate(engine, name, image_rgb, prompt, question)


def test_a_task_that_the_model_was_not_taught_is_refused(
    engine: Engine, name: str, image_rgb: np.ndarray
) -> None:
    scene = engine.prepare(image_rgb)
    question = Question("How do I open this?", (BOX,), task="plan", max_new_tokens=2)
    if engine.spec.phrases is None:
        assert engine.answer(scene, question).task == "plan"
        return
    with pytest.raises(RequestError, match="cannot answer"):
        engine.answer(scene, question)


def test_control_tokens_stay_words(engine: Engine, image_rgb: np.ndarray) -> None:
    scene = engine.prepare(image_rgb)
    controls = engine._chat.control_strings
    typed = Question(f"Is {' '.join(controls[:3])} or {controls[-1]} here?", max_new_tokens=1)
    plain = Question("Is it here?", max_new_tokens=1)
    counts = [engine._chat._control_counts(engine.prompt_of(scene, one, "")) for one in
              (typed, plain)]  # fmt: skip
    assert counts[0] == counts[1]


@pytest.mark.parametrize("wh", [(1, 1), (1, 900), (900, 1), (1300, 700)])
def test_every_size_of_picture_runs(engine: Engine, wh: tuple[int, int]) -> None:
    scene = engine.prepare(np.full((wh[1], wh[0], 3), 90, np.uint8))
    assert engine.answer(scene, Question("What is this?", max_new_tokens=1)).tokens <= 1


def processor_ids(
    engine: Engine, name: str, image_rgb: np.ndarray, question: Question
) -> list[int]:
    """The ids that the family's own processor makes of a question in the engine's words."""
    tokenizer, image_processor = engine._chat.tokenizer, engine._runner.image_processor
    scene = engine.prepare(image_rgb)
    prompt = engine.prompt_of(scene, question, question.task)
    picture = engine.spec.geometry.fit(image_rgb.shape[1::-1]).apply(image_rgb, (0, 0, 0))
    processor: Any
    text = prompt
    if name == "kosmos2":
        processor = hf.Kosmos2Processor(image_processor, tokenizer)
        text = f"<grounding> {prompt}"
        ids = processor(images=picture, text=text, num_image_tokens=5)["input_ids"]
        # Its ids at the features' places do not matter; the engine repeats the mark.
        return [*ids[:2], *[ids[1]] * 5, *ids[7:]]
    image_processor.image_seq_length = scene.image_tokens
    tokenizer.image_token = "<image>"
    tokenizer.image_token_id = engine._runner.image_token_id
    if name == "paligemma":
        processor = hf.PaliGemmaProcessor(image_processor, tokenizer)
        text = f"<image>{prompt}"
    else:
        processor = hf.Florence2Processor(image_processor, tokenizer)
    return list(processor(images=picture, text=text)["input_ids"][0])


@pytest.mark.parametrize("name", ["kosmos2", "paligemma", "florence2"])
@pytest.mark.parametrize("index", [0, 4, 5])
def test_the_prompt_is_what_the_familys_processor_makes(
    engine: Engine, name: str, image_rgb: np.ndarray, index: int
) -> None:
    question = QUESTIONS[index]
    asked = engine.conversation.read(engine.prepare(image_rgb), question).ids
    task = question.task or engine.conversation.read(engine.prepare(image_rgb), question).task
    assert asked == processor_ids(engine, name, image_rgb, replace(question, task=task))


@pytest.mark.parametrize("name", ["molmo2"])
def test_molmos_picture_is_said_as_its_processor_says_it(
    engine: Engine, name: str, image_rgb: np.ndarray
) -> None:
    grids = pixels_of(engine, image_rgb)["image_grids"]
    settings = SimpleNamespace(image_use_col_tokens=True, use_single_crop_col_tokens=None,
                               use_single_crop_start_token=True)  # fmt: skip
    said = hf.Molmo2Processor.replace_image_token(settings, {"image_grids": grids}, 0)
    assert engine.prepare(image_rgb).picture == said


@pytest.mark.parametrize("name", ["molmo2"])
def test_molmos_pixels_without_torchvision(engine: Engine, name: str) -> None:
    grey = pixels_of(engine, np.full((90, 200, 3), 51, np.uint8))["pixel_values"]
    # Its mean and deviation are a half: (51 / 255 - 0.5) / 0.5.
    assert torch.allclose(grey, torch.full_like(grey, -0.6), atol=1e-5)
    halves = np.zeros((90, 200, 3), np.uint8)
    halves[:, 100:] = 255
    whole = pixels_of(engine, halves)["pixel_values"][0].reshape(4, 4, -1).mean(-1)
    assert (whole[:, 0] < -0.99).all()
    assert (whole[:, 3] > 0.99).all()


@pytest.mark.parametrize("wh", [(640, 480), (1920, 1080), (100, 700), (97, 31), (4000, 50)])
def test_tiles_are_laid_as_internvls_processor_lays_them(wh: tuple[int, int]) -> None:
    across, down = get_optimal_tiled_canvas((wh[1], wh[0]), (448, 448), 1, 12)
    assert tiled_wh(wh, (448, 448), 12) == (across * 448, down * 448)


@pytest.mark.parametrize("name", ["internvl"])
def test_tiles_and_a_view_of_the_whole(engine: Engine, name: str) -> None:
    assert engine.prepare(np.zeros((97, 211, 3), np.uint8)).image_tokens == 9 * 4
    assert engine.prepare(np.zeros((56, 56, 3), np.uint8)).image_tokens == 4


def test_a_second_look_together_is_as_each_read_whole(
    engine: Engine, image_rgb: np.ndarray
) -> None:
    """The cut enters behind the shared picture, with the family's marks and positions."""
    scene = engine.prepare(image_rgb)
    asked = [replace(one, look_twice="on", max_new_tokens=4) for one in QUESTIONS[:3]]
    together = engine.answer_many(scene, asked)
    if not engine._runner.takes_cuts:
        assert all("looked once" in "".join(reply.notes) for reply in together)
        return
    whole = [engine.answer(replace(scene, cache=None, prefix_ids=()), one) for one in asked]
    assert [reply.looked_twice for reply in together] == [True] * 3
    assert [reply.raw_text for reply in together] == [reply.raw_text for reply in whole]
    for packed, alone in zip(together, whole, strict=True):
        assert packed.log_probabilities == pytest.approx(alone.log_probabilities, abs=2e-3)
    once = engine.answer_many(scene, [replace(one, look_twice="off") for one in asked])
    assert [one.log_probabilities for one in once] != [one.log_probabilities for one in together]
