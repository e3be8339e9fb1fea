"""ROS parameters of the smaller nodes: declared from a table, with descriptions and ranges."""

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
from chatspot_ros.server.parameter_spec import Spec

Values = dict[str, Any]
OnChange = Callable[[Values], None]
Check = Callable[[Values], str | None]


def declare(
    node: Node,
    specs: Sequence[Spec],
    on_change: OnChange | None = None,
    check: Check | None = None,
) -> Values:
    """Declare parameters and return the values given at start-up, by name.

    Without `on_change` all are fixed once the node runs. With it, those that are not read-only can
    be set: it is called, in the executor's thread, with all values after a change. `check` may
    refuse the values that a change would lead to, by saying what is wrong with them.

    Raises:
        RequestError: a value given at start-up has the wrong type or is out of range.
    """
    values: Values = {}
    for spec in specs:
        fixed = spec.read_only or on_change is None
        try:
            values[spec.name] = node.declare_parameter(
                spec.name, spec.default, _descriptor(spec, fixed)
            ).value
        except ParameterException as error:
            raise RequestError(
                f"the parameter {spec.name} cannot be used: {error}",
                value=spec.name,
                remedy=f"its default is {spec.default!r}, written with a decimal point where it "
                "has one",
            ) from error
        problem = spec.problem_with(values[spec.name])
        if problem:
            raise RequestError(problem, value=values[spec.name], remedy="choose another value")
    if on_change is not None:
        _let_change(node, specs, values, on_change, check)
    return dict(values)


def _let_change(
    node: Node, specs: Sequence[Spec], values: Values, on_change: OnChange, check: Check | None
) -> None:
    by_name = {spec.name: spec for spec in specs}

    def judge(changes: list[Parameter]) -> SetParametersResult:
        new = {change.name: change.value for change in changes if change.name in by_name}
        wrong = [by_name[name].problem_with(value) for name, value in new.items()]
        wrong.append(check({**values, **new}) if check is not None else None)
        reasons = [reason for reason in wrong if reason]
        return SetParametersResult(successful=not reasons, reason="; ".join(reasons))

    def apply(changes: list[Parameter]) -> None:
        values.update({c.name: c.value for c in changes if c.name in by_name})
        on_change(dict(values))

    node.add_on_set_parameters_callback(judge)
    node.add_post_set_parameters_callback(apply)


def _descriptor(spec: Spec, fixed: bool) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=spec.text, read_only=fixed)
    if spec.choices:
        descriptor.additional_constraints = f"one of: {', '.join(spec.choices)}"
    if spec.low is not None and spec.high is not None:
        low, high = spec.low, spec.high
        if isinstance(spec.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(low), to_value=int(high), step=0)
            ]
    return descriptor
