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


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose environment exists; pip and the build do nothing, and `calls` names them."""
    for name in ("action", "cmake", "msg", "srv", "third_party",
                 "install/chatspot_ros", "build/chatspot_ros",
                 ".venv/share", ".venv/bin", "models"):  # fmt: skip
        (tmp_path / name).mkdir(parents=True)
    for name in ("CMakeLists.txt", "package.xml", ".venv/share/one.cmake", "models/one"):
        (tmp_path / name).touch()
    for path in (*ROOT.glob("requirements*.txt"), ROOT / "constraints.lock"):
        shutil.copy(path, tmp_path)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/install", tmp_path / "scripts")
    kind = (ROOT / ".venv/.kind").read_text().strip().removesuffix(str(ROOT)) + str(tmp_path)
    (tmp_path / ".venv/.kind").write_text(kind + "\n")
    for name in ("cmake", "colcon", "apt-get"):
        write_program(tmp_path / "programs" / name, "")
    write_program(
        tmp_path / ".venv/bin/python",
        f'echo "$@" >>{tmp_path}/calls; [[ "$*" != *"${{REFUSED-none}}"* ]]',
    )
    return tmp_path


def install(clone: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{clone}/programs:{PLAIN_SHELL['PATH']}"
    return run("scripts/install", cwd=clone, env={"PATH": path, **variables})


def test_install_goes_on_without_the_pretrained_parts(clone: Path) -> None:
    ended = install(clone, REFUSED="requirements-small.txt")
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "pretrained parts of chatspot-small (150 MB) failed; chatspot-tiny serves" in line
    assert "check the network and 'pip config list', then run scripts/install again" in line
    assert "chatspot_ros is installed" in ended.stdout

    # They are tried again, and nothing else.
    (clone / "calls").unlink()
    ended = install(clone)
    assert (ended.returncode, ended.stderr) == (0, "")
    (call,) = (clone / "calls").read_text().splitlines()
    assert "--require-hashes -c constraints.lock --no-deps -r requirements-small.txt" in call
    assert install(clone).stdout == "chatspot_ros is installed; nothing has changed\n"


def test_install_composes_the_model_again_when_its_adaptation_changes(clone: Path) -> None:
    adaptation = clone / "models/chatspot-small-adaptation"
    adaptation.mkdir()
    (clone / "chatspot_ros/chatspot_small").mkdir(parents=True)
    (adaptation / "adaptation.safetensors").write_text("one")
    assert install(clone).returncode == 0
    assert install(clone).stdout == "chatspot_ros is installed; nothing has changed\n"
    (clone / "calls").unlink()
    (adaptation / "adaptation.safetensors").write_text("two")
    ended = install(clone, REFUSED="compose")
    assert ended.returncode == 0
    assert "composing chatspot-small of its parts failed; chatspot-tiny serves" in ended.stderr
    assert install(clone).returncode == 0
    calls = (clone / "calls").read_text().splitlines()
    assert calls == ["-m chatspot_ros.chatspot_small.compose"] * 2


def test_install_stops_without_the_other_packages(clone: Path) -> None:
    ended = install(clone, REFUSED="requirements.txt")
    assert ended.returncode == 1
    assert "Python packages (about 2 GB) failed; check the network" in ended.stderr


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
