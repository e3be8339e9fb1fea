"""The declaration of one parameter: name, type, default, range, meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spec:
    """One parameter.

    `low` and `high` bound a number, inclusively. A string is one of `choices`, or matches the whole
    regular expression `pattern`, which `form` describes; for a list this holds for each string.
    """

    name: str
    default: Any
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False
    pattern: str = ""
    form: str = ""

    def problem_with(self, value: Any) -> str | None:
        """Return the problem with a value of the right type; None if there is none."""
        if self.choices and value not in self.choices:
            return f"{self.name} is one of {', '.join(self.choices)} (got {value!r})"
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            return f"{self.name} lies between {self.low:g} and {self.high:g} (got {value!r})"
        if isinstance(self.default, tuple) and (
            not value or len(set(value)) != len(value) or not all(value)
        ):
            return (
                f"{self.name} needs at least one name, none empty, none twice (got {list(value)!r})"
            )
        texts = value if isinstance(value, tuple) else (value,)
        if self.pattern and not all(re.fullmatch(self.pattern, text) for text in texts):
            return f"{self.name} is {self.form} (got {value!r})"
        return None


def problems_with(specs: Iterable[Spec], values: Mapping[str, Any]) -> list[str]:
    """Return the problems with values of the right types, by name; unknown names are ignored."""
    checked = (spec.problem_with(values[spec.name]) for spec in specs if spec.name in values)
    return [problem for problem in checked if problem]
