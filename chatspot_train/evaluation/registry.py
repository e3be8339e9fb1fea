"""All suites by name. A suite registers itself; its module is found in the packages below."""

from __future__ import annotations

import argparse
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from chatspot_train.evaluation.suite import Option, RegionSuite, Suite, SuiteOptionError

PACKAGES = ("chatspot_train.evaluation.suites", "chatspot_train.evaluation.kitchen")
OWN_DATA = ("annotations", "images")  # options
_SUITES: dict[str, type[Suite]] = {}
SuiteClass = TypeVar("SuiteClass", bound=type[Suite])


def register(suite: SuiteClass) -> SuiteClass:
    """Class decorator: add a suite under its name. Raises ValueError for a name in use."""
    if suite.name in _SUITES:
        raise ValueError(f"there are two suites named {suite.name}")
    _SUITES[suite.name] = suite
    return suite


def suites() -> dict[str, type[Suite]]:
    """Return every suite, sorted by name."""
    _load()
    return dict(sorted(_SUITES.items()))


def make(name: str, options: Mapping[str, Any] | None = None) -> Suite:
    """Build a suite from command-line options. Raises SuiteOptionError, as for own data that the
    suite does not read."""
    suite = _find(name, suites())
    _check_own_data(suite, options or {})
    return suite.from_options(options or {})


def make_region_suite(options: Mapping[str, Any]) -> RegionSuite:
    """Build the suite named by the option `of`, by default coco_region. Raises SuiteOptionError."""
    known = {name: one for name, one in suites().items() if issubclass(one, RegionSuite)}
    suite = _find(options.get("of") or "coco_region", known)
    _check_own_data(suite, options)
    return suite.of_boxes(options)


def _check_own_data(suite: type[Suite], options: Mapping[str, Any]) -> None:
    """Raise SuiteOptionError for own data that the suite would leave unread."""
    known = {option.name for option in suite.options}
    given = [name for name in OWN_DATA if options.get(name) is not None and name not in known]
    if given:
        raise SuiteOptionError(
            f"the suite {suite.name} does not read --{given[0]}", value=options[given[0]],
            remedy="give its own data set with --data, or a suite that reads COCO's files",
        )  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all suites to a parser; several suites may share one. Unset: None."""
    shared: dict[str, list[tuple[str, Option]]] = {}
    for name, suite in suites().items():
        for option in suite.options:
            shared.setdefault(option.name, []).append((name, option))
    for name, uses in shared.items():
        helps: dict[str, list[str]] = {}
        for suite_name, option in uses:
            helps.setdefault(option.help, []).append(suite_name)
        text = "; ".join(f"{', '.join(names)}: {told}" for told, names in helps.items())
        flag, convert = f"--{name.replace('_', '-')}", uses[0][1].type
        if convert is None:
            parser.add_argument(flag, action="store_true", help=text)
        else:
            parser.add_argument(flag, type=convert, help=text)


Found = TypeVar("Found", bound=Suite)


def _find(name: str, known: Mapping[str, type[Found]]) -> type[Found]:
    if name not in known:
        raise SuiteOptionError(
            "there is no such suite", value=name, remedy=f"use one of {', '.join(known)}"
        )
    return known[name]


@cache
def _load() -> None:
    for package in PACKAGES:
        for module in pkgutil.iter_modules(import_module(package).__path__, f"{package}."):
            import_module(module.name)
