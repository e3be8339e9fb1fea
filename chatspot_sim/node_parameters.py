"""Parameters of the simulation's nodes: declared from a table, with descriptions and ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from chatspot_ros.errors import RequestError
from chatspot_ros.settings import Spec


def declare(node: Node, specs: Sequence[Spec]) -> dict[str, Any]:
    """Declare parameters that are fixed once the node runs; return their values by name.

    Raises:
        RequestError: a value given at start-up has the wrong type or is out of range.
    """
    values = {}
    for spec in specs:
        try:
            values[spec.name] = node.declare_parameter(
                spec.name, spec.default, _descriptor(spec)
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
    return values


def _descriptor(spec: Spec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=spec.text, read_only=True)
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
