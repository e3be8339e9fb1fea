"""Which suite has which name, and which of them the simulated kitchen can be asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chatspot_train.evaluation.kitchen.export_public_formats import DETECTIONS
from chatspot_train.evaluation.kitchen.suite import KitchenSuite
from chatspot_train.evaluation.metrics.category_match import ClipMatcher, PlainTextMatcher
from chatspot_train.evaluation.suite import Suite
from chatspot_train.evaluation.suites.calibration import CalibrationSuite
from chatspot_train.evaluation.suites.coco_region import CocoRegion
from chatspot_train.evaluation.suites.coco_text import CocoText
from chatspot_train.evaluation.suites.grounding import GroundingSuite
from chatspot_train.evaluation.suites.hallucination import Hallucination
from chatspot_train.evaluation.suites.intent import IntentSuite
from chatspot_train.evaluation.suites.mmbench import MMBenchSuite
from chatspot_train.evaluation.suites.mmvet import MmVetSuite
from chatspot_train.evaluation.suites.noise import Noise
from chatspot_train.evaluation.suites.pointqa import PointQa
from chatspot_train.evaluation.suites.pope import PopeSuite
from chatspot_train.evaluation.suites.refcoco import RefCoco
from chatspot_train.evaluation.suites.refusal import RefusalSuite
from chatspot_train.evaluation.suites.vizwiz_grounding import VizWizGrounding

# What may be asked at several noises, and whose confidence may be measured.
REGION_SUITES: dict[str, Callable[[], CocoRegion | CocoText | PointQa | VizWizGrounding]] = {
    "coco_region": CocoRegion,
    "coco_text": CocoText,
    "pointqa": lambda: PointQa(shapes=("box",)),
    "vizwiz_grounding": VizWizGrounding,
}
NAMES = (
    "coco_region", "coco_text", "vizwiz_grounding", "pointqa", "refcoco", "pope", "mmbench",
    "mmvet", "noise", "hallucination", "grounding", "refusal", "calibration", "intent", "kitchen",
)  # fmt: skip


def make(name: str, *, of: str = "coco_region", detections: Path | None = None,
         clip: str = "") -> Suite:  # fmt: skip
    """The suite of a name. Raises KeyError for an unknown one.

    `of` is the region suite that noise and calibration ask; `detections` a detector's result file
    for coco_region; `clip` a CLIP checkpoint that maps answers to categories.
    """
    matcher = ClipMatcher(clip) if clip else PlainTextMatcher()
    region = REGION_SUITES[of]() if of != "coco_region" else CocoRegion(matcher=matcher)
    makers: dict[str, Callable[[], Suite]] = {
        "coco_region": lambda: CocoRegion(detections=detections, matcher=matcher),
        "coco_text": CocoText,
        "vizwiz_grounding": VizWizGrounding,
        "pointqa": PointQa,
        "refcoco": RefCoco,
        "pope": PopeSuite,
        "mmbench": MMBenchSuite,
        "mmvet": MmVetSuite,
        "noise": lambda: Noise(region),
        "hallucination": lambda: Hallucination(CocoRegion(matcher=matcher)),
        "grounding": GroundingSuite,
        "refusal": RefusalSuite,
        "calibration": lambda: CalibrationSuite(region),
        "intent": IntentSuite,
        "kitchen": KitchenSuite,
    }
    return makers[name]()


def kitchen_suites(data: Path) -> dict[str, Suite]:
    """All suites that can be asked of the simulated kitchen's files in `data`, by row prefix.

    MMBench and MM-Vet are not among them: the one wants letters for answers, the other a grader.
    """
    return {
        "coco_region": CocoRegion(),
        "coco_region_simulated_detector": CocoRegion(detections=data / DETECTIONS),
        "coco_text": CocoText(),
        "vizwiz_grounding": VizWizGrounding(),
        "pointqa": PointQa(),
        "refcoco": RefCoco(),
        "pope": PopeSuite(),
        "noise": Noise(CocoRegion()),
        "hallucination": Hallucination(CocoRegion()),
        "grounding": GroundingSuite(conversations="conversations.json",
                                    instances="annotations/instances_val2017.json",
                                    images="val2017", suffix=""),
        "refusal": RefusalSuite(),
        "calibration": CalibrationSuite(CocoRegion()),
        "intent": IntentSuite(),
    }  # fmt: skip
