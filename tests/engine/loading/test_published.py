"""Checkpoints as their repositories have them: what loads, and what the model is then given.

Ids and pixels are held to the family's own template and image processor, on odd sizes of picture.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import published
import pytest
import torch
import transformers as hf

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question, Turn
from chatspot_ros.engine.models.image_inputs import image_inputs
from chatspot_ros.errors import ModelLoadError, RequestError

QWENS = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_thinking"]
CHATS = [*QWENS, "internvl", "llava_1_5", "molmo2"]
SIZES = [(1, 1), (1920, 1080), (1000, 37), (333, 777)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The layouts, written as they are asked for."""
    return {"": tmp_path_factory.mktemp("published")}


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    return {}


def folder_of(folders: dict[str, Path], layout: str) -> Path:
    if layout not in folders:
        folders[layout] = published.write(folders[""] / layout, layout)
    return folders[layout]


@pytest.fixture
def engine(layout: str, folders: dict[str, Path], engines: dict[str, Engine]) -> Engine:
    if layout not in engines:
        engines[layout] = Engine.load(str(folder_of(folders, layout)), device="cpu")
    return engines[layout]


@pytest.fixture
def broken(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of Qwen2.5-VL that a test may break."""
    return Path(shutil.copytree(folder_of(folders, "qwen2_5_vl"), tmp_path / "broken"))


def smooth(wh: tuple[int, int]) -> np.ndarray:
    """A picture without edges, so that ways of resizing agree; uint8, RGB."""
    x, y = np.meshgrid(np.linspace(0, 1, wh[0]), np.linspace(0, 1, wh[1]))
    return (np.stack([x, y, (x + y) / 2], -1) * 200 + 20).astype(np.uint8)


@pytest.mark.parametrize("layout", published.LAYOUTS)
def test_every_layout_loads_and_answers(engine: Engine, layout: str) -> None:
    scene = engine.prepare(smooth((333, 77)))
    for question in (Question("What is this?", (Region.box(10, 10, 100, 50),)),
                     Question("Where is the mug?")):  # fmt: skip
        asked = Question(question.text, question.regions, max_new_tokens=2, reasoning_tokens=2)
        reply = engine.answer(scene, asked)
        assert reply.answer.truncated or reply.tokens < 5
    assert engine._chat.reasons == layout.endswith("thinking")


@pytest.mark.parametrize("layout", QWENS)
def test_the_picture_comes_by_the_processors_template(engine: Engine, layout: str) -> None:
    text = engine._chat._text("one", (Turn("two", "three"),))
    assert text == (
        "<|im_start|>system\nYou help.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>two<|im_end|>\n"
        "<|im_start|>assistant\nthree<|im_end|>\n<|im_start|>user\none<|im_end|>\n"
        "<|im_start|>assistant\n" + "<think>\n" * layout.endswith("thinking")
    )


def own_pixels(engine: Engine, image_rgb: np.ndarray, **options: Any) -> dict[str, torch.Tensor]:
    """What the family's own image processor makes of a picture, by its published settings."""
    processor = engine._runner.image_processor
    return dict(processor(images=image_rgb, return_tensors="pt", input_data_format="channels_last",
                          **options))  # fmt: skip


def own_ids(engine: Engine, image_text: str, prompt: str, turns: tuple[Turn, ...]) -> list[int]:
    """The ids of a conversation by the checkpoint's template, its picture written out."""
    messages: list[dict[str, Any]] = []
    for turn in (*turns, Turn(prompt, "")):
        parts = [{"type": "image"}] * (not messages) + [{"type": "text", "text": turn.user_text}]
        messages.append({"role": "user", "content": parts})
        if turn.answer_text:
            said = [{"type": "text", "text": turn.answer_text}]
            messages.append({"role": "assistant", "content": said})
    tokenizer = engine._chat.tokenizer
    text = tokenizer.apply_chat_template(
        messages, chat_template=engine._chat._template, add_generation_prompt=True, tokenize=False
    )
    # Molmo 2's processor writes the beginning that its template lacks.
    text = engine._runner.opening + text
    return list(tokenizer(text.replace(engine._chat._placeholder, image_text, 1))["input_ids"])


@pytest.mark.parametrize("layout", QWENS)
@pytest.mark.parametrize("wh", SIZES)
def test_qwens_pixels_and_ids(engine: Engine, wh: tuple[int, int], layout: str) -> None:
    image_rgb = smooth(wh)
    theirs = own_pixels(engine, image_rgb)
    _, ours = image_inputs(image_rgb, engine.spec, engine._runner.image_processor)
    assert ours["image_grid_thw"].tolist() == theirs["image_grid_thw"].tolist()
    difference = (ours["pixel_values"] - theirs["pixel_values"]).abs()
    assert difference.mean() < 0.02
    assert difference.max() < 0.2
    if wh == (1920, 1080):
        return
    tokens = int(theirs["image_grid_thw"].prod()) // 4
    assert engine.prepare(image_rgb).image_tokens == tokens
    check_ids(engine, image_rgb, "<|image_pad|>" * tokens)


@pytest.mark.parametrize("layout", ["internvl"])
@pytest.mark.parametrize("wh", SIZES)
def test_internvls_pixels_and_ids(engine: Engine, wh: tuple[int, int], layout: str) -> None:
    image_rgb = smooth(wh)
    # Its own processor cuts into tiles when it is told to, as its training did.
    theirs = own_pixels(engine, image_rgb, crop_to_patches=True, max_patches=12)["pixel_values"]
    _, inputs = image_inputs(image_rgb, engine.spec, engine._runner.image_processor)
    ours = inputs["pixel_values"]
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().mean() < 0.03
    check_ids(engine, image_rgb, f"<img>{'<IMG_CONTEXT>' * 4 * len(theirs)}</img>")


@pytest.mark.parametrize("layout", ["paligemma", "florence2", "kosmos2"])
@pytest.mark.parametrize("wh", SIZES)
def test_pixels_of_a_fixed_square(engine: Engine, wh: tuple[int, int], layout: str) -> None:
    image_rgb = smooth(wh)
    theirs = own_pixels(engine, image_rgb)["pixel_values"]
    _, inputs = image_inputs(image_rgb, engine.spec, engine._runner.image_processor)
    assert inputs["pixel_values"].shape == theirs.shape
    assert (inputs["pixel_values"] - theirs).abs().mean() < 0.03


@pytest.mark.parametrize("layout", ["molmo2"])
@pytest.mark.parametrize("wh", SIZES)
def test_molmos_pixels(engine: Engine, wh: tuple[int, int], layout: str) -> None:
    image_rgb = smooth(wh)
    theirs = own_pixels(engine, image_rgb)
    _, ours = image_inputs(image_rgb, engine.spec, engine._runner.image_processor)
    assert ours["image_grids"].tolist() == theirs["image_grids"].tolist()
    assert torch.equal(ours["pixel_values"], theirs["pixel_values"])


@pytest.mark.parametrize("layout", ["llava_1_5"])
@pytest.mark.parametrize("wh", SIZES)
def test_llavas_padded_picture(engine: Engine, wh: tuple[int, int], layout: str) -> None:
    """Padded with the mean, as the authors' code does it; transformers' processor would crop."""
    image_rgb = smooth(wh)
    side = max(wh)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = [int(mean * 255) for mean in published.CLIP_MEAN]
    left, top = (side - wh[0]) // 2, (side - wh[1]) // 2
    square[top : top + wh[1], left : left + wh[0]] = image_rgb
    theirs = own_pixels(engine, square)["pixel_values"]
    _, inputs = image_inputs(image_rgb, engine.spec, engine._runner.image_processor)
    assert inputs["pixel_values"].shape == theirs.shape
    assert (inputs["pixel_values"] - theirs).abs().mean() < 0.04


def check_ids(engine: Engine, image_rgb: np.ndarray, image_text: str) -> None:
    """Hold the ids of a first and a second question to those of the checkpoint's template."""
    scene, turns = engine.prepare(image_rgb), ()
    for text in ("What is this?", "And this?"):
        question = Question(text, (Region.box(0, 0, *image_rgb.shape[1::-1]),), turns=turns)
        ready = engine.conversation.read(scene, question)
        assert ready.ids == own_ids(engine, image_text, ready.prompt, turns)
        turns = (*turns, Turn(ready.prompt, "a mug"))


@pytest.mark.parametrize("layout", ["llava_1_5"])
@pytest.mark.parametrize("wh", SIZES)
def test_llavas_ids(engine: Engine, wh: tuple[int, int], layout: str) -> None:
    processor: Any = hf.LlavaProcessor(
        engine._runner.image_processor, engine._chat.tokenizer, patch_size=14,
        vision_feature_select_strategy="default", image_token="<image>",
        num_additional_image_tokens=1,
    )  # fmt: skip
    counted = processor(images=smooth(wh), text="<image>")["input_ids"][0]
    image = engine._runner.image_token_id
    check_ids(engine, smooth(wh), "<image>" * list(counted).count(image))


@pytest.mark.parametrize("layout", ["molmo2"])
@pytest.mark.parametrize("wh", SIZES)
def test_molmos_ids(engine: Engine, wh: tuple[int, int], layout: str) -> None:
    theirs = own_pixels(engine, smooth(wh))
    settings = SimpleNamespace(image_use_col_tokens=True, use_single_crop_col_tokens=None,
                               use_single_crop_start_token=True)  # fmt: skip
    said = hf.Molmo2Processor.replace_image_token(settings, theirs, 0)
    check_ids(engine, smooth(wh), said)


@pytest.mark.parametrize("layout", CHATS)
@pytest.mark.parametrize("wh", SIZES)
def test_boxes_there_and_back(engine: Engine, wh: tuple[int, int], layout: str) -> None:
    fit, (w, h) = engine.spec.geometry.fit(wh), wh
    region = Region.box(w * 0.25, h * 0.125, w * 0.75, h * 0.875)
    (found,) = engine.dialect.find(engine.dialect.say(region, fit), fit)
    if layout == "molmo2":
        region = Region.point(w * 0.5, h * 0.5)
    for (x, y), (u, v) in zip(region.points_px, found.region_px.points_px, strict=True):
        # One step of the dialect's grid on the model's picture, which may be far larger.
        assert abs(x - u) <= 0.03 * max(wh)
        assert abs(y - v) <= 0.03 * max(wh)


def refuse(folder: Path, match: str) -> str:
    with pytest.raises(ModelLoadError, match=match) as caught:
        Engine.load(str(folder), device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_template_without_pictures_alone_is_named(broken: Path) -> None:
    (broken / "chat_template.json").unlink()
    said = refuse(broken, "no chat template that can carry a picture")
    assert "tokenizer_config.json: TypeError" in said


def test_the_order_of_templates(broken: Path) -> None:
    def picture(mark: str) -> str:
        return published.QWEN_PICTURE.replace("You help.", mark).replace("OPENED", "")

    def system() -> str:
        return Engine.load(str(broken), device="cpu")._chat._text("x", ()).split("\n")[1]

    edits = (("processor_config.json", "processor"), ("chat_template.json", "json"))
    published.edit(broken, "tokenizer_config.json", chat_template=picture("tokenizer"))
    (broken / "chat_template.json").unlink()
    assert system() == "tokenizer<|im_end|>"
    for name, mark in edits:
        published.edit(broken, name, chat_template=picture(mark))
        assert system() == f"{mark}<|im_end|>"
    (broken / "chat_template.jinja").write_text(picture("jinja"))
    assert system() == "jinja<|im_end|>"
    # One that knows no picture is passed over.
    (broken / "chat_template.jinja").write_text(published.TEXT_ONLY)
    assert system() == "json<|im_end|>"
    published.edit(broken, "chat_template.json", chat_template={"default": picture("default")})
    assert system() == "default<|im_end|>"


def test_the_users_own_template_goes_first(broken: Path) -> None:
    from chatspot_ros.core.model_spec import find_spec

    settings = find_spec("x", "qwen2_5_vl").model_dump(mode="json", exclude_none=True)
    settings["chat_template"] = published.QWEN_PICTURE.replace("You help.", "mine")
    (broken / "chatspot.yaml").write_text(json.dumps(settings))
    assert "mine" in Engine.load(str(broken), device="cpu")._chat._text("x", ())


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0]['content'][0]['image']['url'] }}",
        "{{ messages[0]['content'] + '' }}",
        "{% for part in messages[0]['content'] %}{{ part['text'] | length / 0 }}{% endfor %}",
        "{% if %}",
        "{{ messages | map(attribute='content') | list }}",
        "{% for part in messages[0]['content'] %}{{ part['text'] }}{% endfor %}",
    ],
)
def test_every_failure_to_render_is_a_fault_of_the_checkpoint(broken: Path, template: str) -> None:
    published.edit(broken, "chat_template.json", chat_template=template)
    refuse(broken, "chat template")


