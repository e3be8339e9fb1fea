"""`chatspot doctor`: each check finds what is wrong, and says what to do."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from chatspot_ros.engine.loading import host_resources
from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE
from chatspot_ros.tools.checks.environment import check_packages, check_python, check_ros
from chatspot_ros.tools.checks.finding import Finding, Level
from chatspot_ros.tools.checks.models import check_gpu, check_models


def about(found: Any, what: str) -> Finding:
    (one,) = (finding for finding in found if finding.about == what)
    return one


def test_an_old_python_is_bad() -> None:
    assert check_python((3, 10, 4)).level == Level.BAD
    assert check_python().level == Level.OK


def test_packages_are_compared_with_what_is_needed_and_tested(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# note\nnumpy>=2.0\nno.such_package>=1,<2\n")
    numpy = metadata.version("numpy")
    (tmp_path / "constraints.txt").write_text(f"numpy=={numpy}\nrich==0.0.1\nabsent==3\n")
    missing, other = check_packages(tmp_path)
    assert (missing.level, other.level) == (Level.BAD, Level.WARN)
    assert missing.says == "not installed: no-such-package"
    assert f"rich {metadata.version('rich')} (tested: 0.0.1)" in other.says
    assert "numpy" not in other.says + missing.says
    assert missing.remedy.startswith("pip install")
    (tmp_path / "requirements.txt").write_text("numpy>=2.0\n")
    (tmp_path / "constraints.txt").write_text(f"numpy=={numpy}+cpu\n")
    (fine,) = check_packages(tmp_path)
    assert fine.level == Level.OK
    (lost,) = check_packages(tmp_path / "nowhere")
    assert (lost.level, "not installed" in lost.says) == (Level.WARN, True)


def test_the_pins_are_installed_with_the_package() -> None:
    assert all(finding.level != Level.BAD for finding in check_packages())
    assert all("their pins" not in finding.says for finding in check_packages())


@pytest.mark.parametrize(
    ("name", "value", "what", "level", "word"),
    [
        ("ROS_DOMAIN_ID", "", "domain", Level.OK, "0 ("),
        ("ROS_DOMAIN_ID", "42", "domain", Level.OK, "42"),
        ("ROS_DOMAIN_ID", "150", "domain", Level.WARN, "ports"),
        ("ROS_DOMAIN_ID", "robot", "domain", Level.BAD, "'robot'"),
        ("ROS_DOMAIN_ID", "233", "domain", Level.BAD, "'233'"),
        (VARIABLE, "", "buffers", Level.WARN, "500 kB"),
        (VARIABLE, "LARGE_DATA", "buffers", Level.WARN, "do not meet"),
        (VARIABLE, LARGER_BUFFERS, "buffers", Level.OK, LARGER_BUFFERS),
    ],
)
def test_the_settings_of_ros(name: str, value: str, what: str, level: Level, word: str) -> None:
    found = about(check_ros({name: value}), what)
    assert (found.level, word in found.says) == (level, True)
    assert bool(found.remedy) == (level != Level.OK)


def test_the_reach_that_switches_larger_buffers_off_is_named() -> None:
    environment = {VARIABLE: LARGER_BUFFERS, "ROS_AUTOMATIC_DISCOVERY_RANGE": "localhost"}
    assert about(check_ros(environment), "buffers").level == Level.WARN


def test_models_are_measured_and_a_named_one_must_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    found = list(check_models([str(broken), "nothing-of-this-name"], "cpu"))
    assert {one.level for one in found[:-2]} == {Level.OK}  # every bundled one
    tiny = about(found, "model chatspot-tiny")
    assert (tiny.level, "fits on cpu" in tiny.says) == (Level.OK, True)
    for name, word in ((broken, "config.json"), ("nothing-of-this-name", "no such model")):
        one = about(found, f"model {name}")
        assert (one.level, word in one.says, one.remedy != "") == (Level.BAD, True, True), one
    monkeypatch.setattr(host_resources, "free_memory", lambda device: 100_000_000)
    *bundled, named = check_models(["chatspot-tiny"], "cpu")
    assert {one.level for one in bundled} == {Level.WARN}
    assert (named.level, "0.10 GB are free on cpu" in named.says) == (Level.BAD, True)
    assert "smaller model" in named.remedy


def test_the_gpu_is_named_or_its_absence() -> None:
    assert check_gpu().about == "GPU"
    assert check_gpu().says


def test_a_server_is_checked_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    good = "openai:http://127.0.0.1:9/v1#Qwen/Qwen2.5-VL-7B-Instruct"
    *_, fine = check_models([good], "cpu")
    assert (fine.level, "qwen2.5-vl" in fine.says) == (Level.OK, True)
    for wrong in ("openai:http://me:hunter2@a/v1#m", "openai:http://a/v1#gpt-9", "/no/file.yaml"):
        *_, found = check_models([wrong], "cpu")
        assert found.level is Level.BAD
        assert found.remedy
        assert "hunter2" not in f"{found.about} {found.says}"
