from __future__ import annotations

from pathlib import Path

import pytest

from chatspot_ros.core.dialects import ChatSpotDialect, PixelJsonDialect, ShikraDialect
from chatspot_ros.core.model_spec import find_spec, read_spec
from chatspot_ros.core.prompts import PromptStyle
from chatspot_ros.errors import ModelLoadError

GOOD = """
name: tiny
dialect: {name: chatspot, decimals: 2, separator: " ", lead: " ", max_vertices: 8}
geometry: {mode: stretch, width: 224, height: 224}
prompt_style: tags
max_new_tokens: 96
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "chatspot.yaml"
    path.write_text(text)
    return path


def test_a_checkpoints_own_settings_win(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    spec = find_spec("llava-1.5-7b-hf", "llava", tmp_path)
    assert spec.name == "tiny"
    assert spec.prompt_style is PromptStyle.TAGS
    assert spec.dialect.make() == ChatSpotDialect()
    assert spec.geometry.fit((640, 480)).model_wh == (224, 224)


def test_families_are_found_by_their_type(tmp_path: Path) -> None:
    llava = find_spec("llava-hf/llava-1.5-7b-hf", "llava", tmp_path)
    assert llava.geometry.fit((200, 100)).offset_xy == (0, 84)
    qwen = find_spec("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_5_vl")
    assert isinstance(qwen.dialect.make(), PixelJsonDialect)
    assert qwen.geometry.fit((640, 480)).model_wh == (644, 476)


@pytest.mark.parametrize(
    ("model_type", "name", "dialect", "wh"),
    [
        ("qwen2_vl", "qwen2-vl", "qwen_box", (644, 476)),
        ("qwen3_vl", "qwen3-vl", "grid_json", (640, 480)),
        ("qwen3_vl_moe", "qwen3-vl", "grid_json", (640, 480)),
        ("internvl", "internvl", "internvl", (1792, 1344)),
        ("kosmos-2", "kosmos-2", "kosmos2", (224, 224)),
        ("florence2", "florence-2", "florence2", (768, 768)),
        ("paligemma", "paligemma", "paligemma", (224, 224)),
        ("molmo2", "molmo2", "molmo", (640, 480)),
        ("llava", "llava-1.5", "chatspot", (336, 336)),
    ],
)
def test_every_family_has_settings(
    model_type: str, name: str, dialect: str, wh: tuple[int, int]
) -> None:
    spec = find_spec("some/checkpoint", model_type)
    assert (spec.name, spec.dialect.make().name) == (name, dialect)
    assert spec.geometry.fit((640, 480)).model_wh == wh


def test_a_name_chooses_among_the_families_of_one_class() -> None:
    assert find_spec("shikras/shikra-7b", "llava").dialect.make() == ShikraDialect()


def test_shikra_pads_with_white() -> None:
    # expand2square of shikras/shikra, mllm/dataset/utils/transform.py; LLaVA-1.5 pads with a mean.
    assert find_spec("shikras/shikra-7b", "llava").fill_rgb == (255, 255, 255)
    assert find_spec("llava-1.5-7b-hf", "llava").fill_rgb == (122, 116, 104)


def test_phrases_are_checked(tmp_path: Path) -> None:
    phrases = "phrases: {picture: {'': '{question}'}, region: {describe: 'caption {regions}'}}"
    spec = read_spec(write(tmp_path, f"{GOOD}{phrases}"))
    assert spec.phrases is not None
    for right, wrong in (("{question}", "{colour}"), ("describe:", "sing:")):
        with pytest.raises(ModelLoadError, match="phrases"):
            read_spec(write(tmp_path, f"{GOOD}{phrases.replace(right, wrong)}"))


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelLoadError, match=r"'bert'.*llava.*qwen2_5_vl.*docs/models\.md"):
        find_spec("x", "bert")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("name: tiny", "name: tiny\ncolour: red"), "colour"),
        (("prompt_style: tags", ""), "prompt_style"),
        (("width: 224", "width: -1"), "width"),
        (("width: 224, height: 224", "width: 224"), "width and height"),
        (
            ("mode: stretch, width: 224, height: 224", "mode: pad_centre, multiple_of: 28"),
            "stretch",
        ),
        (("mode: stretch, width", "mode: pad_centre, max_tiles: 4, width"), "max_tiles"),
        (("decimals: 2", "decimals: two"), "decimals"),
        (("name: chatspot", "name: martian"), "dialect.name"),
        (("name: tiny", "name: [tiny"), "cannot be read"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    path = write(tmp_path, GOOD.replace(*change))
    with pytest.raises(ModelLoadError, match=problem):
        read_spec(path)


def test_no_mapping_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="settings are wrong"):
        read_spec(write(tmp_path, "- a\n- b\n"))