def test_a_template_that_fails_at_the_second_turn_is_refused(broken: Path) -> None:
    good = published.QWEN_PICTURE.replace("OPENED", "")
    bad = f"{{% if messages | length > 1 %}}{{{{ 1 + 'a' }}}}{{% endif %}}{good}"
    published.edit(broken, "chat_template.json", chat_template=bad)
    refuse(broken, "refuses the conversation")


def test_a_template_for_single_questions_refuses_a_second_in_its_own_words(broken: Path) -> None:
    good = published.QWEN_PICTURE.replace("OPENED", "")
    single = (
        f"{{% if messages | length > 1 %}}{{{{ raise_exception('one only') }}}}{{% endif %}}{good}"
    )
    published.edit(broken, "chat_template.json", chat_template=single)
    engine = Engine.load(str(broken), device="cpu")
    asked = Question("And?", turns=(Turn("a", "b"),), max_new_tokens=1)
    with pytest.raises(RequestError, match="one only"):
        engine.answer(engine.prepare(smooth((50, 50))), asked)


@pytest.mark.parametrize("kind", ["siglip_vision_model", "dinov2"])
def test_another_vision_tower_in_llavas_class_is_refused(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    folder = Path(shutil.copytree(folder_of(folders, "llava_1_5"), tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    published.edit(folder, "config.json", vision_config={**config["vision_config"],
                                                         "model_type": kind})  # fmt: skip
    assert kind in refuse(folder, "vision")


def test_the_picture_has_the_size_of_the_vision_tower(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    from chatspot_ros.core.model_spec import find_spec

    folder = Path(shutil.copytree(folder_of(folders, "paligemma"), tmp_path / "large"))
    config = json.loads((folder / "config.json").read_text())
    published.edit(folder, "config.json", vision_config={**config["vision_config"],
                                                         "image_size": 448})  # fmt: skip
    spec = find_spec("paligemma2-3b-mix-448", "paligemma", folder)
    assert spec.geometry.fit((640, 480)).model_wh == (448, 448)


def test_an_unknown_class_is_refused(broken: Path) -> None:
    published.edit(broken, "config.json", model_type="nobody_knows")
    refuse(broken, "nobody_knows")
