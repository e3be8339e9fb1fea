"""The declaration of one parameter: name, type, default, range, meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spec:
    """One parameter.

    `low` and `high` bound a number (both belong to the range). A text is one of `choices`, or
    matches the regular expression `pattern` as a whole and is described by `form`; of a list that
    holds for each text.
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
        """Say what is wrong with a value of the right type; None when it is fine."""
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
