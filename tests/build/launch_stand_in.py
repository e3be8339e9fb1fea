"""A stand-in for `launch` and `launch_ros` where they are not installed, for this package's files.

Actions run at once: programs are recorded instead of started. Launch configurations are scoped as
in the real package: those of an included file stay in the including context, unless a GroupAction
scopes them.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass
class Started:
    """A node or program that the real launch would start."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    remappings: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    namespace: str = ""
    env: dict[str, str] = field(default_factory=dict)
    on_exit: Any = None


class Context:
    def __init__(self, configurations: dict[str, str], started: list[Started]) -> None:
        self.configurations = self.launch_configurations = configurations
        self.started = started
        self.handlers: list[Any] = []
        self.declared: set[str] = set()  # in this context and the outer ones


def text(value: Any, context: Context) -> Any:
    """Return a substitution's value; join lists of them; return anything else unchanged."""
    if hasattr(value, "perform"):
        return value.perform(context)
    if isinstance(value, list) and any(hasattr(part, "perform") for part in value):
        return "".join(text(part, context) for part in value)
    return value


class LaunchConfiguration:
    def __init__(self, name: str) -> None:
        self.name = name

    def perform(self, context: Context) -> str:
        return context.configurations[self.name]


class EnvironmentVariable:
    def __init__(self, name: str, *, default_value: str) -> None:
        self.name, self.default_value = name, default_value

    def perform(self, context: Context) -> str:
        return os.environ.get(self.name, self.default_value)


class ParameterValue:
    def __init__(self, value: Any, value_type: type) -> None:
        # As in the real package, only values of substitutions are converted.
        assert hasattr(value, "perform") or isinstance(value, value_type), value
        self.value, self.value_type = value, value_type

    def perform(self, context: Context) -> Any:
        given = text(self.value, context)
        if self.value_type is bool:
            return {"true": True, "false": False}[given.lower()]
        return self.value_type(given)


class DeclareLaunchArgument:
    def __init__(
        self, name: str, *, default_value: str | None = None, description: str = "",
        choices: list[str] | None = None,
    ) -> None:  # fmt: skip
        assert description.endswith((".", '"')), f"{name} does not say what it is"
        self.name, self.default_value, self.choices = name, default_value, choices

    def run(self, context: Context) -> None:
        context.declared.add(self.name)
        if self.default_value is not None:
            context.configurations.setdefault(self.name, self.default_value)
        value = context.configurations[self.name]
        if self.choices is not None and value not in self.choices:
            raise RuntimeError(f"{self.name}:={value} is none of {self.choices}")


class OpaqueFunction:
    def __init__(self, *, function: Any) -> None:
        self.function = function

    def run(self, context: Context) -> None:
        run_all(self.function(context) or [], context)


class GroupAction:
    def __init__(self, actions: list[Any], *, scoped: bool = True, forwarding: bool = True) -> None:
        self.actions, self.scoped, self.forwarding = actions, scoped, forwarding

    def run(self, context: Context) -> None:
        inner = dict(context.configurations) if self.forwarding else {}
        scope = Context(inner, context.started) if self.scoped else context
        scope.declared |= context.declared
        run_all(self.actions, scope)


class ProcessIO:
    def __init__(self, text: bytes) -> None:
        self.text = text


class OnProcessIO:
    def __init__(self, *, on_stdout: Any) -> None:
        self.on_stdout = on_stdout


class RegisterEventHandler:
    def __init__(self, event_handler: Any) -> None:
        self.event_handler = event_handler

    def run(self, context: Context) -> None:
        context.handlers.append(self.event_handler)


class PythonLaunchDescriptionSource:
    def __init__(self, location: str) -> None:
        self.location = location


class IncludeLaunchDescription:
    def __init__(self, source: Any, *, launch_arguments: Iterable[tuple[str, str]] = ()) -> None:
        self.source, self.launch_arguments = source, launch_arguments

    def run(self, context: Context) -> None:
        entities = describe(self.source.location).entities
        known = {one.name for one in entities if isinstance(one, DeclareLaunchArgument)}
        given = dict(self.launch_arguments)
        assert set(given) <= known, f"{self.source.location} has no {set(given) - known}"
        # An argument that is not given would take the including file's value.
        left = known & context.declared - set(given)
        assert not left, f"{self.source.location} would take {left} from whoever includes it"
        context.configurations.update(given)
        run_all(entities, context)


