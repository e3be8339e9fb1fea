"""What is installed is what was tested: every package by version and hash, pip itself too."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the version and the hashes of each package that a requirements file pins."""
    found = {}
    for entry in path.read_text().replace("\\\n", " ").splitlines():
        if entry.strip() and not entry.startswith("#"):
            name, version, hashes = re.fullmatch(
                r"([\w.-]+)==(\S+)((?: +--hash=sha256:[0-9a-f]{64})*) *", entry
            ).groups()
            found[normal(name)] = (version, tuple(hashes.split()))
    return found


def test_the_lock_has_the_pinned_versions(root: Path) -> None:
    pinned, locked = pins(root / "constraints.txt"), pins(root / "constraints.lock")
    remedy = "run scripts/lock"
    assert {name: pinned[name][0] for name in pinned} == {
        name: locked[name][0] for name in locked
    }, remedy


def test_every_release_of_the_lock_has_hashes(root: Path) -> None:
    locked = pins(root / "constraints.lock")
    assert [name for name, (_, hashes) in locked.items() if not hashes] == []


@pytest.mark.parametrize(
    ("path", "name"), [("requirements-pip.txt", "pip"), ("requirements-torch-cpu.txt", "torch")]
)
def test_what_is_installed_first_is_pinned_too(root: Path, path: str, name: str) -> None:
    ((found, (version, hashes)),) = pins(root / path).items()
    assert found == name
    assert hashes
    assert version.partition("+")[0] == pins(root / "constraints.txt")[name][0]


def test_every_package_of_the_environment_is_pinned(root: Path) -> None:
    pinned = pins(root / "constraints.txt")
    there = {
        normal(one.metadata["Name"]): one.version.partition("+")[0]
        for one in importlib.metadata.distributions(
            path=[path for path in sys.path if path.startswith(sys.prefix)]
        )
        # A ROS wheel also holds the metadata of the packages that were built into it.
        if (one.read_text("INSTALLER") or "").strip() == "pip"
    }
    other = {
        name: (version, pinned[name][0] if name in pinned else "no pin")
        for name, version in there.items()
        if name not in pinned or version != pinned[name][0].partition("+")[0]
    }
    assert other == {}


def test_a_file_with_another_hash_is_refused(root: Path, tmp_path: Path) -> None:
    """As scripts/install asks pip; the index is a folder with a file of our own."""
    wheel = tmp_path / "tqdm-{}-py3-none-any.whl".format(pins(root / "constraints.txt")["tqdm"][0])
    shutil.make_archive(str(wheel), "zip", tmp_path)
    Path(f"{wheel}.zip").rename(wheel)
    command = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--dry-run",
               "--isolated", "--no-deps", "--ignore-installed", "--no-index", "--require-hashes",
               f"--find-links={tmp_path}", "-c",
               str(root / "constraints.lock"), "tqdm")  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0
    assert "DO NOT MATCH THE HASHES" in ended.stderr, ended.stderr
