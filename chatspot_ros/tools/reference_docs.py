"""The reference pages out of the definitions: `chatspot docs`.

Writes docs/interfaces.md (its part below the marker) from msg/, srv/ and action/, and
docs/parameters.md from the tables of parameters. With --check nothing is written, and the exit
status is 1 when a page is not current.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rosidl_adapter.parser import parse_message_string

from chatspot_ros.detector import settings as detector_settings
from chatspot_ros.errors import RequestError
from chatspot_ros.server import settings
from chatspot_ros.server.parameter_spec import Spec
from chatspot_ros.util.command_line import Command

COMMAND = "scripts/run chatspot docs"
MARKER = f"<!-- From here on written by `{COMMAND}`, out of msg/, srv/ and action/. -->"
_PACKAGE = "chatspot_ros"
_SPLIT = re.compile(r"^---$", re.MULTILINE)
_PARAMETERS = f"""# Parameters

Written by `{COMMAND}`, out of the tables in
`chatspot_ros/server/settings.py` (depth: `depth_settings.py` beside it) and
`chatspot_ros/detector/settings.py`: edit those.

Set them in a YAML file (`config/region_query.yaml` is the one that the launch file loads), with
`-p NAME:=VALUE` behind `--ros-args`, or, those that change while running, at any time:
`ros2 param set /region_query_node NAME VALUE`. A value that cannot be read or is out of range is
refused, and the answer says why. Values are read as people type them: `compile:=off`,
`device:=0` (the first GPU), `skills_file:=off` (none), `cameras:=front`, `max_image_age:=5`. Each
parameter is also an argument of the node's launch file, and through `chain.launch.py`.
"""
_HEAD = (
    "| name | type | default | range | changes while running | meaning |\n|---|---|---|---|---|---|"
)


# --- parameters


def parameters_page() -> str:
    """Return docs/parameters.md."""
    tables = {"region_query_node": settings.SPECS, "detector_node": detector_settings.SPECS}
    parts = [_PARAMETERS]
    for node, specs in tables.items():
        parts += [f"\n## {node}\n\n{_HEAD}\n", *(f"{_row(spec)}\n" for spec in specs)]
    return "".join(parts)


def _row(spec: Spec) -> str:
    extent = ", ".join(choice or "(empty)" for choice in spec.choices) or spec.form
    if spec.low is not None and spec.high is not None:
        extent = f"{spec.low:g} to {spec.high:g}"
    cells = (
        f"`{spec.name}`",
        _type_name(spec.default),
        f"`{_default(spec.default)}`" if spec.default not in ("", ()) else "(empty)",
        extent.replace("|", "\\|"),
        "no" if spec.read_only else "yes",
        spec.text.replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def _type_name(default: Any) -> str:
    if isinstance(default, tuple):
        return "string list"
    return {str: "string", float: "double"}.get(type(default), type(default).__name__)


def _default(default: Any) -> str:
    if isinstance(default, tuple):
        return ", ".join(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


# --- interfaces


# What the parts of an interface file are called, in their order.
_SECTIONS = {"msg": ("",), "srv": ("Request", "Reply"), "action": ("Goal", "Result", "Feedback")}


def interfaces_reference(root: Path) -> str:
    """Return the generated part of docs/interfaces.md: every interface with all its fields."""
    parts = [MARKER, "", "# Every message, service and action", ""]
    parts += [
        f"Out of the comments in the files themselves; `ros2 interface show {_PACKAGE}/srv/"
        "RegionQuery` shows the same.",
        "",
    ]
    told: dict[tuple[str, ...], str] = {}
    for folder, titles in _SECTIONS.items():
        for path in sorted((root / folder).glob(f"*.{folder}")):
            text = path.read_text(encoding="utf-8")
            name = f"{folder}/{path.stem}"
            parts += [f"## {name}", "", _introduction(text), ""]
            for title, section in zip(titles, _SPLIT.split(text), strict=True):
                fields = tuple(_fields(path.stem, section, is_first=title == titles[0]))
                parts += [f"### {title}", ""] if title else []
                parts += [told[fields], ""] if fields in told else fields
                told.setdefault(fields, f"Field by field the {title.lower()} of {name}, above.")
    return "\n".join(parts).rstrip() + "\n"


def _introduction(text: str) -> str:
    """Return the introduction of an interface file: its comment up to the first empty line."""
    block = text.split("\n\n", 1)[0]
    return "\n".join(line.removeprefix("#").strip() for line in block.splitlines())


def _fields(name: str, section: str, *, is_first: bool) -> list[str]:
    """Return the constants and fields of one part of an interface file."""
    # The parser takes the lines before the first empty line for a comment on the whole file.
    message = parse_message_string(_PACKAGE, name, section if is_first else f"#\n\n{section}")
    lines = []
    if message.constants:
        lines += ["| constant | value | meaning |", "|---|---|---|"]
        lines += [
            f"| `{constant.name}` | {constant.value} | {' '.join(_comment(constant))} |"
            for constant in message.constants
        ]
        lines.append("")
    for field in message.fields:
        lines.append(f"- **`{field.name}`** `{field.type}`")
        lines += _indented(_comment(field))
    return [*lines, ""]


def _comment(element: Any) -> list[str]:
    return [str(line).rstrip() for line in element.annotations.get("comment", ())]


def _indented(comment: Iterable[str]) -> list[str]:
    """Return a comment as lines below its field; indented lines become a nested list."""
    lines: list[str] = []
    in_list = False
    for line in comment:
        if not line.startswith(" "):
            if in_list:
                lines.append("")
            in_list = False
            lines.append(f"  {line}")
        else:
            if not in_list:
                lines.append("")
            in_list = True
            lines.append(f"  - {line.strip()}")
    return lines


# --- the pages


def pages(root: Path) -> dict[Path, str]:
    """Return the contents of each page.

    Raises:
        RequestError: docs/interfaces.md has lost its marker, or `root` is not this repository.
    """
    guide = root / "docs" / "interfaces.md"
    if not guide.is_file():
        raise RequestError(
            "there is no docs/interfaces.md", value=root, remedy="run it in the repository"
        )
    written, marker, _ = guide.read_text(encoding="utf-8").partition(MARKER)
    if not marker:
        raise RequestError(
            "docs/interfaces.md has no marker", value=guide, remedy=f"put {MARKER!r} into it"
        )
    return {
        guide: written + interfaces_reference(root),
        root / "docs" / "parameters.md": parameters_page(),
    }


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="only say which are not current")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository (this folder)")


def _run(options: argparse.Namespace) -> int:
    """Write the pages, or check them; return the exit status."""
    wanted = pages(options.root)
    act: Callable[[Path, str], bool] = _is_current if options.check else _write
    stale = [path for path, text in wanted.items() if not act(path, text)]
    for path in stale:
        main.say(f"{path} is not current; run {COMMAND}")
    return 1 if stale else 0


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _write(path: Path, text: str) -> bool:
    path.write_text(text, encoding="utf-8")
    return True


main = Command(
    "docs", _add_arguments, _run, description="Write the reference pages.", failed=1
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
