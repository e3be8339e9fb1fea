"""The simulated kitchen in the layouts of public data sets, for their suites.

`write(folder, kitchens)` renders missing test kitchens and writes COCO's
instances and a detector's results (the kitchen's simulated detector's), COCO-Text, PointQA,
RefCOCO, POPE, VizWiz grounding and grounded conversations about them.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from chatspot_ros.core.boxes import xyxy_to_xywh
from chatspot_sim.asking import clear_things
from chatspot_sim.detector import DetectorSettings, detect
from chatspot_sim.kitchen import THING_KINDS, plural
from chatspot_sim.truth import Box, Thing, Truth
from chatspot_train.evaluation.dataset_files import KITCHEN_DETECTIONS
from chatspot_train.evaluation.kitchen.render import (
    folder_of,
    name_of,
    render_kitchens,
    truth_of,
)

CATEGORIES = [{"id": k + 1, "name": name} for k, name in enumerate(THING_KINDS)]
IDS = {name: k + 1 for k, name in enumerate(THING_KINDS)}
PRINTED = ("label", "display", "number")
POPE_PAIRS = 3  # questions with yes, and as many with no, of each picture and file
DONE = "kitchens.json"


def write(folder: Path, kitchens: int) -> Path:
    """Write the data sets, unless they exist for as many kitchens; return the folder."""
    done = folder / DONE
    if done.exists() and json.loads(done.read_text()) == kitchens:
        return folder
    truths = [truth_of(picture) for picture in render_kitchens(folder, "test", kitchens)]
    for alias in ("val2017", "train2014", "val2014", "val", "VG_100K"):
        if not (folder / alias).exists():
            (folder / alias).symlink_to(folder_of(folder, "test").name, target_is_directory=True)
    files = {
        "annotations/instances_val2017.json": instances(truths),
        KITCHEN_DETECTIONS: detections(truths),
        "cocotext.v2.json": coco_text(truths),
        "refcoco/instances.json": instances(truths),
        "refcoco/refs(unc).json": refs(truths),
        "val_grounding.json": vizwiz(truths),
        "conversations.json": conversations(truths),
        "Datasets/LocalQA/localqa_dataset.json": local_qa(truths),
        "Datasets/LocalQA/localqa_testfinal_imgs.json": list(range(kitchens)),
        "Datasets/LookTwiceQA/looktwiceqa_dataset.json": look_twice(truths),
        "Datasets/LookTwiceQA/looktwiceqa_test_imgs.json": list(range(kitchens)),
    }
    for name, values in files.items():
        _write_json(folder / name, values)
    for name, lines in pope(truths).items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"coco_pope_{name}.json").write_text(text)
    _write_json(done, kitchens)
    return folder


def _write_json(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def instances(truths: list[Truth]) -> dict[str, Any]:
    """Return COCO's instances without things that are too small or hidden."""
    found = [
        {"id": 1000 * seed + k, "image_id": seed, "category_id": IDS[thing.name], "iscrowd": 0,
         "bbox": list(xyxy_to_xywh(thing.box_xyxy_px)), "area": thing.pixels,
         "segmentation": [[float(v) for point in thing.polygon_px for v in point]]}
        for seed, truth in enumerate(truths) for k, thing in enumerate(clear_things(truth))
    ]  # fmt: skip
    images = [
        {"id": seed, "file_name": name_of(seed), "width": truth.width, "height": truth.height}
        for seed, truth in enumerate(truths)
    ]
    return {"images": images, "annotations": found, "categories": CATEGORIES}


def detections(truths: list[Truth]) -> list[dict[str, Any]]:
    """Return the simulated detector's results in COCO's format."""
    return [
        {"image_id": seed, "category_id": IDS[one.name],
         "bbox": list(xyxy_to_xywh(one.box_xyxy_px)), "score": one.score}
        for seed, truth in enumerate(truths)
        for one in detect(truth, DetectorSettings(), np.random.default_rng([seed, 77]))
    ]  # fmt: skip


def coco_text(truths: list[Truth]) -> dict[str, Any]:
    """Return COCO-Text v2: the boxes of labels, displays and signs."""
    anns: dict[str, Any] = {}
    of: dict[str, list[int]] = {}
    for seed, truth in enumerate(truths):
        for thing in clear_things(truth):
            part = next((p for p in thing.parts if p.name in PRINTED), None)
            if not thing.text or part is None:
                continue
            number = len(anns) + 1
            anns[str(number)] = {
                "id": number, "image_id": seed, "bbox": list(xyxy_to_xywh(part.box_xyxy_px)),
                "utf8_string": thing.text, "legibility": "legible", "language": "english",
                "class": "machine printed", "mask": [],
            }  # fmt: skip
            of.setdefault(str(seed), []).append(number)
    imgs = {
        str(seed): {"id": seed, "file_name": name_of(seed), "width": truth.width,
                    "height": truth.height, "set": "val"}
        for seed, truth in enumerate(truths)
    }  # fmt: skip
    return {"imgs": imgs, "anns": anns, "imgToAnns": of}


def _singles(truth: Truth) -> list[tuple[int, Thing, str]]:
    """Return things with a unique expression: the only one of a kind, or of a kind and colour."""
    kinds = Counter(t.name for t in truth.things)
    looks = Counter((t.name, t.colour) for t in truth.things)
    found = []
    for k, thing in enumerate(clear_things(truth)):
        if kinds[thing.name] == 1:
            found.append((k, thing, f"the {thing.name}"))
        elif thing.colour and looks[thing.name, thing.colour] == 1:
            found.append((k, thing, f"the {thing.colour} {thing.name}"))
    return found


