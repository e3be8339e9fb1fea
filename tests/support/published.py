"""Checkpoints in the layout of each family's repository: its files, their keys, its classes.

The weights are random and tiny; tokenizers and processors are of the real classes. Repositories
differ in where the chat template is and what it knows, in the age of their keys, and in whether the
language model's settings stand in `text_config`. `python -m published FOLDER` writes all of them.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published_by_processor
import torch
import transformers as hf

_TESTS = Path(__file__).resolve().parents[1]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
HALF = [0.5, 0.5, 0.5]
# The language model's template: it joins contents as strings, and a list of parts is an error.
TEXT_ONLY = (
    "{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}"
    "{%- endif %}{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
QWEN_PICTURE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou help.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' or 'image' in part %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in part %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\nOPENED{% endif %}"
)
LLAVA_PICTURE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def load_makers() -> Any:
    """The module of the tiny checkpoints."""
    path = _TESTS / "engine" / "models" / "families.py"
    spec = importlib.util.spec_from_file_location("tiny_families", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY = load_makers()


def edit(folder: Path, name: str, *gone: str, **values: Any) -> None:
    """Change keys of a JSON file, or write it."""
    path = folder / name
    data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    data = {**{key: value for key, value in data.items() if key not in gone}, **values}
    path.write_text(json.dumps(data, indent=2), encoding="utf-8")


def _drop(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _retokenize(folder: Path, tokenizer_class: type[Any], **named: Any) -> None:
    """Write the maker's byte tokenizer as one of a real class, with the same ids."""
    old = hf.PreTrainedTokenizerFast.from_pretrained(folder)
    settings = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    special = [token["content"] for token in settings["added_tokens"]]
    tokenizer = tokenizer_class(
        vocab=settings["model"]["vocab"],
        merges=[],
        additional_special_tokens=[token for token in special if not token.startswith("</box")],
        bos_token=old.bos_token,
        eos_token=old.eos_token,
        pad_token=old.pad_token,
        **named,
    )
    _drop(folder, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    tokenizer.save_pretrained(folder)
    edit(folder, "vocab.json", **settings["model"]["vocab"])
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def _qwen_files(folder: Path, model_class: str, kind: str, *, size: dict[str, Any]) -> None:
    _retokenize(folder, hf.Qwen2Tokenizer)
    edit(folder, "config.json", "dtype", architectures=[model_class], torch_dtype="bfloat16",
         transformers_version="4.41.2")  # fmt: skip
    edit(folder, "preprocessor_config.json", "size", "min_pixels", "max_pixels", "do_resize",
         "do_rescale", "do_normalize", "rescale_factor", "do_convert_rgb", "resample",
         processor_class=kind, **size)  # fmt: skip
    edit(folder, "generation_config.json", do_sample=True, temperature=1e-06,
         repetition_penalty=1.05, transformers_version="4.49.0")  # fmt: skip


def _flatten(folder: Path) -> None:
    """Put the language model's settings on the top level, as in Qwen2-VL's and 2.5-VL's files."""
    data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = data.pop("text_config")
    rope = text.pop("rope_parameters")
    for key in ("model_type", "dtype", "layer_types", "vocab_size"):
        text.pop(key, None)
    data.update(text, vocab_size=_vocabulary(folder), rope_theta=rope["rope_theta"],
                rope_scaling={"type": "mrope", "mrope_section": rope["mrope_section"]})  # fmt: skip
    (folder / "config.json").write_text(json.dumps(data, indent=2), encoding="utf-8")


def _vocabulary(folder: Path) -> int:
    return len(hf.AutoTokenizer.from_pretrained(folder))


OLD_SIZE = {"min_pixels": 3136, "max_pixels": 12845056,
            "image_processor_type": "Qwen2VLImageProcessor"}  # fmt: skip
NEW_SIZE = {"size": {"longest_edge": 16777216, "shortest_edge": 65536},
            "image_processor_type": "Qwen2VLImageProcessorFast"}  # fmt: skip


def write_qwen2_vl(folder: Path) -> None:
    """Qwen/Qwen2-VL-2B-Instruct: the picture's template in both places."""
    TINY.make_qwen2_vl(folder)
    _qwen_files(folder, "Qwen2VLForConditionalGeneration", "Qwen2VLProcessor", size=OLD_SIZE)
    _flatten(folder)
    template = QWEN_PICTURE.replace("OPENED", "")
    edit(folder, "chat_template.json", chat_template=template)
    edit(folder, "tokenizer_config.json", chat_template=template)


def write_qwen2_5_vl(folder: Path) -> None:
    """Qwen/Qwen2.5-VL-3B-Instruct: the tokenizer's template is the language model's."""
    make_qwen2_5_vl(folder)
    _qwen_files(folder, "Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLProcessor", size=OLD_SIZE)
    _flatten(folder)
    edit(folder, "chat_template.json", chat_template=QWEN_PICTURE.replace("OPENED", ""))
    edit(folder, "tokenizer_config.json", chat_template=TEXT_ONLY)


def make_qwen2_5_vl(folder: Path) -> None:
    """Write a Qwen2.5-VL of hidden size 32."""
    tokenizer = TINY._qwen_tokenizer()
    config = hf.Qwen2_5_VLConfig(
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2,
                       "out_hidden_size": 32, "window_size": 56, "fullatt_block_indexes": [1],
                       "patch_size": 14},
        text_config={**TINY.TEXT, "vocab_size": len(tokenizer), "bos_token_id": 0,
                     "eos_token_id": 2, "rope_parameters": TINY._rope([1, 1, 2])},
        **TINY._qwen_ids(),
    )  # fmt: skip
    model = hf.Qwen2_5_VLForConditionalGeneration(config)
    TINY.save(folder, model, tokenizer, TINY.Qwen2VLImageProcessorPil())


