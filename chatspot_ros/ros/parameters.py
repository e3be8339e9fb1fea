"""ROS parameters out of a table of `Spec`, with descriptions, ranges and read-only flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from chatspot_ros.errors import RequestError
from chatspot_ros.server.parameter_spec import Spec, problems_with

Values = dict[str, Any]
OnChange = Callable[[Values], None]
Check = Callable[[Values], str | None]


def declare(
    node: Node,
    specs: Sequence[Spec],
    on_change: OnChange | None = None,
    check: Check | None = None,
) -> Values:
    """Declare parameters and return the values given at start-up, by name; lists as tuples.

    Without `on_change` all parameters are read-only. With it, it is called with all values, in the
    executor's thread, after some were set. `check` gets all values before they are set; it refuses
    them by returning the reason.

    Raises:
        RequestError: a value given at start-up has the wrong type or is out of range.
    """
    for spec in specs:
        descriptor = _descriptor(spec, read_only=spec.read_only or on_change is None)
        try:
            node.declare_parameter(spec.name, _to_ros(spec.default), descriptor)
        except ParameterException as error:
            raise RequestError(
                f"the parameter {spec.name} cannot be used",
                value=error,
                remedy=f"its default is {spec.default!r}, with a decimal point where it has one; "
                "see docs/parameters.md",
            ) from error
    values = _read(node, specs)
    problems = problems_with(specs, values)
    if problems:
        raise RequestError(
            "; ".join(problems), value=len(problems), remedy="see docs/parameters.md"
        )
    if on_change is not None:
        _let_change(node, specs, on_change, check)
    return values


def _let_change(
    node: Node, specs: Sequence[Spec], on_change: OnChange, check: Check | None
) -> None:
    names = {spec.name for spec in specs}

    def judge(changes: list[Parameter]) -> SetParametersResult:
        new = {one.name: _from_ros(one.value) for one in changes if one.name in names}
        reasons = problems_with(specs, new)
        if check is not None and not reasons:
            reason = check({**_read(node, specs), **new})
            reasons += [reason] if reason else []
        return SetParametersResult(successful=not reasons, reason="; ".join(reasons))

    def apply(_: list[Parameter]) -> None:
        on_change(_read(node, specs))

    node.add_on_set_parameters_callback(judge)
    node.add_post_set_parameters_callback(apply)


def _read(node: Node, specs: Sequence[Spec]) -> Values:
    return {spec.name: _from_ros(node.get_parameter(spec.name).value) for spec in specs}


def _to_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _from_ros(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _descriptor(spec: Spec, *, read_only: bool) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=spec.text, read_only=read_only)
    if spec.choices:
        descriptor.additional_constraints = f"one of: {', '.join(spec.choices)}"
    elif spec.form:
        descriptor.additional_constraints = spec.form
    if spec.low is not None and spec.high is not None:
        if isinstance(spec.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(spec.low), to_value=float(spec.high), step=0.0)
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(spec.low), to_value=int(spec.high), step=0)
            ]
    return descriptor
