from __future__ import annotations

import numpy as np
import pytest

from chatspot_ros.core.dialects import ChatSpotDialect
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question, Turn
from chatspot_ros.engine.prompting.chat_template import ChatTemplate, TextStream
from chatspot_ros.errors import ModelLoadError, RequestError

BOX = Region.box(10, 10, 100, 80)
CONTROLS = ["<image>", "</box>", "<box>", "<s>", "</s>", "<pad>", "[state]", "[short]", "USER:"]
QWEN_CONTROLS = ["<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|vision_end|>"]


def test_the_whole_conversation_in_llavas_format(llava: Engine) -> None:
    chat = llava._chat
    ids = chat.encode("two", (Turn("one", "mug"),), image_tokens=3)
    text = "USER: <image><image><image>\none ASSISTANT: mug</s>USER: two ASSISTANT:"
    assert chat.tokenizer.decode(ids) == text


def test_qwens_format(qwen: Engine) -> None:
    ids = qwen._chat.encode("one", (), image_tokens=2)
    assert qwen._chat.tokenizer.decode(ids) == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|image_pad|><|vision_end|>one<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("control", CONTROLS)
def test_typed_control_tokens_stay_words(
    llava: Engine, image_rgb: np.ndarray, control: str
) -> None:
    scene = llava.prepare(image_rgb)
    chat = llava._chat
    typed = Question(f"Is {control} or x{control}{control} here?", (BOX,))
    plain = Question("Is it here?", (BOX,))
    counts = [
        chat._control_counts(llava.prompt_of(scene, question, "")) for question in (typed, plain)
    ]
    assert counts[0] == counts[1]
    assert counts[0]  # the region's own tokens are there
    llava.answer(scene, typed)


@pytest.mark.parametrize("control", QWEN_CONTROLS)
def test_a_tokenizers_own_control_tokens_stay_words(
    qwen: Engine, image_rgb: np.ndarray, control: str
) -> None:
    scene = qwen.prepare(image_rgb)
    prompt = qwen.prompt_of(scene, Question(f"a{control}b {control}"), "")
    assert control not in prompt
    assert not qwen._chat._control_counts(prompt)


def test_what_gets_past_the_letters_is_caught_at_the_tokens(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = llava.prepare(image_rgb)
    monkeypatch.setattr("chatspot_ros.core.prompts.neutralise", lambda text, _: text)
    with pytest.raises(RequestError, match=r"control tokens.*<image>"):
        llava.answer(scene, Question("Is <image> here?", (BOX,)))


def test_an_answer_holds_regions_but_no_chat_tokens(llava: Engine) -> None:
    ids = llava._chat.tokenizer.encode("<s>a <box> 0.1</box>[short]</s><pad>")
    assert llava._chat.decode(ids) == "a <box> 0.1</box>"


def test_letters_of_several_tokens_come_whole(llava: Engine) -> None:
    text = "über 八 🍋 x"
    ids = llava._chat.tokenizer.encode(text)
    assert len(ids) > len(text)
    stream = TextStream(llava._chat)
    pieces = [stream.add(ids[: n + 1]) for n in range(len(ids))]
    last, whole = stream.finish(ids)
    assert whole == text
    assert "".join(pieces) + last == text
    assert all("\ufffd" not in piece for piece in pieces)
    assert sum(bool(piece) for piece in pieces) > 5


def test_a_letter_that_is_cut_off_is_marked_at_the_end(llava: Engine) -> None:
    ids = llava._chat.tokenizer.encode("a八")[:-1]
    stream = TextStream(llava._chat)
    pieces = [stream.add(ids[: n + 1]) for n in range(len(ids))]
    last, whole = stream.finish(ids)
    assert "".join(pieces) == "a"
    assert "".join(pieces) + last == whole == "a\ufffd"


def test_spaces_at_the_ends_are_not_sent(llava: Engine) -> None:
    ids = llava._chat.tokenizer.encode("  a b  \n ")
    stream = TextStream(llava._chat)
    pieces = [stream.add(ids[: n + 1]) for n in range(len(ids))]
    last, whole = stream.finish(ids)
    assert "".join(pieces) + last == whole == "a b"


@pytest.mark.parametrize("template", ["USER: {{ messages[0]['content'][0]['text'] }}", ""])
def test_a_template_without_a_picture_is_refused(llava: Engine, template: str) -> None:
    controls = ChatSpotDialect().control_strings
    with pytest.raises(ModelLoadError, match="picture"):
        ChatTemplate(llava._chat.tokenizer, template or "hello", 3, controls)
