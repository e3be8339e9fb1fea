"""COCO region recognition: against pycocotools itself, scikit-learn, and values worked by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO  # type: ignore[import-untyped]
from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score  # type: ignore[import-untyped]
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
)

from chatspot_ros.core.boxes import iou, ious
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ModelLoadError
from chatspot_train.data.sources import SourceError
from chatspot_train.evaluation.metrics.category_match import ClipMatcher, PlainTextMatcher
from chatspot_train.evaluation.metrics.coco_ap import (
    AP_NAMES,
    average_precision,
    matched,
    weighted_precision,
)
from chatspot_train.evaluation.runner import read_predictions, to_line
from chatspot_train.evaluation.suite import Item, MissingDataError, Prediction
from chatspot_train.evaluation.suites.coco_region import QUESTION, CocoRegion

NAMES = {1: "person", 18: "dog", 46: "wine glass", 58: "hot dog", 72: "tv"}


def thing(k: int, image: int, category: int, bbox: list[float], **more: Any) -> dict[str, Any]:
    outline = {"area": bbox[2] * bbox[3] * 0.8, "iscrowd": 0, "segmentation": []}
    return {"id": k, "image_id": image, "category_id": category, "bbox": bbox, **outline, **more}


THINGS = [
    thing(0, 1, 1, [10, 10, 100, 100]),  # pycocotools takes the id 0 for no match
    thing(3, 1, 18, [12, 12, 96, 96]),  # overlaps the person's with IoU 0.92
    thing(4, 1, 1, [150, 20, 20, 20]),
    thing(5, 1, 1, [0, 0, 200, 150], iscrowd=1),
    thing(6, 2, 72, [5, 5, 40, 40]),
    thing(7, 2, 46, [60, 5, 50, 50]),
    thing(8, 3, 58, [20, 20, 60, 30]),
]  # fmt: skip


def coco(folder: Path, things: list[dict[str, Any]] = THINGS) -> Path:
    """A folder as COCO's, with three pictures of 200 x 150."""
    (folder / "annotations").mkdir()
    (folder / "val2017").mkdir()
    images = [
        {"id": k, "file_name": f"{k:012}.jpg", "width": 200, "height": 150} for k in (3, 1, 2)
    ]
    for image in images:
        Image.new("RGB", (200, 150)).save(folder / "val2017" / str(image["file_name"]))
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps({
        "images": images, "annotations": things,
        "categories": [{"id": k, "name": name} for k, name in NAMES.items()],
    }))  # fmt: skip
    return folder


def answered(items: list[Item], said: dict[str, str], **confidences: float) -> list[Prediction]:
    return [
        Prediction(item.key, said.get(item.key, ""), truth=item.truth,
                  confidence=confidences.get(f"c{item.key}", 0.0))
        for item in items
    ]  # fmt: skip


RIGHT = {"0": "a man", "3": "The dog.", "4": "people", "6": "Television", "7": "wine glasses",
         "8": "hotdog"}  # fmt: skip


def test_what_is_asked(tmp_path: Path) -> None:
    items = list(CocoRegion().items(coco(tmp_path), 0, 0))
    assert [item.key for item in items] == ["0", "3", "4", "6", "7", "8"]  # no crowd
    (turn,) = items[1].turns
    assert (turn.question, turn.regions) == (QUESTION, (Region.box(12, 12, 108, 108),))
    assert items[1].image == tmp_path / "val2017" / "000000000001.jpg"
    assert [item.truth["overlapping"] for item in items[:3]] == [[18], [1], []]
    assert [item.key for item in items if "coco" in item.truth] == ["0", "6", "8"]
    assert json.loads(json.dumps([item.truth for item in items])) == [i.truth for i in items]


