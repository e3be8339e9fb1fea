"""The parameters of detector_node: name, default, range and meaning."""

from __future__ import annotations

import re

from chatspot_ros.errors import ModelLoadError
from chatspot_ros.server.parameter_spec import DEVICE, Spec
from chatspot_ros.util.resources import find_model

SPECS = (
    Spec("model", "", "The detector: a folder with a transformers object-detection or "
         "zero-shot-object-detection checkpoint in safetensors, a hub id, or the bundled one, "
         "chatspot-tiny-detector. Must be set.",
         read_only=True),
    Spec("allow_download", False, "Fetch a hub id that is not in the local cache.",
         read_only=True),
    Spec("device", "auto", "Where the model runs: auto, cpu, cuda, cuda:1, ...", read_only=True,
         pattern=DEVICE, form="auto, cpu, cuda, cuda:1, ..."),
    Spec("threads", 0, "CPU threads of the model; 0: all cores.", low=0, high=256,
         read_only=True),
    Spec("labels", "", "What to look for, separated by commas: `mug, fridge door`. A zero-shot "
         "model needs them; of a model with classes of its own only these are published (empty: "
         "all)."),
    Spec("threshold", 0.3, "What scores less is not published.", low=0.0, high=1.0),
    Spec("max_detections", 100, "Most detections of one picture, the surest first.", low=1,
         high=1000),
    Spec("image_transport", "raw", "raw: sensor_msgs/Image on `image`; compressed: "
         "sensor_msgs/CompressedImage on `image`/compressed.", choices=("raw", "compressed"),
         read_only=True),
    Spec("image_reliability", "best_effort", "QoS of the image subscription; best_effort meets "
         "every camera.", choices=("best_effort", "reliable"), read_only=True),
    Spec("max_pixels", 40_000_000, "Larger pictures are refused before they are decoded.", low=1,
         high=1_000_000_000),
)  # fmt: skip


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the labels of a list such as `mug, fridge door`; without empty entries."""
    return tuple(dict.fromkeys(part.strip() for part in re.split(r"[,;\n]", text) if part.strip()))


def find_detector(name: str) -> str:
    """Return the folder of a bundled detector for its name; return a path or hub id unchanged.

    Needs no torch, whose import takes seconds. Raises ModelLoadError.
    """
    if not name:
        raise ModelLoadError(
            "no detector is named", value=name, remedy="set the parameter model to a folder "
            "or a hub id, such as PekingU/rtdetr_r18vd"
        )  # fmt: skip
    return find_model(name)
