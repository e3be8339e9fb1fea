"""Detectors of three families: boxes in the picture's own pixels, and why one cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from chatspot_ros.detector.object_detector import Detector
from chatspot_ros.detector.settings import parse_labels
from chatspot_ros.errors import ModelError, ModelLoadError, RequestError

LABELS = ("mug", "fridge door")
FAMILIES = ("rt_detr", "owlv2", "grounding_dino")


@pytest.fixture(scope="module")
def detectors(checkpoints: dict[str, Path]) -> dict[str, Detector]:
    return {name: Detector.load(str(path), device="cpu") for name, path in checkpoints.items()}


@pytest.fixture
def copied(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the RT-DETR, to be spoilt."""
    return Path(shutil.copytree(checkpoints["rt_detr"], tmp_path / "copied"))


def spoil_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size_wh", [(211, 97), (60, 180), (33, 33), (5, 3)])
def test_boxes_are_in_the_pictures_own_pixels(
    detectors: dict[str, Detector], checkpoints: dict[str, Path], family: str,
    size_wh: tuple[int, int],
) -> None:  # fmt: skip
    """The network's own fractions, scaled by hand: OWLv2's are of the picture padded to a square.

    The closed-set model and Grounding DINO give fractions of width and height.
    """
    detector, (width, height) = detectors[family], size_wh
    rgb = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = LABELS if detector.zero_shot else ()
    found = detector.detect(rgb, labels, 0.0)
    words = {"text": [list(labels)]} if labels else {}
    inputs = detector._processor(images=Image.fromarray(rgb), return_tensors="pt", **words)
    with torch.inference_mode():
        fractions = detector._model(**inputs).pred_boxes[0].double().numpy()
    scale = (max(size_wh), max(size_wh)) if family == "owlv2" else size_wh
    centre, half = fractions[:, :2] * scale, fractions[:, 2:] * scale / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    boxes = np.clip(boxes, 0, [width, height] * 2)
    boxes = boxes[(boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])]
    assert found
    for one in found:
        off = np.abs(boxes - np.array(one.box_xyxy_px)).max(axis=1)
        assert off.min() < 1e-2
    if family != "grounding_dino":  # which leaves out what no word stands for
        assert len({one.box_xyxy_px for one in found}) == len(np.unique(boxes, axis=0))


@pytest.mark.parametrize("family", FAMILIES)
def test_found_things_are_sorted_named_and_above_the_threshold(
    detectors: dict[str, Detector], image_rgb: np.ndarray, family: str
) -> None:
    detector = detectors[family]
    labels = LABELS if detector.zero_shot else ()
    everything = detector.detect(image_rgb, labels, 0.0)
    scores = [one.score for one in everything]
    assert scores == sorted(scores, reverse=True)
    names = set(LABELS) if detector.zero_shot else {"mug", "fridge", "kettle"}
    assert {one.label for one in everything} <= names
    cut = scores[len(scores) // 2]
    above = detector.detect(image_rgb, labels, cut)
    assert above == [one for one in everything if one.score > cut][: len(above)]
    assert 0 < len(above) < len(everything)
    assert detector.detect(image_rgb, labels, 1.0) == []


def test_labels_choose_among_the_classes_of_a_closed_set_model(
    detectors: dict[str, Detector], image_rgb: np.ndarray
) -> None:
    everything = detectors["rt_detr"].detect(image_rgb, (), 0.0)
    assert {one.label for one in everything} == {"kettle"}
    assert detectors["rt_detr"].detect(image_rgb, ("mug", "kettle"), 0.0) == everything
    assert detectors["rt_detr"].detect(image_rgb, ("mug",), 0.0) == []


def test_a_label_is_the_one_whose_word_is_surest(
    detectors: dict[str, Detector], image_rgb: np.ndarray
) -> None:
    """Grounding DINO's words, read by hand: the places of `mug . red fridge . door .` are fixed."""
    detector = detectors["grounding_dino"]
    labels = ("mug", "red fridge", "door")
    found = detector.detect(image_rgb, labels, 0.0)
    inputs = detector._inputs(image_rgb, labels)
    with torch.inference_mode():
        outputs = detector._model(**inputs)
    scores = torch.sigmoid(outputs.logits[0])
    places = {"mug": [1], "red fridge": [3, 4], "door": [6]}
    best = {
        round(float(row.max()), 5): max(labels, key=lambda name: float(row[places[name]].max()))
        for row in scores
    }
    assert len(found) > 5
    assert [best[round(one.score, 5)] for one in found] == [one.label for one in found]


@pytest.mark.parametrize("family", ["owlv2", "grounding_dino"])
def test_a_zero_shot_model_needs_labels(
    detectors: dict[str, Detector], image_rgb: np.ndarray, family: str
) -> None:
    with pytest.raises(RequestError, match="labels"):
        detectors[family].detect(image_rgb)


def test_other_labels_change_what_a_zero_shot_model_finds(
    detectors: dict[str, Detector], image_rgb: np.ndarray
) -> None:
    one = detectors["owlv2"].detect(image_rgb, ("mug",), 0.0)
    other = detectors["owlv2"].detect(image_rgb, ("red kettle",), 0.0)
    assert {found.label for found in one} == {"mug"}
    assert {found.label for found in other} == {"red kettle"}
    assert [found.score for found in one] != [found.score for found in other]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("mug, fridge door", ("mug", "fridge door")),
        (" mug ;; mug,\nkettle,", ("mug", "kettle")),
        ("", ()),
        (" , ", ()),
    ],
)
def test_labels_are_read_from_a_list(text: str, labels: tuple[str, ...]) -> None:
    assert parse_labels(text) == labels


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="nowhere"):
        Detector.load(str(tmp_path / "nowhere"))
    with pytest.raises(ModelLoadError, match="parameter model"):
        Detector.load("")


