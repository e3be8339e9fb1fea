"""A node whose output nobody reads, as behind `| head -1`, goes on and ends with 0."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from world import wait_until

NODES = ("chatspot_ros/region_query_node.py", "chatspot_ros/detector_node.py",
         "chatspot_ros/file_camera_node.py", "chatspot_sim/kitchen_camera.py",
         "chatspot_sim/kitchen_detector.py")  # fmt: skip
_spaces = itertools.count()


@pytest.mark.parametrize(
    ("module", "topic"),
    [("chatspot_ros.file_camera_node", "image"), ("chatspot_sim.kitchen_detector", "detections")],
)
def test_it_goes_on_and_ends_with_0(ros_node: Any, tmp_path: Path, module: str, topic: str) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((8, 8, 3), np.uint8))
    space = f"/unheard_{next(_spaces)}"
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--ros-args", "-r", f"__ns:={space}",
         "-p", f"path:={tmp_path / 'one.png'}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.close()
        # At the publisher's start, or its end, if the node does not survive its first words.
        wait_until(lambda: ros_node.count_publishers(f"{space}/{topic}") or process.poll())
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60.0)
        assert process.returncode == 0, told
        assert "Traceback" not in told
    finally:
        process.kill()


@pytest.mark.parametrize("path", NODES)
def test_every_node_says_its_lines_in_the_way_that_survives(root: Path, path: str) -> None:
    text = (root / path).read_text(encoding="utf-8")
    assert "print(" not in text
    assert 'tell(f"ready: {self.get_name()}")' in text
