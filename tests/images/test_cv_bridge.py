"""cv_bridge and the path without it give the same pictures; a cv_bridge that fails is not used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_images import encoded, make_picture, message

from chatspot_ros.errors import ImageError
from chatspot_ros.images import decode
from chatspot_ros.images.cv_bridge_converter import CvBridgeConverter, load_cv_bridge

WORKS = """
class CvBridge:
    def imgmsg_to_cv2(self, image, wanted):
        import numpy as np
        assert (image.encoding, wanted) == ("bgr8", "rgb8")
        rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        return rows[..., ::-1]
"""
CRASHES = """
import os, signal
class CvBridge:
    def imgmsg_to_cv2(self, image, wanted):
        os.kill(os.getpid(), signal.SIGKILL)
"""
RAISES = "raise AttributeError('_ARRAY_API not found')"


def _modules() -> dict[str, Any]:
    return {name: one for name, one in sys.modules.items() if name.split(".")[0] == "cv_bridge"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Install a cv_bridge with this code, for one test."""
    real = _modules()

    def write(code: str) -> None:
        (tmp_path / "cv_bridge.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        monkeypatch.syspath_prepend(tmp_path)
        for name in real:
            del sys.modules[name]
        load_cv_bridge.cache_clear()

    yield write
    load_cv_bridge.cache_clear()
    for name in _modules():
        del sys.modules[name]
    sys.modules.update(real)


def test_a_cv_bridge_that_works_is_used(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install(WORKS)
    monkeypatch.setattr(decode, "message_to_cvimage", None)
    rgb = make_picture()
    got = decode.message_to_rgb(message("8UC3", rgb[..., ::-1], padding=5))
    np.testing.assert_array_equal(got, rgb)


@pytest.mark.parametrize("code", [CRASHES, RAISES, "CvBridge = None"])
def test_one_that_does_not_is_not_used(
    install: Any, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    install(code)
    caplog.set_level("INFO")
    rgb = make_picture()
    np.testing.assert_array_equal(decode.message_to_rgb(message("rgb8", rgb)), rgb)
    assert load_cv_bridge() is None
    assert "cv_bridge is not used" in caplog.text


def test_what_it_refuses_is_an_image_error() -> None:
    class Bridge:
        def imgmsg_to_cv2(self, *_: Any) -> Any:
            raise TypeError("scripted")

    rows = np.zeros((2, 6), np.uint8)
    with pytest.raises(ImageError, match=r"scripted.*mono16, 3 x 2"):
        CvBridgeConverter(Bridge()).to_rgb(rows, "mono16", 3, is_bigendian=False)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", decode.ENCODINGS)
def test_both_ways_give_the_same_picture(
    encoding: str, padding: int, big_endian: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if load_cv_bridge() is None:
        pytest.skip("no cv_bridge that works with this numpy is installed")
    image = message(encoding, encoded(encoding, make_picture()), padding=padding,
                    big_endian=big_endian)  # fmt: skip
    by_bridge = decode.message_to_rgb(image).astype(int)
    monkeypatch.setattr(decode, "load_cv_bridge", lambda: None)
    without = decode.message_to_rgb(image)
    assert without.shape == by_bridge.shape
    # They round 16 bits, and what lies between the colours of a mosaic, each in its own way.
    limit = 1 if encoding.endswith("16") or encoding.startswith("bayer_") else 0
    assert np.abs(by_bridge - without)[1:-1, 1:-1].max() <= limit
