"""chatspot-tiny's tokenizer and processor: byte-level BPE with a token for every coordinate."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

from chatspot_ros.core.tasks import task_tags
from chatspot_train.tiny.images import MEAN, STD

DECIMALS = 2
COORDINATES = tuple(f" {k / 10**DECIMALS:.{DECIMALS}f}" for k in range(10**DECIMALS + 1))
TAG_TOKENS = task_tags()
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% else %} ASSISTANT: {% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{{ message['content'][0]['text'] }}{% endif %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def build_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of at most `vocabulary` tokens, plus coordinates, on `texts`.

    Every digit is a token. No text is unknown: bytes are the fallback.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [
        AddedToken("<pad>", special=True), AddedToken("<s>", special=True),
        AddedToken("</s>", special=True), AddedToken("<image>", special=True, lstrip=True),
        AddedToken("USER:", special=True), AddedToken("ASSISTANT:", special=True, lstrip=True),
        *(AddedToken(tag, special=True, lstrip=True) for tag in TAG_TOKENS),
        AddedToken("<box>", special=False, lstrip=True), AddedToken("</box>", special=False),
    ]  # fmt: skip
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[], show_progress=False, min_frequency=2,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([token for token in control if token.special])
    tokenizer.add_tokens([token for token in control if not token.special])
    tokenizer.add_tokens([AddedToken(text, special=False) for text in COORDINATES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        padding_side="left", clean_up_tokenization_spaces=False, model_max_length=2048,
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip


def build_processor(tokenizer: PreTrainedTokenizerFast, size: int, patch: int) -> LlavaProcessor:
    """Return the LLaVA processor; the engine prepares images itself, by these settings."""
    images = CLIPImageProcessor(
        do_resize=True, size={"height": size, "width": size}, do_center_crop=False,
        image_mean=list(MEAN), image_std=list(STD), do_convert_rgb=True,
    )  # fmt: skip
    return LlavaProcessor(
        image_processor=images, tokenizer=tokenizer, patch_size=patch,
        vision_feature_select_strategy="default", chat_template=CHAT_TEMPLATE,
        image_token="<image>", num_additional_image_tokens=1,
    )  # fmt: skip