def test_cut_weights_are_refused(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelLoadError, match="cut off"):
        Detector.load(str(copied))


def test_pickled_weights_are_refused(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(b"not looked at")
    with pytest.raises(ModelLoadError, match="pickled"):
        Detector.load(str(copied))


def test_missing_weights_are_counted(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match="1 weights are not in the files"):
        Detector.load(str(copied))


def test_code_of_a_checkpoint_is_not_run(copied: Path) -> None:
    (copied / "own.py").write_text("raise SystemExit('remote code was run')\n")
    spoil_config(
        copied,
        model_type="own",
        auto_map={"AutoConfig": "own.Config", "AutoModelForObjectDetection": "own.Model"},
    )
    with pytest.raises(ModelLoadError, match="configuration cannot be loaded"):
        Detector.load(str(copied))


def test_a_model_that_is_no_detector_is_refused(copied: Path) -> None:
    spoil_config(copied, model_type="bert", architectures=["BertModel"])
    with pytest.raises(ModelLoadError, match=r"no object detector.*bert"):
        Detector.load(str(copied))


def test_a_missing_processor_is_named(copied: Path) -> None:
    for path in copied.glob("*processor*"):
        path.unlink()
    with pytest.raises(ModelLoadError, match="processor cannot be loaded"):
        Detector.load(str(copied))


def test_an_unknown_device_is_refused(copied: Path) -> None:
    with pytest.raises(ModelLoadError, match="device cannot be used"):
        Detector.load(str(copied), device="abacus")


def test_numbers_that_are_not_finite_are_an_error_not_an_empty_picture(
    copied: Path, image_rgb: np.ndarray
) -> None:
    weights = load_file(copied / "model.safetensors")
    name = next(name for name in sorted(weights) if "decoder.class_embed.1.weight" in name)
    weights[name] = torch.full_like(weights[name], float("nan"))
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    detector = Detector.load(str(copied), device="cpu")
    with pytest.raises(ModelError, match="not finite"):
        detector.detect(image_rgb)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (RuntimeError("a kernel failed"), "a kernel failed"),
    ],
)
def test_a_model_that_fails_says_so_in_one_error(
    detectors: dict[str, Detector], image_rgb: np.ndarray, failure: Exception, words: str
) -> None:
    class Broken(torch.nn.Module):
        def forward(self, **_: object) -> None:
            raise failure

    whole = detectors["rt_detr"]
    detector = Detector("broken", Broken(), whole._processor, whole._device, zero_shot=False)
    with pytest.raises(ModelError, match=words):
        detector.detect(image_rgb)
