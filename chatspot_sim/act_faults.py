"""What goes wrong when a simulated robot acts: as scripted, or drawn from a seed."""

from __future__ import annotations

import numpy as np

from chatspot_ros.errors import RequestError

FAULTS = ("works", "fails", "slips", "late")
_DRAWN = FAULTS[1:]


class ActFaults:
    """The outcome of each act: first those of a script, then drawn ones.

    `fails`: the act does nothing, and says so. `slips`: it does nothing, and reports success.
    `late`: it works, and its report comes late. `works`: it works.
    """

    def __init__(self, script: str, rate: float, seed: int) -> None:
        """`rate` in [0, 1] is the share of the drawn acts with a fault, each kind as often.

        Raises RequestError for an unknown word of the script.
        """
        self._script = parse_faults(script)
        self._rate = rate
        self._rng = np.random.default_rng([seed, 9])

    def next(self) -> str:
        """Return one of FAULTS for the next act."""
        if self._script:
            return self._script.pop(0)
        # Both are drawn each time, so that a seed's faults do not depend on the rate.
        chance, kind = self._rng.random(), int(self._rng.integers(len(_DRAWN)))
        return _DRAWN[kind] if chance < self._rate else "works"


def parse_faults(text: str) -> list[str]:
    """Return the words of the parameter act_faults. Raises RequestError for an unknown one."""
    words = text.replace(",", " ").split()
    unknown = [word for word in words if word not in FAULTS]
    if unknown:
        raise RequestError(
            "act_faults has an unknown word", value=unknown[0], remedy=f"use {', '.join(FAULTS)}"
        )
    return words


def problem_of(script: str) -> str | None:
    """Return what is wrong with a value of act_faults; None if nothing is."""
    try:
        parse_faults(script)
    except RequestError as error:
        return str(error)
    return None