class Node:
    def __init__(
        self, *, package: str, executable: str, name: str = "", namespace: Any = "",
        output: str = "", parameters: list[Any] = (), remappings: list[Any] = (),  # type: ignore[assignment]
        arguments: list[Any] = (),  # type: ignore[assignment]
        ros_arguments: list[Any] = (),  # type: ignore[assignment]
        additional_env: dict[str, Any] | None = None, on_exit: Any = None,
    ) -> None:  # fmt: skip
        self.on_exit = on_exit
        self.additional_env = additional_env or {}
        self.ros_arguments = ros_arguments
        self.package, self.executable = package, executable
        self.namespace, self.parameters, self.remappings = namespace, parameters, remappings
        self.arguments = arguments

    def run(self, context: Context) -> None:
        values: dict[str, Any] = {}
        for given in self.parameters:
            if isinstance(given, dict):
                values |= {key: text(value, context) for key, value in given.items()}
            else:
                values["__file"] = text(given, context)
        remaps = {old: text(new, context) for old, new in self.remappings}
        command = tuple(
            text(argument, context) for argument in (*self.arguments, *self.ros_arguments)
        )
        space = text(self.namespace, context)
        env = {key: text(value, context) for key, value in self.additional_env.items()}
        started = Started(self.executable, values, remaps, command, space, env, self.on_exit)
        context.started.append(started)


class ExecuteProcess:
    def __init__(
        self, *, cmd: list[Any], output: str = "", on_exit: Any = None,
        additional_env: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.cmd, self.additional_env = cmd, additional_env or {}
        self.on_exit = on_exit

    def run(self, context: Context) -> None:
        command = tuple(text(part, context) for part in self.cmd)
        env = {key: text(value, context) for key, value in self.additional_env.items()}
        context.started.append(Started(command[0], command=command, env=env, on_exit=self.on_exit))


class Shutdown:
    def __init__(self, *, reason: str) -> None:
        self.reason = reason


class LaunchDescription:
    def __init__(self, entities: list[Any]) -> None:
        self.entities = entities


def prefix_namespace(base: str | None, name: str | None) -> str | None:
    if base is None or name is None:
        return base if name is None else name
    joined = name if not base or name.startswith("/") else f"{base.rstrip('/')}/{name}"
    return joined if joined == "/" else joined.rstrip("/")


def make_namespace_absolute(name: str) -> str:
    return name if name.startswith("/") else f"/{name}"


def run_all(entities: list[Any], context: Context) -> None:
    for entity in entities:
        entity.run(context)


def describe(location: str) -> Any:
    return runpy.run_path(location)["generate_launch_description"]()


def launch(location: str, **arguments: str) -> list[Started]:
    """Return the programs that `ros2 launch LOCATION name:=value ...` would start."""
    context = Context(dict(arguments), [])
    run_all(describe(location).entities, context)
    # Every node prints its ready line, in the order of their start.
    for started in tuple(context.started):
        for handler in context.handlers:
            one = handler.on_stdout(ProcessIO(f"ready: {started.name}\n".encode()))
            run_all([one] if one is not None else [], context)
    return context.started


def modules() -> dict[str, ModuleType]:
    """Return the modules for sys.modules."""
    here = sys.modules[__name__]
    names = {
        "launch": ("LaunchDescription",),
        "launch.actions": ("DeclareLaunchArgument", "ExecuteProcess", "GroupAction",
                           "IncludeLaunchDescription", "OpaqueFunction",
                           "RegisterEventHandler", "Shutdown"),
        "launch.event_handlers": ("OnProcessIO",),
        "launch.events": (),
        "launch.events.process": ("ProcessIO",),
        "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
        "launch.substitutions": ("EnvironmentVariable", "LaunchConfiguration"),
        "launch_ros": (),
        "launch_ros.actions": ("Node",),
        "launch_ros.parameter_descriptions": ("ParameterValue",),
        "launch_ros.utilities": ("make_namespace_absolute", "prefix_namespace"),
    }  # fmt: skip
    made = {}
    for name, members in names.items():
        made[name] = ModuleType(name)
        for member in members:
            setattr(made[name], member, getattr(here, member))
    made["launch"].Action = object  # type: ignore[attr-defined]
    made["launch"].LaunchContext = Context  # type: ignore[attr-defined]
    return made