def test_the_seed_draws_the_pictures(tmp_path: Path) -> None:
    suite = CocoRegion()
    coco(tmp_path)
    drawn = [[i.key for i in suite.items(tmp_path, 2, seed)] for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert any(keys != drawn[0] for keys in drawn[2:])
    assert {i.truth["image_id"] for i in CocoRegion(pictures=1).items(tmp_path, 0, 0)} != {1, 2, 3}


def test_all_right_and_all_wrong(tmp_path: Path) -> None:
    suite = CocoRegion()
    items = list(suite.items(coco(tmp_path), 0, 0))
    report = suite.score(answered(items, RIGHT))
    assert {name: row["value"] for name, row in report.rows.items()} == {
        "AP": pytest.approx(1), "AP50": pytest.approx(1), "AP75": pytest.approx(1),
        "APs": pytest.approx(1), "APm": pytest.approx(1), "accuracy": 1.0, "no_category": 0.0,
    }  # fmt: skip
    silent = suite.score(answered(items, {}))
    assert {name: row["value"] for name, row in silent.rows.items()} == {
        "AP": 0.0, "AP50": 0.0, "AP75": 0.0, "APs": 0.0, "APm": 0.0, "accuracy": 0.0,
        "no_category": 1.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])
    with pytest.raises(ValueError, match="some answers are missing"):
        suite.score(answered(items, RIGHT)[1:])


def test_scores_as_pycocotools_and_scikit_learn_on_their_own(tmp_path: Path) -> None:
    suite = CocoRegion()
    items = list(suite.items(coco(tmp_path), 0, 0))
    said = {**RIGHT, "3": "a woman", "6": "dog", "4": "no idea"}
    kept = answered(items, said, c0=0.4, c3=0.9, c6=0.4, c7=0.4, c8=0.2)
    named = {"0": 1, "3": 1, "6": 18, "7": 46, "8": 58}
    report = suite.score(kept)

    truth = COCO()
    data = json.loads((tmp_path / "annotations" / "instances_val2017.json").read_text())
    truth.dataset = {**data, "annotations": [{**a, "id": a["id"] + 1} for a in THINGS]}
    truth.createIndex()
    found = truth.loadRes([
        {"image_id": i.truth["image_id"], "category_id": named[i.key], "bbox": i.truth["bbox"],
         "score": p.confidence} for i, p in zip(items, kept, strict=True) if i.key in named
    ])  # fmt: skip
    judge = COCOeval(truth, found, "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm")
    assert [report.rows[k]["value"] for k in names] == pytest.approx(judge.stats[:5])
    assert judge.stats[5] == -1
    assert "APl" not in report.rows
    true = [i.truth["category_id"] for i in items]
    assert report.rows["accuracy"]["value"] == accuracy_score(
        true, [named.get(i.key, -1) for i in items]
    )
    # Person: 0 is found; 3 is found in the crowd and so ignored; 4 is missed. 51 of the 101
    # recall levels have precision 1.
    person = average_precision({"images": data["images"], "categories": [{"id": 1, "name": "p"}],
                                "annotations": THINGS[:4]}, [
        {"image_id": 1, "category_id": 1, "bbox": THINGS[k]["bbox"], "score": s}
        for k, s in ((0, 0.4), (1, 0.9))
    ])["AP50"]  # fmt: skip
    assert person["value"] == pytest.approx(51 / 101)


