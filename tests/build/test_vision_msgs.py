"""The detections that other people's detectors publish have to arrive here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

ROOT = Path(__file__).resolve().parents[2]
PUBLIC_TYPE_HASH = "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968"


def test_type_hash_is_the_public_one(ros_node) -> None:
    ros_node.create_publisher(Detection2DArray, "detections", 1)
    (publisher,) = ros_node.get_publishers_info_by_topic("detections")
    assert str(publisher.topic_type_hash) == PUBLIC_TYPE_HASH


def test_a_detection_holds_box_class_and_score() -> None:
    detection = Detection2D(id="3", results=[ObjectHypothesisWithPose()])
    detection.bbox.center.position.x = 320.5
    detection.bbox.size_x = 64.0
    detection.results[0].hypothesis.class_id = "mug"
    detection.results[0].hypothesis.score = 0.75
    detections = Detection2DArray(detections=[detection])
    assert detections.detections[0].bbox.center.position.x == 320.5
    assert detections.detections[0].results[0].hypothesis.class_id == "mug"


def test_a_plain_workspace_does_not_build_the_stand_in(tmp_path: Path) -> None:
    """There the distribution's vision_msgs is used; colcon looks no deeper than a package."""
    pytest.importorskip("colcon_core")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/chatspot_ros").symlink_to(ROOT)
    listed = subprocess.run(
        ["colcon", "list", "--names-only"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == ["chatspot_ros"]
