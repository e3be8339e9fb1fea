"""The files for a robot's own board: each read by its own program, where that is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatspot_ros.detector import settings as detector_settings
from chatspot_ros.server import settings as node_settings
from chatspot_sim import kitchen_parameters

DOCKERFILES = ("Dockerfile.cuda", "Dockerfile.jetson")
UNIT = "chatspot-node.service"
ENTRYPOINT = "/opt/chatspot/src/chatspot_ros/deploy/entrypoint"
SPECS = {
    "region_query": node_settings.SPECS,
    "detector": detector_settings.SPECS,
    "kitchen": (*kitchen_parameters.CAMERA_SPECS, *kitchen_parameters.DETECTOR_ARGUMENTS),
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(root: Path, tmp_path: Path, name: str) -> None:
    hadolint = program("hadolint")
    file = root / "deploy" / name
    checked = run(hadolint, "--no-color", str(file))
    assert (checked.returncode, checked.stdout) == (0, "")
    spoilt = tmp_path / name
    spoilt.write_text(file.read_text() + "RUN cd /tmp && sudo ls\n")
    assert run(hadolint, str(spoilt)).returncode != 0


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_into_an_image_is_there_and_not_ignored(root: Path, name: str) -> None:
    text = (root / "deploy" / name).read_text().replace("\\\n", " ")
    ignored = (root / ".dockerignore").read_text().split()
    copied = [path for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE)
              for path in line.split()[:-1]]  # fmt: skip
    assert "constraints.lock" in copied
    assert "." in copied
    for path in copied:
        assert (root / path).exists()
        assert path not in ignored
    used = re.findall(r"-[rc] (\S+)", text)
    assert used
    assert set(used) <= set(copied)


@pytest.fixture
def compose(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / "deploy/compose.yaml").read_text())
    return loaded


def test_every_service_launches_what_there_is_with_arguments_that_it_has(
    root: Path, compose: dict[str, Any]
) -> None:
    profiles = {name: service["profiles"] for name, service in compose["services"].items()}
    assert profiles == {"node": ["server"], "detector": ["robot"], "kitchen": ["kitchen"]}
    for service in compose["services"].values():
        program, verb, package, file, *arguments = service["command"]
        assert (program, verb, package) == ("ros2", "launch", "chatspot_ros")
        text = (root / "launch" / file).read_text()
        known = {spec.name for spec in SPECS[file.removesuffix(".launch.py")]}
        for argument in arguments:
            name = argument.partition(":=")[0]
            assert name in known or f'"{name}"' in text, f"{file} has no {name}"
        assert (root / "deploy" / service["build"]["context"]).resolve() == root
        for image in ("cuda", "jetson"):
            path = service["build"]["dockerfile"].replace("${IMAGE:-cuda}", image)
            assert (root / path).is_file()
        assert service["network_mode"] == "host"


def test_docker_compose_reads_it(root: Path) -> None:
    docker = program("docker")
    if run(docker, "compose", "version").returncode != 0:
        pytest.skip("docker has no compose here")
    file = str(root / "deploy/compose.yaml")
    for profile in ("server", "robot", "kitchen"):
        read = run(docker, "compose", "-f", file, "--profile", profile, "config", "--quiet")
        assert (read.returncode, read.stderr) == (0, "")


def test_systemd_verifies_the_unit(root: Path, tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    text = (root / "deploy" / UNIT).read_text()
    assert ENTRYPOINT in text
    # It wants to see the program that is started.
    here = text.replace(ENTRYPOINT, str(root / "deploy/entrypoint"))
    unit = tmp_path / UNIT
    unit.write_text(here)
    verified = run(analyze, "verify", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")
    unit.write_text(here.replace("Restart=on-failure", "Restart=if-it-likes"))
    assert "if-it-likes" in run(analyze, "verify", str(unit)).stderr


def test_the_entrypoint_says_what_is_missing(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "src" / "chatspot_ros" / "deploy"
    folder.mkdir(parents=True)
    copy = Path(shutil.copy(root / "deploy/entrypoint", folder))
    ended = subprocess.run(
        [copy, "true"], env={"ROS_DISTRO": "nowhere", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "/opt/ros/nowhere/setup.bash" in ended.stderr
    assert "README.md" in ended.stderr
