"""Families whose own processor lays the picture out: what they are fed is what it makes.

Files lie as published; the processors are transformers' own, called as their users call them.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import published_by_processor
import pytest
import torch
import transformers as hf
from PIL import Image
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers.models.pixtral import image_processing_pil_pixtral
from xgrammar import GrammarCompiler, GrammarMatcher, TokenizerInfo

from chatspot_ros.core.model_spec import find_spec
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question, Turn
from chatspot_ros.engine.loading import checkpoint
from chatspot_ros.engine.models.image_inputs import image_inputs
from chatspot_ros.errors import ModelLoadError

MAKERS = published_by_processor.MAKERS
NAMES = sorted(set(MAKERS) - {"qwen3_5_moe"})
# Width and height, in pixels.
ODD = [(1, 1), (1920, 1080), (1000, 37), (333, 777)]
EARLIER = ((), (Turn("And this?", "a mug"),))
BOX = Region.box(0.1, 0.2, 0.7, 0.9)


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    """Filled as they are asked for."""
    return {}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(
    name: str, engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Engine:
    if name not in engines:
        folder = MAKERS[name](tmp_path_factory.mktemp("published") / f"tiny-{name}")
        engines[name] = Engine.load(str(folder), device="cpu", dtype="float32")
    return engines[name]


def picture(wh: tuple[int, int]) -> np.ndarray:
    """A smooth picture with all colours, so that resizing loses little."""
    x, y = np.meshgrid(np.linspace(0, 255, wh[0]), np.linspace(0, 255, wh[1]))
    return np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)


def unresized(image_processor: Any, name: str) -> Any:
    """The image processor as it is without torchvision, from its published settings alone."""
    if name == "mistral3":
        # PixtralProcessor hands the side of a token on.
        return lambda **given: image_processor(**given, patch_size={"height": 28, "width": 28})
    if name in ("idefics3", "smolvlm"):
        return lambda **given: image_processor(**given, return_row_col_info=True)
    return image_processor


def pixtral_processor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PixtralProcessor, whose module asks for torchvision although its text needs none."""
    package = "transformers.models.pixtral"
    monkeypatch.setitem(
        sys.modules, f"{package}.image_processing_pixtral", image_processing_pil_pixtral
    )
    return importlib.import_module(f"{package}.processing_pixtral").PixtralProcessor


