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
    executor's thread, after some were set; those are read as at start-up (`5` sets a double).
    `check` gets all values before they are set; it refuses them by returning the reason.

    Raises:
        RequestError: a value given at start-up cannot be read (see `Spec.read`) or is out of range.
    """
    values: Values = {}
    problems = []
    for spec in specs:
        try:
            values[spec.name] = spec.read(_given(node, spec))
        except ValueError as error:
            problems.append(str(error))
    problems += problems_with(specs, values)
    if problems:
        raise RequestError(
            "; ".join(problems), value=len(problems), remedy="see docs/parameters.md"
        )
    for spec in specs:
        descriptor = _descriptor(spec, read_only=spec.read_only or on_change is None)
        node.declare_parameter(
            spec.name, _to_ros(values[spec.name]), descriptor, ignore_override=True
        )
    if on_change is not None:
        _let_change(node, specs, on_change, check)
    return values


def _given(node: Node, spec: Spec) -> Any:
    """Return the value that was given at start-up, of whatever type, else the default."""
    anything = ParameterDescriptor(dynamic_typing=True)
    try:
        return node.declare_parameter(spec.name, _to_ros(spec.default), anything).value
    finally:
        if node.has_parameter(spec.name):
            node.undeclare_parameter(spec.name)


def _let_change(
    node: Node, specs: Sequence[Spec], on_change: OnChange, check: Check | None
) -> None:
    by_name = {spec.name: spec for spec in specs}

    unread: list[str] = []

    def read(changes: list[Parameter]) -> list[Parameter]:
        """Put each change into its parameter's type, or note why not and put nothing new."""
        unread.clear()
        return [in_its_type(one) for one in changes]

    def in_its_type(change: Parameter) -> Parameter:
        spec = by_name.get(change.name)
        if spec is None or change.type_ == Parameter.Type.NOT_SET:
            return change
        try:
            return Parameter(change.name, value=_to_ros(spec.read(_from_ros(change.value))))
        except ValueError as error:
            # rclpy would refuse it by the numbers of the types.
            unread.append(str(error))
            return node.get_parameter(change.name)

    def judge(changes: list[Parameter]) -> SetParametersResult:
        new = {one.name: _from_ros(one.value) for one in changes if one.name in by_name}
        reasons = unread + problems_with(specs, new)
        if check is not None and not reasons:
            reason = check({**_read(node, specs), **new})
            reasons += [reason] if reason else []
        return SetParametersResult(successful=not reasons, reason="; ".join(reasons))

    def apply(_: list[Parameter]) -> None:
        on_change(_read(node, specs))

    node.add_pre_set_parameters_callback(read)
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
