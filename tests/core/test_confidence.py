"""From token probabilities to a confidence, by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from chatspot_ros.core.confidence import (
    UNCALIBRATED_THRESHOLD,
    Calibration,
    ConfidenceMap,
    confidence_of,
    score,
    threshold_of,
)
from chatspot_ros.core.model_spec import SPEC_FILE, read_spec
from chatspot_ros.errors import ModelLoadError

LINE: dict[str, Any] = {"mean_weight": 1.0, "knots": [[0.2, 0.1], [0.6, 0.5], [0.8, 0.9]]}
TOKENS = [math.log(0.9), math.log(0.4)]


def test_a_score_lies_between_the_mean_and_the_least() -> None:
    assert score(TOKENS, 1.0) == pytest.approx(math.sqrt(0.9 * 0.4))
    assert score(TOKENS, 0.0) == pytest.approx(0.4)
    assert score(TOKENS, 0.5) == pytest.approx(math.sqrt(math.sqrt(0.36) * 0.4))
    assert score([0.0], 0.3) == 1.0


@pytest.mark.parametrize(
    ("probability", "confidence"),
    [(0.05, 0.1), (0.2, 0.1), (0.4, 0.3), (0.6, 0.5), (0.7, 0.7), (0.8, 0.9), (1.0, 0.9)],
)
def test_a_map_is_a_broken_line_with_level_ends(probability: float, confidence: float) -> None:
    line = ConfidenceMap.model_validate(LINE)
    assert line([math.log(probability)]) == pytest.approx(confidence)


def test_tasks_have_maps_of_their_own_and_no_words_no_confidence() -> None:
    level = {"mean_weight": 0.0, "knots": [[0.5, 0.25]]}
    both = Calibration.model_validate({"threshold": 0.6, "maps": {"any": LINE, "locate": level}})
    assert confidence_of(both, "locate", TOKENS) == 0.25
    assert confidence_of(both, "state", TOKENS) == confidence_of(both, "", TOKENS)
    assert confidence_of(both, "state", TOKENS) == pytest.approx(0.5)
    assert confidence_of(both, "locate", []) == 0.0
    assert threshold_of(both) == 0.6


def test_without_a_calibration_it_is_the_geometric_mean() -> None:
    assert confidence_of(None, "", TOKENS) == pytest.approx(0.6)
    assert confidence_of(None, "", []) == 0.0
    assert threshold_of(None) == UNCALIBRATED_THRESHOLD


@pytest.mark.parametrize(
    "changed",
    [
        {"mean_weight": 1.5},
        {"knots": []},
        {"knots": [[0.2, 0.1], [0.2, 0.5]]},
        {"knots": [[0.2, 0.5], [0.6, 0.1]]},
        {"knots": [[0.2, 1.5]]},
        {"slope": 1.0},
    ],
)
def test_a_map_that_is_none_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ConfidenceMap.model_validate({**LINE, **changed})


def test_a_checkpoints_settings_may_hold_it(tmp_path: Path, root: Path) -> None:
    settings = yaml.safe_load((root / "models" / "chatspot-tiny" / SPEC_FILE).read_text())
    file = tmp_path / SPEC_FILE
    file.write_text(
        yaml.safe_dump({**settings, "calibration": {"threshold": 0.7, "maps": {"any": LINE}}})
    )
    spec = read_spec(file)
    assert spec.calibration is not None
    assert spec.calibration.confidence("plan", [math.log(0.6)]) == pytest.approx(0.5)
    file.write_text(yaml.safe_dump({**settings, "calibration": {"threshold": 0.7, "maps": {}}}))
    with pytest.raises(ModelLoadError, match="a map called any"):
        read_spec(file)