def shown(engine: Engine, name: str, made: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The template's token for a picture, and what the family's processor puts in its place."""
    folder = engine.folder
    path = folder / "processor_config.json"
    settings = json.loads(path.read_text()) if path.is_file() else {}
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    images = hf.AutoImageProcessor.from_pretrained(folder)
    if name == "gemma3":
        whole = hf.Gemma3Processor(images, tokenizer, image_seq_length=settings["image_seq_length"])
        return whole.image_token, whole.replace_image_token(made, 0)
    if name == "idefics3":
        whole = hf.Idefics3Processor(images, tokenizer, image_seq_len=settings["image_seq_len"])
        return whole.image_token, whole.replace_image_token(made, 0)
    # Their constructors ask for a video processor, which needs torchvision, or for num2words.
    kind: Any = {
        "qwen3_5": hf.Qwen3VLProcessor, "gemma4": hf.Gemma4Processor,
        "smolvlm": hf.SmolVLMProcessor, "llava_onevision": hf.LlavaOnevisionProcessor,
    }.get(name) or pixtral_processor(monkeypatch)  # fmt: skip
    bare = kind.__new__(kind)
    defaults: dict[str, Any] = {
        "qwen3_5": {"image_token": "<|image_pad|>"},
        "gemma4": {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"},
        "smolvlm": {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>",
                    "global_image_token": "<global-img>"},
    }.get(name, {})  # fmt: skip
    for key, value in {**defaults, **settings, "image_processor": images}.items():
        setattr(bare, key, value)
    return bare.image_token, bare.replace_image_token(made, 0)


@pytest.mark.parametrize("wh", ODD)
def test_pixels_are_the_processors(engine: Engine, name: str, wh: tuple[int, int]) -> None:
    image_rgb = picture(wh)
    published = unresized(hf.AutoImageProcessor.from_pretrained(engine.folder), name)
    expected = published(images=Image.fromarray(image_rgb), return_tensors="pt")
    fit, mine = image_inputs(image_rgb, engine.spec, engine._runner.image_processor)
    assert fit.image_wh == wh
    if not engine.spec.geometry.processor_resizes:
        # Only the resizing differs, and it does little on a smooth picture.
        assert torch.equal(mine["image_grid_thw"], expected["image_grid_thw"])
        distance = (mine["pixel_values"] - expected["pixel_values"]).abs().mean()
        assert distance < 0.01
        return
    assert fit.model_wh == wh
    assert set(mine) == set(expected)
    for key, value in expected.items():
        assert torch.equal(mine[key], torch.as_tensor(value)), key


@pytest.mark.parametrize("turns", EARLIER, ids=["first turn", "second turn"])
@pytest.mark.parametrize("wh", ODD)
def test_ids_are_the_processors(
    engine: Engine,
    name: str,
    wh: tuple[int, int],
    turns: tuple[Turn, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image_rgb, folder = picture(wh), engine.folder
    scene = engine.prepare(image_rgb)
    asked = engine.conversation.read(scene, Question("What is this?", (BOX,), turns=turns))
    published = unresized(hf.AutoImageProcessor.from_pretrained(folder), name)
    made = published(images=Image.fromarray(image_rgb), return_tensors="pt")
    messages: list[dict[str, Any]] = []
    for turn in (*turns, Turn(asked.prompt, "")):
        said = [{"type": "text", "text": turn.user_text}]
        messages.append({"role": "user", "content": said})
        if turn.answer_text:
            answered = [{"type": "text", "text": turn.answer_text}]
            messages.append({"role": "assistant", "content": answered})
    messages[0]["content"].insert(0, {"type": "image"})
    template = folder / "chat_template.jinja"
    text = (
        template.read_text()
        if template.is_file()
        else json.loads((folder / "chat_template.json").read_text())["chat_template"]
    )
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    conversation = tokenizer.apply_chat_template(
        messages, chat_template=text, add_generation_prompt=True, tokenize=False
    )
    placeholder, instead = shown(engine, name, made, monkeypatch)
    whole = conversation.replace(placeholder, instead, 1)
    expected = tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert asked.ids == expected
    assert asked.ids.count(engine._runner.image_token_id) == scene.image_tokens


@pytest.mark.parametrize("wh", ODD)
def test_a_region_is_said_and_found_again(engine: Engine, wh: tuple[int, int]) -> None:
    fit = engine.spec.geometry.fit(wh)
    box = Region.box(0.1 * wh[0], 0.2 * wh[1], 0.72 * wh[0], 0.9 * wh[1])
    (found,) = engine.dialect.find(engine.dialect.say(box, fit), fit)
    unit = [(x / wh[0], y / wh[1]) for x, y in found.region_px.points_px]
    assert np.allclose(unit, [(0.1, 0.2), (0.72, 0.9)], atol=0.0051)


def test_places_keep_to_the_grammar(engine: Engine) -> None:
    scene = engine.prepare(picture((211, 97)))
    questions = [
        Question("Where is the red mug?", max_new_tokens=n, min_confidence=0.0) for n in (20, 45)
    ]
    for reply in engine.answer_many(scene, questions):
        assert reply.task == "locate"
        assert "the red mug" in reply.prompt
        assert reply.answer.truncated or not reply.answer.uncertain


def test_answers_leave_the_picture_as_it_was(engine: Engine) -> None:
    scene = engine.prepare(picture((211, 97)))
    names = ("keys", "values", "conv_states", "recurrent_states")

    def states() -> list[torch.Tensor]:
        kept = [getattr(layer, one, None) for layer in scene.cache.layers for one in names]
        flat = [value for one in kept for value in (one.values() if isinstance(one, dict)
                                                    else [one])]  # fmt: skip
        return [value.clone() for value in flat if value is not None]

    before = states()
    asked = [Question("What is this?", (Region.box(1, 1, 50, 50),), max_new_tokens=4),
             Question("Is it red?", (Region.box(90, 9, 200, 90),), max_new_tokens=4)]  # fmt: skip
    alone = [engine.answer(engine.prepare(picture((211, 97))), one).raw_text for one in asked]
    assert [reply.raw_text for reply in engine.answer_many(scene, asked)] == alone
    assert [engine.answer(scene, one).raw_text for one in reversed(asked)] == alone[::-1]
    after = states()
    assert len(after) == len(before)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["gemma4"])
def test_a_picture_has_the_tokens_that_its_size_needs(engine: Engine, name: str) -> None:
    assert engine.prepare(picture((960, 540))).image_tokens < 70
    assert engine.prepare(picture((480, 480))).image_tokens == 64


@pytest.mark.parametrize("settings", [False, True])
def test_a_class_that_no_family_feeds_is_refused(tmp_path: Path, settings: bool) -> None:
    """Settings beside the weights would feed it as LLaVA is fed, and it would answer nonsense."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "glm4v"}))
    if settings:
        spec = find_spec("x", "llava").model_dump(mode="json", exclude_none=True)
        (tmp_path / "chatspot.yaml").write_text(json.dumps(spec))
    with pytest.raises(ModelLoadError, match="pictures enter models of this class") as caught:
        Engine.load(str(tmp_path), device="cpu")
    assert "glm4v" in str(caught.value)
    assert "chatspot.yaml" not in str(caught.value)


@pytest.mark.parametrize("name", ["qwen3_5"])
def test_a_model_that_can_reason_is_asked_to_answer_at_once(engine: Engine) -> None:
    ids = engine.conversation.read(engine.prepare(picture((64, 64))), Question("What is this?")).ids
    assert engine._chat.tokenizer.decode(ids).endswith("<think>\n\n</think>\n\n")
    assert not engine._chat.reasons


@pytest.mark.parametrize("name", ["pixtral"])
def test_llavas_class_with_pixtrals_tower_is_fed_as_pixtral(engine: Engine, tmp_path: Path) -> None:
    """Whatever the folder is called: as LLaVA-1.5 it would get a padded square and fractions."""
    assert json.loads((engine.folder / "config.json").read_text())["model_type"] == "llava"
    (tmp_path / "config.json").write_text((engine.folder / "config.json").read_text())
    assert find_spec("my-own-checkpoint", "llava", tmp_path).name == "pixtral"
    assert find_spec("my-own-checkpoint", "llava").name == "llava-1.5"


def test_mistrals_numbers_are_read_digit_by_digit(tmp_path: Path) -> None:
    """The tokenizer.json of Mistral Small 3.1 parts them by threes (discussion 84 of
    mistralai/Mistral-Small-3.1-24B-Instruct-2503); transformers knows it by its many tokens."""
    vocabulary = published_by_processor.byte_vocabulary(["<unk>", "<s>", "</s>"])
    vocabulary |= {f"<unused_{k}>": len(vocabulary) + k for k in range(100_000)} | {"19": 200_000}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("1", "9")]))
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    hf.PreTrainedTokenizerFast(tokenizer_object=backend).save_pretrained(tmp_path)
    config = {"model_type": "mistral3", "transformers_version": "4.50.0.dev0"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert checkpoint.load_tokenizer(tmp_path, "llava").tokenize("1920") == ["19", "2", "0"]
    assert checkpoint.load_tokenizer(tmp_path, "mistral3").tokenize("1920") == [*"1920"]


NONE = {"smolvlm": "There is no such thing.", "idefics3": "There is no such thing.",
        "llava_onevision": "There is no mug here."}  # fmt: skip


def test_nothing_found_is_read_as_an_answer(engine: Engine, name: str) -> None:
    builder = engine.conversation.builder
    text, fit = NONE.get(name, "[]"), engine.spec.geometry.fit((211, 97))
    got = builder.read(text, (), "locate", fit, truncated=False, log_probabilities=None)
    assert (got.grounded, got.uncertain) == ((), False)
    grammar = builder.grammar("locate")
    assert grammar is not None
    compiled = GrammarCompiler(TokenizerInfo([])).compile_grammar(grammar)
    matcher = GrammarMatcher(compiled, terminate_without_stop_token=True)
    assert matcher.accept_string(text)
    assert matcher.is_completed()
