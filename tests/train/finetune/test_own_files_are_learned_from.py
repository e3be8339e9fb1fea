"""From people's own files to training inputs: every turn has a prompt and a readable answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatspot_train.data.build import build
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import Records
from chatspot_train.data.sources import find_source
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import ModelSettings
from chatspot_train.finetune.model import load_start

THINGS = [{"id": k, "image_id": k, "category_id": 1, "bbox": [4, 4, 30, 30]} for k in range(1, 21)]
SPOON = {"id": 21, "image_id": 20, "category_id": 3, "bbox": [40, 4, 9, 30],
         "segmentation": [[40, 4, 49, 4, 49, 34]]}  # fmt: skip
COCO = {
    "images": [{"id": k, "file_name": "mug/a.png", "width": 64, "height": 48}
               for k in range(1, 21)],
    "annotations": [*THINGS, SPOON],
    "categories": [{"id": 1, "name": "mug"}, {"id": 2, "name": "pan"}, {"id": 3, "name": "spoon"}],
}  # fmt: skip


def talk(*words: str) -> dict[str, Any]:
    speakers = ("human", "gpt")
    turns = [{"from": speakers[k % 2], "value": text} for k, text in enumerate(words)]
    return {"image": "mug/a.png", "conversations": turns}


FILES: dict[str, tuple[Any, str]] = {
    "coco": (COCO, ""),
    "llava": ([talk("<image>Where is the mug?", "[0.1, 0.2, 0.5, 0.8]", "Is it\nred?\nA. yes",
                    "Yes.\nVery.")], "fractions"),
    "qwen": ([talk("<image>Locate all.", '[{"bbox_2d": [4, 4, 34, 34], "label": "mug"}, '
                   '{"bbox_2d": [40, 4, 49, 34], "label": "spoon"}]',
                   'What is at {"point_2d": [9, 9]}?', 'A mug {"point_2d": [9, 9]}.')], "pixels"),
    "imagefolder": (None, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_own_files_become_training_inputs(name: str, parts: dict[str, Any], tmp_path: Path) -> None:
    annotations, form = FILES[name]
    images = tmp_path / "images"
    (images / "mug").mkdir(parents=True)
    Image.new("RGB", (64, 48), "red").save(images / "mug" / "a.png")
    file = None
    if annotations is not None:
        file = tmp_path / "annotations.json"
        file.write_text(json.dumps(annotations))
    build(find_source(name), file, images, tmp_path / "records", regions=form, progress=False)
    encoder = Encoder(load_start(ModelSettings.model_validate(parts)), 2000)
    records = Records(tmp_path / "records")
    assert len(records)
    for record in records:
        example = encoder.example(record, read_picture(images / record.image))
        learned = example["labels"][example["labels"] >= 0].tolist()
        said = encoder._start.tokenizer.decode(learned)
        assert said.count("</s>") == len(record.turns)
        assert "_2d" not in said
        assert "<region>" not in said