def test_a_draw_of_pictures_scores_as_pycocotools_on_their_copies() -> None:
    rng = np.random.default_rng(4)
    categories = [{"id": k, "name": str(k)} for k in (3, 5, 8)]
    things: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in range(10):
        # The same few scores in every picture: ties between pictures, none within one.
        scores = iter(rng.permutation(20) / 20)
        for _ in range(int(rng.integers(0, 9))):
            x, y, w, h = (float(v) for v in rng.uniform([0, 0, 8, 8], [300, 300, 150, 150]))
            category = int(rng.choice([3, 5, 8]))
            crowd = int(rng.random() < 0.1)
            things.append({"image_id": image, "category_id": category, "bbox": [x, y, w, h],
                           "area": w * h, "iscrowd": crowd})  # fmt: skip
            for spread in (2.0, 9.0):
                box = np.array([x, y, w, h]) + rng.normal(0, spread, 4)
                found.append({"image_id": image, "category_id": category, "bbox": box.tolist(),
                              "score": float(next(scores))})  # fmt: skip
    truth = {"images": [{"id": k} for k in range(10)], "categories": categories,
             "annotations": things}  # fmt: skip
    weights = rng.multinomial(10, np.full(10, 0.1), size=6)
    drawn = weighted_precision(matched(truth, found), weights.astype(float))
    assert drawn.shape == (6, len(AP_NAMES))
    for weight, values in zip(weights, drawn, strict=True):
        copies = [(k, 100 * k + c) for k in range(10) for c in range(weight[k])]
        repeated = {
            "images": [{"id": new} for _, new in copies], "categories": categories,
            "annotations": [{**t, "image_id": new} for k, new in copies for t in things
                            if t["image_id"] == k],
        }  # fmt: skip
        alone = average_precision(
            repeated,
            [{**d, "image_id": new} for k, new in copies for d in found if d["image_id"] == k],
            draws=2,
        )
        for name, value in zip(AP_NAMES, values, strict=True):
            if name in alone:
                assert value == pytest.approx(alone[name]["value"])
            else:
                assert np.isnan(value)
    whole = average_precision(truth, found)
    assert whole == average_precision(truth, found)
    for name, row in whole.items():
        assert row["low"] < row["value"] < row["high"], name


def test_ties_and_confidences(tmp_path: Path) -> None:
    suite = CocoRegion()
    two = [thing(1, 1, 1, [0, 0, 40, 40]), thing(2, 1, 18, [50, 50, 40, 40])]
    items = list(suite.items(coco(tmp_path, two), 0, 0))
    both_person = {"1": "person", "2": "person"}
    tied = suite.score(answered(items, both_person))
    assert tied.rows["AP"]["value"] == pytest.approx(0.5)  # person 1: found first; dog 0
    sure_of_the_wrong = answered(items, both_person, c1=0.1, c2=0.8)
    assert suite.score(sure_of_the_wrong).rows["AP"]["value"] == pytest.approx(0.25)
    flat = replace(suite, use_confidence=False).score(sure_of_the_wrong)
    assert flat.rows == tied.rows
    assert "score is 1." in flat.table
    assert "x the answer's confidence" in suite.score(sure_of_the_wrong).table


def test_boxes_of_a_detector(tmp_path: Path) -> None:
    file = tmp_path / "dino.json"
    box = {"image_id": 1, "category_id": 77, "score": 0.3, "bbox": [10, 10, 100, 100]}
    file.write_text(json.dumps([
        box, {**box, "score": 0.9, "bbox": [12, 12, 96, 96]}, {**box, "bbox": [1, 2, 0, 4]},
        {**box, "score": 0.1}, {**box, "image_id": 404}, {"image_id": 1},
    ]))  # fmt: skip
    suite = CocoRegion(detections=file, max_boxes=2)
    items = list(suite.items(coco(tmp_path), 0, 0))
    assert [item.truth["score"] for item in items] == [0.9, 0.3]
    kept = [Prediction(i.key, "dog", confidence=0.5, truth=i.truth) for i in items]
    report = suite.score(kept)
    assert "accuracy" not in report.rows
    # Of five categories only the dog is found; things in pictures without boxes are missed.
    assert (report.rows["AP50"]["value"], report.rows["AP50"]["n"]) == (pytest.approx(1 / 5), 3)
    assert "DINO" in report.table
    with pytest.raises(ValueError, match="COCO's own boxes"):
        suite.right(kept)
    file.write_text(json.dumps([{**box, "image_id": 404}]))
    with pytest.raises(MissingDataError, match="no box is on the drawn pictures"):
        suite.items(tmp_path, 0, 0)


