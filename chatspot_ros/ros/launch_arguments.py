"""Launch arguments out of the tables of parameters, as plain values: for the files in launch/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chatspot_ros.server.parameter_spec import Spec, problems_with, read_bool

# name, default, description
REQUIRED = (
    "required",
    "true",
    "true: if it ends with an error, at its start or later, the whole launch ends, with status 1. "
    "false: the rest goes on.",
)


def argument_texts(
    specs: Iterable[Spec], without: Iterable[str] = ()
) -> tuple[tuple[str, str, str], ...]:
    """Return (name, default, description) of an argument for each parameter.

    The default is empty: the node's own, or what a parameter file says.
    """
    left_out = set(without)
    return tuple(
        (spec.name, "", f"{spec.text.rstrip('.')}. Empty: as the node or its file says.")
        for spec in specs
        if spec.name not in left_out
    )


def given_parameters(specs: Iterable[Spec], values: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that were given, in their types. Raises RuntimeError."""
    wanted = [spec for spec in specs if values.get(spec.name)]
    try:
        given = {spec.name: spec.read(values[spec.name]) for spec in wanted}
    except ValueError as error:
        raise RuntimeError(str(error)) from None
    if problems := problems_with(wanted, given):
        raise RuntimeError("; ".join(problems))
    return given


def given_bool(name: str, text: str) -> bool:
    """Return a boolean argument: true, 1, yes, on, or the opposite. Raises RuntimeError."""
    try:
        return read_bool(name, text)
    except ValueError as error:
        raise RuntimeError(str(error)) from None


def given_path(name: str, text: str) -> Path:
    """Return a path that exists; it may begin with ~. Raises RuntimeError."""
    path = Path(text).expanduser()
    if not path.exists():
        raise RuntimeError(f"{name}:={text} is not there")
    return path


def end_launch_on_error(event: Any, context: Any) -> None:
    """Raise RuntimeError if a required process ended with an error: for `on_exit`.

    `launch` then ends all other processes, as after its action Shutdown, and returns 1, where
    Shutdown alone returns 0.
    """
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(
            f"{event.process_name} ended with status {event.returncode}, its last lines say why; "
            "required:=false lets the rest go on"
        )
