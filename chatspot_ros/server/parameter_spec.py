"""The declaration of one parameter: name, type, default, range, meaning."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

DEVICE = r"[a-z]+(:\d+)?"

_YES = ("true", "1", "yes", "on")
_NO = ("false", "0", "no", "off")


def read_bool(name: str, text: str) -> bool:
    """Return a boolean as people type it: true, 1, yes, on, or the opposite. Raises ValueError."""
    if (word := text.strip().lower()) in _YES + _NO:
        return word in _YES
    raise ValueError(f"{name} is true or false, also 1, 0, yes, no, on or off (got {text!r})")


def parameter(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    fixed: bool = False,
    pattern: str = "",
    form: str = "",
) -> Any:
    """Declare a parameter as a field of a dataclass; a `fixed` one is read-only. See `Spec`."""
    metadata = {"text": text, "low": low, "high": high, "choices": choices, "read_only": fixed}
    metadata |= {"pattern": pattern, "form": form}
    return field(default=default, metadata=metadata)


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

    def read(self, value: Any) -> Any:
        """Return a value in this parameter's type, where it can mean only one thing.

        YAML reads `off` as a boolean, `5` as an integer and a single name as no list. Raises
        ValueError, which names the accepted values.
        """
        default = self.default
        if isinstance(default, bool):
            if isinstance(value, bool | int | str):
                return read_bool(self.name, str(value))
        elif isinstance(default, int | float):
            number = _number(value)
            if number is not None and (isinstance(default, float) or number == int(number)):
                return type(default)(number)
        elif isinstance(default, tuple):
            texts = [value] if isinstance(value, str) else list(value or ())
            if all(isinstance(text, str) for text in texts):
                return tuple(texts)
        elif (text := self._text(value)) is not None:
            return text
        raise ValueError(f"{self.name} is {self.accepts} (got {value!r})")

    @property
    def accepts(self) -> str:
        """The accepted values, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if isinstance(self.default, int | float):
            kind = "a whole number" if isinstance(self.default, int) else "a number"
            limits = "" if self.low is None else f" between {self.low:g} and {self.high:g}"
            return kind + limits
        return self.form or "a text"

    def _text(self, value: Any) -> str | None:
        """Return a value of a parameter that is a text; None if it can be none."""
        if isinstance(value, bool):
            words = ("on", "true") if value else ("off", "none", "false")
            found = next((word for word in words if word in self.choices), None)
            return found if value or found or self.choices else ""
        text = str(value) if isinstance(value, str | int | float) else None
        # A GPU by its number.
        is_gpu = self.name == "device" and text is not None and text.isascii() and text.isdigit()
        return f"cuda:{text}" if is_gpu else text

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


def _number(value: Any) -> float | int | None:
    """Return a finite number, from a text too; None for anything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def problems_with(specs: Iterable[Spec], values: Mapping[str, Any]) -> list[str]:
    """Return the problems with values of the right types, by name; unknown names are ignored."""
    checked = (spec.problem_with(values[spec.name]) for spec in specs if spec.name in values)
    return [problem for problem in checked if problem]
