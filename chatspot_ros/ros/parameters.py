"""The table of `settings` as ROS parameters.

Declared with descriptions, ranges and read-only flags.
"""

from __future__ import annotations

from collections.abc import Callable
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
from chatspot_ros.server.settings import Settings, problems_with, specs


def declare(node: Node, on_change: Callable[[Settings], None]) -> Settings:
    """Declare every parameter and return the values given at start-up.

    `on_change` is called with all values, in the executor's thread, after some were set.

    Raises:
        RequestError: a value given at start-up is of the wrong type or out of range.
    """
    for spec in specs():
        try:
            node.declare_parameter(spec.name, _to_ros(spec.default), _descriptor(spec))
        except ParameterException as error:
            raise RequestError(
                f"the parameter {spec.name} cannot be used",
                value=error,
                remedy=f"its default is {spec.default!r}, with a decimal point where it has one; "
                "see docs/parameters.md",
            ) from error
    values = _read(node)
    problems = problems_with(values)
    if problems:
        raise RequestError(
            "; ".join(problems), value=len(problems), remedy="see docs/parameters.md"
        )

    def check(changes: list[Parameter]) -> SetParametersResult:
        wrong = problems_with({change.name: _from_ros(change.value) for change in changes})
        return SetParametersResult(successful=not wrong, reason="; ".join(wrong))

    def apply(_: list[Parameter]) -> None:
        on_change(Settings(**_read(node)))

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(apply)
    return Settings(**values)


def _read(node: Node) -> dict[str, Any]:
    return {spec.name: _from_ros(node.get_parameter(spec.name).value) for spec in specs()}


def _to_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _from_ros(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _descriptor(spec: Spec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=spec.text, read_only=spec.read_only)
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