def refs(truths: list[Truth]) -> list[dict[str, Any]]:
    """Return RefCOCO's refs, all of the split val."""
    return [
        {"ref_id": 1000 * seed + k, "ann_id": 1000 * seed + k, "image_id": seed,
         "category_id": IDS[thing.name], "split": "val", "file_name": name_of(seed),
         "sentences": [{"sent": words, "raw": words, "sent_id": 1000 * seed + k, "tokens": []}]}
        for seed, truth in enumerate(truths) for k, thing, words in _singles(truth)
    ]  # fmt: skip


def vizwiz(truths: list[Truth]) -> dict[str, Any]:
    """Return VizWiz answer grounding: one thing of each image, by its outline."""
    found = {}
    for seed, truth in enumerate(truths):
        things = clear_things(truth)
        if not things:
            continue
        thing = things[seed % len(things)]
        found[name_of(seed)] = {
            "question": "What is this?", "answers": [thing.name] * 10,
            "most_common_answer": thing.name, "width": truth.width, "height": truth.height,
            "answer_grounding": [{"x": x, "y": y} for x, y in thing.polygon_px],
        }  # fmt: skip
    return found


def conversations(truths: list[Truth]) -> list[dict[str, Any]]:
    """Return LLaVA-Grounding's conversations: all things of an image, each phrase with its box."""
    found = []
    for seed, truth in enumerate(truths):
        things = clear_things(truth)
        words = [f"{t.colour} {t.name}".strip() for t in things]
        said = ", ".join(f"<g_s> {phrase} <g_e> <seg>" for phrase in words)
        found.append({
            "id": seed,
            "conversations": [
                {"from": "human", "value": "<image>\nDescribe the whole image in detail."},
                {"from": "gpt", "value": f"a kitchen with {said}"},
            ],
            "gd_ls": [[1000 * seed + k] for k in range(len(things))],
        })  # fmt: skip
    return found


def _point_on(thing: Thing) -> dict[str, float]:
    x1, y1, x2, y2 = thing.box_xyxy_px
    return {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2}


def _xywh_names(box: Box) -> dict[str, float]:
    return dict(zip("xywh", xyxy_to_xywh(box), strict=True))


def local_qa(truths: list[Truth]) -> dict[str, Any]:
    """Return PointQA-Local: the colours of the things of one kind."""
    found: dict[str, Any] = {}
    for seed, truth in enumerate(truths):
        kinds: dict[str, list[Thing]] = {}
        for thing in clear_things(truth):
            if thing.colour:
                kinds.setdefault(thing.name, []).append(thing)
        found[str(seed)] = [
            {"id": 100 * seed + k, "question": f"What colour is this {name}?",
             "all_ans": [t.colour for t in things],
             "all_objs": [_xywh_names(t.box_xyxy_px) for t in things],
             "points": [{**_point_on(t), "ans": t.colour} for t in things]}
            for k, (name, things) in enumerate(kinds.items())
        ]  # fmt: skip
    return found


def look_twice(truths: list[Truth]) -> dict[str, Any]:
    """Return LookTwice-QA: the number of things like the pointed one, at three levels of naming."""
    found: dict[str, Any] = {}
    for seed, truth in enumerate(truths):
        counts = Counter(t.name for t in truth.things)
        things = [t for t in clear_things(truth) if counts[t.name] > 1]
        if not things:
            continue
        thing = things[seed % len(things)]
        found[str(seed)] = {
            "answer": str(counts[thing.name]), "bbox": _xywh_names(thing.box_xyxy_px),
            "point": _point_on(thing), "obj_question": f"How many {plural(thing.name)} are there?",
            "super_question": "How many of these things are there?",
            "general_question": "How many of these are there?",
        }  # fmt: skip
    return found


def pope(truths: list[Truth]) -> dict[str, list[dict[str, Any]]]:
    """Return POPE's three files: absent kinds at random, the most frequent first, or those that
    most often occur together with the present ones first."""
    present = [{t.name for t in truth.things} for truth in truths]
    frequent = Counter(name for names in present for name in names)
    beside = Counter((a, b) for names in present for a in names for b in names)
    files: dict[str, list[dict[str, Any]]] = {"random": [], "popular": [], "adversarial": []}
    for seed, truth in enumerate(truths):
        rng = np.random.default_rng([seed, 78])
        there = sorted({t.name for t in clear_things(truth)})
        absent = [name for name in THING_KINDS if name not in present[seed]]
        count = min(POPE_PAIRS, len(there), len(absent))
        yes = [str(name) for name in rng.permutation(there)[:count]]
        ranked = {
            "random": [str(name) for name in rng.permutation(absent)],
            "popular": sorted(absent, key=lambda name: -frequent[name]),
            "adversarial": sorted(absent, key=lambda n: -sum(beside[n, t] for t in there)),
        }
        for file, names in ranked.items():
            for label, asked in (("yes", yes), ("no", names[:count])):
                for name in asked:
                    files[file].append({
                        "question_id": len(files[file]) + 1, "image": name_of(seed),
                        "text": f"Is there {'an' if name[0] in 'aeiou' else 'a'} {name} in the "
                                "picture?", "label": label,
                    })  # fmt: skip
    return files
