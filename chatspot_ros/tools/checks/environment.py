"""Python, the packages against their pins, ROS 2 and its middleware, as this shell has them."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from chatspot_ros.tools.checks.finding import Finding, bad, ok, warn
from chatspot_ros.util.resources import share_folder

LEAST_PYTHON = (3, 11)
_NAMED = 5
_LINE = re.compile(r"([A-Za-z0-9._-]+)\s*(==|>=)\s*([^,;\s]+)")
_DOMAINS = range(233)
# Beyond it, the ports of a domain overlap those of outgoing connections on Linux.
_LAST_SAFE_DOMAIN = 101
_VERSIONS = ("rclpy", "ros-rclpy")
_PIP = "pip install --require-hashes -c constraints.lock -r requirements.txt"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Look at the version of Python."""
    shown = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        return bad("Python", shown, "use Python 3.11 or newer")
    return ok("Python", f"{shown} on {platform.machine()}, {os.cpu_count()} processors")


def check_packages(folder: Path | None = None) -> list[Finding]:
    """Compare the installed packages with `requirements.txt` and the pins of `constraints.txt`.

    `folder` holds both files; None: the package's share folder.
    """
    try:
        folder = folder or share_folder() / "pins"
        needed = dict(_read(folder / "requirements.txt"))
        pins = dict(_read(folder / "constraints.txt"))
    except (OSError, LookupError) as error:
        return [
            warn("packages", f"their pins are not installed: {error}", "install the package again")
        ]
    installed = _installed()
    missing = sorted(name for name in needed if name not in installed)
    others = [
        f"{name} {installed[name]} (tested: {pin})"
        for name, pin in sorted(pins.items())
        if name in installed and installed[name].partition("+")[0] != pin.partition("+")[0]
    ]
    found: list[Finding] = []
    if missing:
        found.append(bad("packages", f"not installed: {', '.join(missing)}", _PIP))
    if others:
        found.append(
            warn("packages", f"other versions than tested: {_few(others)}", f"if one fails: {_PIP}")
        )
    return found or [ok("packages", f"{len(needed)} needed are installed, as they were tested")]


def check_ros(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Look at rclpy, the generated interfaces, the middleware, the domain and its reach."""
    try:
        import rclpy.utilities

        from chatspot_ros.srv import RegionQuery  # noqa: F401
    except Exception as error:  # what a broken installation raises is of many kinds
        yield bad(
            "ROS 2", f"cannot be used: {error}",
            "source the workspace (source install/setup.bash), or begin with scripts/run",
        )  # fmt: skip
        return
    distribution = environment.get("ROS_DISTRO", "") or _wheels()
    yield ok("ROS 2", distribution)
    middleware = rclpy.utilities.get_rmw_implementation_identifier()
    yield ok("middleware", str(middleware))
    yield _check_domain(environment.get("ROS_DOMAIN_ID", ""))
    if "fastrtps" in str(middleware):
        yield _check_transports(environment)


def _check_domain(text: str) -> Finding:
    if not text:
        return ok("domain", "0 (ROS_DOMAIN_ID is not set)")
    if not text.isdecimal() or int(text) not in _DOMAINS:
        return bad("domain", f"ROS_DOMAIN_ID is {text!r}", "set it to a number from 0 to 101")
    if int(text) > _LAST_SAFE_DOMAIN:
        return warn(
            "domain", f"{text}: its ports may be taken by outgoing connections",
            "set ROS_DOMAIN_ID to a number from 0 to 101",
        )  # fmt: skip
    return ok("domain", text)


def _check_transports(environment: Mapping[str, str]) -> Finding:
    from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE

    value = environment.get(VARIABLE, "")
    about, remedy = "buffers", f"export {VARIABLE}='{LARGER_BUFFERS}' where the camera starts"
    if value.startswith("LARGE_DATA"):
        return warn(
            about, f"{VARIABLE} is {value}: programs without it and this one do not meet",
            f"set it in every shell, or {remedy}",
        )  # fmt: skip
    if environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "LOCALHOST":
        return warn(
            about, "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST switches larger buffers off",
            "unset it, and set ROS_DOMAIN_ID to a number of your own",
        )  # fmt: skip
    if not value or value == "DEFAULT":
        return warn(about, "best-effort images above about 500 kB may be lost", remedy)
    return ok(about, f"{VARIABLE} is {value}")


def _wheels() -> str:
    for name in _VERSIONS:
        try:
            return f"no ROS_DISTRO; rclpy {metadata.version(name)} as a Python package"
        except metadata.PackageNotFoundError:
            continue
    return "no ROS_DISTRO; rclpy of an unknown version"


def _installed() -> dict[str, str]:
    return {
        _normal(one.metadata["Name"]): one.version
        for one in metadata.distributions()
        if one.metadata["Name"]
    }


def _read(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if (found := _LINE.match(line)) is not None:
            yield _normal(found[1]), found[3]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _few(words: list[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
