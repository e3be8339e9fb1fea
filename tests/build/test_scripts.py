"""scripts/install and scripts/run, called as in a user's shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A user's shell: nothing of this test run's environment but the usual variables.
PLAIN_SHELL = {
    name: os.environ[name]
    for name in ("HOME", "LANG", "ROS_DISTRO", "ROS_DOMAIN_ID")
    if name in os.environ
}
PLAIN_SHELL["PATH"] = ":".join(
    folder for folder in os.environ["PATH"].split(":") if not folder.startswith(str(ROOT))
)


def run(
    *command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**PLAIN_SHELL, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def run_python(code: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    ended = run(ROOT / "scripts/run", "python", "-c", code, cwd=cwd, env=env)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_install_does_nothing_twice() -> None:
    ended = run("scripts/install")
    assert ended.returncode == 0, ended.stderr
    ended = run("scripts/install")
    assert ended.stdout.endswith("chatspot_ros is installed; nothing has changed\n")


def test_run_works_from_any_folder(tmp_path: Path) -> None:
    code = "import chatspot_ros.srv, vision_msgs.msg; print(chatspot_ros.__file__)"
    for folder in (ROOT, ROOT / "tests", tmp_path):
        assert run_python(code, cwd=folder).startswith(str(ROOT / "install"))


def test_run_starts_modules_in_the_repository(tmp_path: Path) -> None:
    """`python -m` puts the working folder first, where chatspot_ros/ has no srv: not here."""
    ended = run(ROOT / "scripts/run", "python", "-m", "chatspot_ros.srv")
    assert "No module named chatspot_ros.srv.__main__" in ended.stderr


def test_run_works_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "chatspot"
    link.symlink_to(ROOT / "scripts/run")
    assert run(link, "true").returncode == 0


def test_run_keeps_arguments_and_status(tmp_path: Path) -> None:
    ended = run(
        ROOT / "scripts/run", "bash", "-c", 'printf "%s|" "$@"; exit 7', "-", "a b", "", "*"
    )
    assert (ended.returncode, ended.stdout) == (7, "a b||*|")


def test_run_without_a_command_says_how() -> None:
    ended = run("scripts/run")
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: scripts/run CMD")


@pytest.mark.parametrize(
    ("name", "default", "own"),
    [
        ("FASTDDS_BUILTIN_TRANSPORTS", "DEFAULT?max_msg_size=60KB&sockets_size=16MB", "UDPv4"),
        ("OMP_WAIT_POLICY", "PASSIVE", "ACTIVE"),
        ("MUJOCO_GL", "egl", "glfw"),
    ],
)
def test_run_sets_what_is_not_set(name: str, default: str, own: str) -> None:
    code = f"import os; print(os.environ[{name!r}])"
    assert run_python(code) == default
    assert run_python(code, env={name: own}) == own


def test_run_before_install_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/run", tmp_path / "scripts/run")
    ended = run("scripts/run", "true", cwd=tmp_path)
    assert ended.returncode == 1
    assert f"run {tmp_path}/scripts/install first" in ended.stderr


def test_every_executable_is_installed() -> None:
    prefix = ROOT / "install/chatspot_ros"
    for name in ("region_query_node", "kitchen_camera", "kitchen_detector", "chatspot"):
        assert os.access(prefix / "lib/chatspot_ros" / name, os.X_OK)
    assert os.access(prefix / "bin/chatspot", os.X_OK)


def test_torch_is_the_pinned_one() -> None:
    pinned = [line for line in (ROOT / "constraints.txt").read_text().split() if "torch" in line]
    assert "torch==2.13.0" in pinned
    assert run_python("import torch; print(torch.__version__.split('+')[0])") == "2.13.0"
