"""Any transformers object detector behind one call, from a picture to boxes in its pixels.

Closed-set models (DETR, RT-DETR, YOLOS, ...) have fixed classes; zero-shot models (OWLv2,
Grounding DINO, OmDet-Turbo) look for given labels. Torch, no ROS.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForObjectDetection,
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
)
from transformers.utils import logging as transformers_logging

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import BoxXyxy
from chatspot_ros.detector.settings import find_detector
from chatspot_ros.engine.loading.checkpoint import (
    check_weights,
    choose_device,
    find_folder,
    read_config,
)
from chatspot_ros.engine.loading.model_classes import import_classes
from chatspot_ros.errors import ModelError, ModelLoadError, RequestError

_USE_A_DETECTOR = (
    "use an object-detection or zero-shot-object-detection checkpoint that transformers knows "
    "without remote code, complete and unchanged"
)
# The processor's method that reads its model's output, by whether the model is zero-shot.
_READERS = {
    False: "post_process_object_detection",
    True: "post_process_grounded_object_detection",
}


@dataclass(frozen=True)
class Detected:
    """One detection: its label, a score in (0, 1], its box in pixels, clipped to the picture."""

    label: str
    score: float
    box_xyxy_px: BoxXyxy


class Detector:
    """A loaded checkpoint; used by one thread at a time."""

    def __init__(
        self, name: str, model: Any, processor: Any, device: torch.device, *, zero_shot: bool
    ) -> None:
        """`processor` is the checkpoint's processor, or its image processor alone."""
        self.name = name
        self.zero_shot = zero_shot
        self._model = model
        self._processor = processor
        self._device = device

    @classmethod
    def load(cls, model: str, *, device: str = "auto", local_only: bool = True) -> Detector:
        """Load a folder or hub id (`local_only`: from the cache only).

        Raises:
            ModelLoadError: missing, incomplete, pickled, or no detector; with its remedy.
        """
        folder = find_folder(find_detector(model), local_only)
        import_classes(read_config(folder))
        config = _from_folder(AutoConfig, folder, "configuration")
        if getattr(config, "has_own_weights", True):
            check_weights(folder)
        chosen = choose_device(device)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        zero_shot = _knows(AutoModelForZeroShotObjectDetection, config)
        if not zero_shot and not _knows(AutoModelForObjectDetection, config):
            raise ModelLoadError(
                "the model is no object detector", value=config.model_type, remedy=_USE_A_DETECTOR
            )
        loader = AutoModelForZeroShotObjectDetection if zero_shot else AutoModelForObjectDetection
        network = _load_model(loader, folder, chosen)
        kind = AutoProcessor if zero_shot else AutoImageProcessor
        processor = _from_folder(kind, folder, "processor")
        if not hasattr(processor, _READERS[zero_shot]):
            raise ModelLoadError(
                "the model's boxes cannot be read", value=config.model_type, remedy=_USE_A_DETECTOR
            )
        return cls(Path(model).name, network, processor, chosen, zero_shot=zero_shot)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise RequestError unless the labels suit the model: some for a zero-shot one."""
        if self.zero_shot and not labels:
            raise RequestError(
                "a zero-shot detector must be told what to look for",
                value="no labels",
                remedy="set the parameter labels, such as 'mug, fridge door'",
            )

    def detect(
        self, image_rgb: RgbImage, labels: Sequence[str] = (), threshold: float = 0.3
    ) -> list[Detected]:
        """Detect things in a picture (uint8 H x W x 3, RGB), highest score first.

        `labels` are what a zero-shot model looks for; of a closed-set model, the classes to keep
        (none: all). `threshold` in [0, 1] drops lower scores.

        Raises:
            RequestError: a zero-shot model without labels.
            ModelError: the model failed, ran out of memory, or returned NaN.
        """
        self.check_labels(labels)
        height, width = image_rgb.shape[:2]
        try:
            with torch.inference_mode():
                inputs = self._inputs(image_rgb, labels)
                outputs = self._model(**inputs)
                _check_finite(outputs)
                found = self._post_process(outputs, inputs, labels, threshold, (height, width))
        except torch.OutOfMemoryError as error:
            raise ModelError(
                "the detector ran out of memory",
                value=f"{width} x {height} on {self._device}",
                remedy="use a smaller model or another device",
            ) from error
        except (RuntimeError, ValueError, IndexError, KeyError, TypeError) as error:
            raise ModelError(
                "the detector failed",
                value=f"{type(error).__name__}: {error}",
                remedy="see the traceback; is the checkpoint whole?",
            ) from error
        things = [
            Detected(label, score, box)
            for label, score, raw_box in found
            if (box := _clipped(raw_box, width, height)) is not None
        ]
        return sorted(things, key=lambda thing: -thing.score)

    def _inputs(self, image_rgb: RgbImage, labels: Sequence[str]) -> Any:
        # A full stop would end a label early.
        said = [label.replace(".", " ") for label in labels]
        words = {"text": [said]} if self.zero_shot else {}
        # The processors guess an array's colour axis; of a PIL image they know it.
        picture = Image.fromarray(image_rgb)
        return self._processor(images=picture, return_tensors="pt", **words).to(self._device)

    def _post_process(
        self,
        outputs: Any,
        inputs: Any,
        labels: Sequence[str],
        threshold: float,
        size_hw: tuple[int, int],
    ) -> list[tuple[str, float, list[float]]]:
        """Return (label, score, box in the picture's pixels), by the checkpoint's own processor."""
        read = getattr(self._processor, _READERS[self.zero_shot])
        offered = {
            "threshold": threshold,
            "text_threshold": threshold,
            "target_sizes": [size_hw],
            "text_labels": [list(labels)],
            "input_ids": inputs.get("input_ids"),
        }
        taken = inspect.signature(read).parameters
        found = read(outputs, **{key: one for key, one in offered.items() if key in taken})[0]
        scores, boxes = found["scores"].tolist(), found["boxes"].tolist()
        if not self.zero_shot:
            classes = self._model.config.id2label
            names = [str(classes.get(int(k), int(k))) for k in found["labels"].tolist()]
        elif "text_threshold" in taken:
            names = self._labels_by_words(outputs, inputs, labels, threshold)
        else:
            names = list(found["text_labels"])
        kept = set(names) if self.zero_shot or not labels else set(labels)
        return [one for one in zip(names, scores, boxes, strict=True) if one[0] in kept]

    def _labels_by_words(
        self, outputs: Any, inputs: Any, labels: Sequence[str], threshold: float
    ) -> list[str]:
        """Return the labels of Grounding DINO's boxes above the threshold, in their order.

        The model scores every word of `mug. fridge door.`; a box gets the label with the highest
        word. Its processor would return all words above a threshold, several labels mixed.
        """
        tokenizer = self._processor.tokenizer
        full_stop = tokenizer.convert_tokens_to_ids(".")
        words: list[list[int]] = [[]]
        for place, token in enumerate(inputs["input_ids"][0].tolist()):
            if token == full_stop:
                words.append([])
            elif token not in tokenizer.all_special_ids:
                words[-1].append(place)
        scores = torch.sigmoid(outputs.logits[0])
        scores = scores[scores.max(dim=-1).values > threshold]
        # A label cut off by the length limit has no words and is never found.
        spoken = [(label, own) for label, own in zip(labels, words, strict=False) if own]
        by_label = torch.stack([scores[:, own].max(dim=-1).values for _, own in spoken], dim=-1)
        return [spoken[k][0] for k in by_label.argmax(dim=-1).tolist()]


def _knows(loader: Any, config: Any) -> bool:
    return type(config) in loader._model_mapping


def _from_folder(loader: Any, folder: Path, what: str) -> Any:
    try:
        return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # any failure of a damaged file: the libraries' own vary
        raise ModelLoadError(
            f"the detector's {what} cannot be loaded: {_first_line(error)}",
            value=folder,
            remedy=_USE_A_DETECTOR,
        ) from error


def _load_model(loader: Any, folder: Path, device: torch.device) -> Any:
    try:
        model, report = loader.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        missing = sorted(report["missing_keys"])
        if missing:
            raise ModelLoadError(
                f"{len(missing)} weights are not in the files, the first is {missing[0]}",
                value=folder,
                remedy="use a checkpoint that belongs to its config.json",
            )
        return model.to(device).eval()
    except torch.OutOfMemoryError as error:
        raise ModelLoadError(
            "the detector does not fit into the device's memory",
            value=f"{folder} on {device}",
            remedy="use a smaller model or another device",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError,
            AttributeError) as error:  # fmt: skip
        raise ModelLoadError(
            f"the detector cannot be built: {_first_line(error)}",
            value=folder,
            remedy=_USE_A_DETECTOR,
        ) from error


def _check_finite(outputs: Any) -> None:
    """Raise ModelError for NaN scores or boxes, which would read as "nothing found".

    Logits of minus infinity are valid: Grounding DINO masks unused words with them.
    """
    parts = [getattr(outputs, name, None) for name in ("logits", "pred_boxes")]
    if any(part is not None and bool(torch.isnan(part).any()) for part in parts):
        raise ModelError(
            "the detector's numbers are not finite",
            value="nan",
            remedy="is the checkpoint whole, and made for float32?",
        )


def _clipped(box: Sequence[float], width: int, height: int) -> BoxXyxy | None:
    """Clip a box to the picture; None when it lies outside."""
    left, right = (min(max(x, 0.0), float(width)) for x in (box[0], box[2]))
    top, bottom = (min(max(y, 0.0), float(height)) for y in (box[1], box[3]))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