def write_qwen3_vl(folder: Path) -> None:
    """Qwen/Qwen3-VL-2B-Instruct."""
    _write_qwen3(folder, "")


def write_qwen3_vl_thinking(folder: Path) -> None:
    """Qwen/Qwen3-VL-2B-Thinking: the template opens the reasoning."""
    _write_qwen3(folder, "<think>\n")


def _write_qwen3(folder: Path, opened: str) -> None:
    TINY.make_qwen3_vl(folder)
    _qwen_files(folder, "Qwen3VLForConditionalGeneration", "Qwen3VLProcessor", size=NEW_SIZE)
    template = QWEN_PICTURE.replace("OPENED", opened)
    edit(folder, "chat_template.json", chat_template=template)
    edit(folder, "tokenizer_config.json", chat_template=template)
    edit(folder, "video_preprocessor_config.json", video_processor_type="Qwen3VLVideoProcessor")


def write_internvl(folder: Path) -> None:
    """OpenGVLab/InternVL3-1B-hf."""
    TINY.make_internvl(folder)
    _retokenize(folder, hf.Qwen2Tokenizer)
    _drop(folder, "chatspot.yaml")
    edit(folder, "tokenizer_config.json", start_image_token="<img>", end_image_token="</img>",
         context_image_token="<IMG_CONTEXT>", processor_class="InternVLProcessor")  # fmt: skip
    edit(folder, "processor_config.json", image_seq_length=4, processor_class="InternVLProcessor")
    edit(folder, "preprocessor_config.json", processor_class="InternVLProcessor",
         crop_to_patches=False, min_patches=1)  # fmt: skip
    template = TINY.QWEN_TEMPLATE.replace("IMAGE", "<IMG_CONTEXT>\n")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _pieces(first: list[str]) -> dict[str, int]:
    """The vocabulary of a SentencePiece model of letters and bytes."""
    letters = [chr(code) for code in range(33, 127)]
    return {token: k for k, token in enumerate(
        [*first, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *letters]
    )}  # fmt: skip


def write_llava_1_5(folder: Path) -> None:
    """llava-hf/llava-1.5-7b-hf."""
    tokenizer = hf.LlamaTokenizer(vocab=_pieces(["<unk>", "<s>", "</s>"]), merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<pad>"]})
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            image_size=336, patch_size=14,
        ),
        text_config=hf.LlamaConfig(**TINY.TEXT, vocab_size=len(tokenizer), bos_token_id=1,
                                   eos_token_id=2, pad_token_id=image + 1),
        image_token_index=image, vision_feature_layer=-2,
    )  # fmt: skip
    model = hf.LlavaForConditionalGeneration(config)
    TINY.save(folder, model, tokenizer, hf.CLIPImageProcessor())
    edit(folder, "preprocessor_config.json", processor_class="LlavaProcessor",
         size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336},
         image_processor_type="CLIPImageProcessor")  # fmt: skip
    edit(folder, "processor_config.json", num_additional_image_tokens=1, patch_size=14,
         processor_class="LlavaProcessor", vision_feature_select_strategy="default",
         image_token="<image>")  # fmt: skip
    edit(folder, "chat_template.json", chat_template=LLAVA_PICTURE)
    edit(folder, "config.json", "image_token_id", "dtype", image_token_index=image,
         torch_dtype="float16", projector_hidden_act="gelu", tie_word_embeddings=False)  # fmt: skip