def test_the_same_answers_score_the_same(tmp_path: Path) -> None:
    suite = CocoRegion()
    kept = answered(list(suite.items(coco(tmp_path), 0, 0)), {**RIGHT, "0": "dog"}, c0=0.7, c3=0.2)
    file = tmp_path / "predictions.jsonl"
    file.write_text("".join(to_line(p) for p in kept))
    one, two = suite.score(kept), suite.score(read_predictions(file))
    assert (one.rows, one.table) == (two.rows, two.table)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"instances_val2017\.json.*cocodataset\.org"):
        CocoRegion().items(tmp_path, 0, 0)
    coco(tmp_path)
    with pytest.raises(MissingDataError, match=r"no\.json.*detector's result file"):
        CocoRegion(detections=tmp_path / "no.json").items(tmp_path, 0, 0)
    (tmp_path / "val2017" / "000000000002.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"000000000002\.jpg"):
        CocoRegion().items(tmp_path, 0, 0)
    (tmp_path / "annotations" / "instances_val2017.json").write_text("{")
    with pytest.raises(SourceError, match="not JSON"):
        CocoRegion().items(tmp_path, 0, 0)


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        ("wine glass", "wine glass"),
        ("A glass of wine on the table", "wine glass"),
        ("two hot dogs", "hot dog"),  # the longer name, not dog
        ("the dog, and a TV", "dog"),  # as long: the earlier
        ("ＤＯＧ", "dog"),
        ("a television set", "tv"),
        ("glass", "wine glass"),  # shares a word
        ("mice", None),
        ("", None),
        ("…", None),
        ("una persona, 人", None),
    ],
)
def test_words_to_categories(answer: str, category: str | None) -> None:
    names = list(NAMES.values())
    (found,) = PlainTextMatcher().match([answer], names)
    assert (None if found is None else names[found]) == category


def test_words_need_a_category() -> None:
    assert PlainTextMatcher().match(["dog"], []) == [None]
    assert PlainTextMatcher().match(["knives and buses"], ["bus", "knife"]) == [1]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP text tower with a tokenizer of bytes."""
    folder = tmp_path_factory.mktemp("clip_text")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: k for k, token in enumerate(["<pad>", "<x>", "<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>",
                            eos_token="</s>").save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=24, projection_dim=16, pad_token_id=0,
        bos_token_id=2, eos_token_id=3,
    )).save_pretrained(folder)  # fmt: skip
    return folder


def test_the_nearest_clip_embedding(clip: Path) -> None:
    names = list(NAMES.values())
    answers = ["person", "a dog!", "", "Café 茶", "tv", "a very long answer " * 9, "person"]
    model = CLIPTextModelWithProjection.from_pretrained(clip).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(clip)

    def embedding(text: str) -> np.ndarray:
        tokens = tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
        with torch.inference_mode():
            found = model(**{k: tokens[k] for k in ("input_ids", "attention_mask")}).text_embeds
        return found[0].numpy() / np.linalg.norm(found[0].numpy())

    near = [int(np.argmax([embedding(a) @ embedding(n) for n in names])) for a in answers]
    matcher = ClipMatcher(str(clip))
    found = matcher.match(answers, names)
    assert found == [None if not a else k for a, k in zip(answers, near, strict=True)]
    assert found[0] == 0
    assert found[4] == 4
    assert matcher.match(list(reversed(answers)), names) == list(reversed(found))
    assert str(clip) in matcher.name
    with pytest.raises(ModelLoadError, match="not-there"):
        ClipMatcher(str(clip / "not-there")).match(["dog"], names)


def test_overlaps_by_hand() -> None:
    assert iou((0, 0, 10, 10), (0, 0, 10, 5)) == 0.5
    assert iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0
    assert not iou((0, 0, 10, 10), (float("nan"), 0, 10, 10)) >= 0.5
    assert iou((10, 10, 0, 0), (0, 0, 10, 10)) == 0.0
    assert ious([], [(0, 0, 1, 1)]).shape == (0, 1)