def write_molmo2(folder: Path) -> None:
    """allenai/Molmo2-4B, which also brings code of its own."""
    TINY.make_molmo2(folder)
    _retokenize(folder, hf.Qwen2Tokenizer)
    edit(folder, "config.json", auto_map={"AutoConfig": "configuration_molmo2.Molmo2Config"})
    edit(folder, "processor_config.json", processor_class="Molmo2Processor",
         image_use_col_tokens=True, use_single_crop_col_tokens=None,
         use_single_crop_start_token=True)  # fmt: skip
    template = TINY.QWEN_TEMPLATE.replace("IMAGE", "<|image|>")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def write_paligemma(folder: Path) -> None:
    """google/paligemma2-3b-mix-224: no chat template."""
    places = [f"<loc{k:04d}>" for k in range(1024)]
    tokenizer = hf.GemmaTokenizer(
        vocab=_pieces(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *places]), merges=[],
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    tokenizer.add_tokens(places)
    config = hf.PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", "hidden_size": 32,
                       "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "patch_size": 14, "vision_use_head": False},
        text_config={**TINY.TEXT, "model_type": "gemma", "vocab_size": len(tokenizer),
                     "head_dim": 8},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), projection_dim=32,
        hidden_size=32,
    )  # fmt: skip
    model = hf.PaliGemmaForConditionalGeneration(config)
    processor = hf.SiglipImageProcessor(size={"height": 224, "width": 224})
    TINY.save(folder, model, tokenizer, processor, 0.1, 0.4)
    edit(folder, "preprocessor_config.json", processor_class="PaliGemmaProcessor",
         image_seq_length=256)  # fmt: skip
    edit(folder, "generation_config.json", bos_token_id=2, eos_token_id=1, pad_token_id=0)


def write_florence2(folder: Path) -> None:
    """florence-community/Florence-2-base."""
    TINY.make_florence2(folder)
    _retokenize(folder, hf.BartTokenizer, unk_token="<unk>")
    config = hf.AutoConfig.from_pretrained(folder)
    vision, text = config.vision_config, config.text_config
    # Four halvings by their strides, as published: 24 x 24 places of 768 pixels.
    vision.update({"depths": [1, 1, 1, 1], "patch_size": [7, 3, 3, 3],
                   "patch_stride": [4, 2, 2, 2], "patch_padding": [3, 1, 1, 1],
                   "patch_prenorm": [False, True, True, True], "embed_dim": [8, 8, 16, 32],
                   "num_heads": [2, 2, 2, 2], "num_groups": [2, 2, 2, 2], "window_size": 12,
                   "max_position_embeddings": 50, "max_temporal_embeddings": 100})  # fmt: skip
    text.vocab_size = _vocabulary(folder)
    model = hf.Florence2ForConditionalGeneration(config)
    model.generation_config = hf.GenerationConfig.from_pretrained(folder)
    TINY.enliven(model, 0.7, 1.0)
    model.eval().save_pretrained(folder)
    _drop(folder, "chatspot.yaml")
    edit(folder, "preprocessor_config.json", processor_class="Florence2Processor",
         size={"height": 768, "width": 768}, crop_size={"height": 768, "width": 768},
         image_seq_length=577)  # fmt: skip
    edit(folder, "processor_config.json", processor_class="Florence2Processor")
    edit(folder, "generation_config.json", num_beams=3, no_repeat_ngram_size=3,
         forced_eos_token_id=2)  # fmt: skip


def write_kosmos2(folder: Path) -> None:
    """microsoft/kosmos-2-patch14-224: no chat template."""
    TINY.make_kosmos2(folder)
    tags = ["<image>", "</image>", "<phrase>", "</phrase>", "<object>", "</object>",
            "</delimiter_of_multi_objects/>", "<grounding>"]  # fmt: skip
    places = [f"<patch_index_{k:04d}>" for k in range(1024)]
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = [*first, "\u2581", *(chr(code) for code in range(33, 127))]
    tokenizer = hf.XLMRobertaTokenizer(vocab=[(letter, -1.0) for letter in letters])
    tokenizer.add_tokens([*tags, *places])
    _drop(folder, "tokenizer.json", "tokenizer_config.json", "chatspot.yaml")
    tokenizer.save_pretrained(folder)
    config = hf.AutoConfig.from_pretrained(folder)
    config.text_config.vocab_size, config.vision_config.image_size = len(tokenizer), 224
    model = hf.Kosmos2ForConditionalGeneration(config)
    TINY.enliven(model, 0.1, 0.4)
    model.eval().save_pretrained(folder)
    edit(folder, "preprocessor_config.json", processor_class="Kosmos2Processor",
         size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224},
         use_square_size=True)  # fmt: skip
    edit(folder, "tokenizer_config.json", processor_class="Kosmos2Processor")


LAYOUTS: dict[str, Callable[[Path], Any]] = {
    name.removeprefix("write_"): value
    for name, value in sorted(globals().items())
    if name.startswith("write_")
}
LAYOUTS.update(published_by_processor.MAKERS)


def write(folder: Path, layout: str) -> Path:
    """Write a checkpoint in one of LAYOUTS."""
    torch.manual_seed(0)
    LAYOUTS[layout](folder)
    return folder


if __name__ == "__main__":
    for one in LAYOUTS:
        print(write(Path(sys.argv[1]) / one, one))
