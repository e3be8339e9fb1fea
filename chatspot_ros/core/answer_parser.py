"""How a model's words are read: state, steps, regions; and what is said when they cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Region

_PAIR = re.compile(r"\s*([^:,;\n]{1,60}?)\s*[:=]\s*([^:,;\n]{1,60}?)\s*\.?\s*")
_NUMBERING = re.compile(r"^\s*(?:step\s*)?(?:\d+\s*[.):]|[-*•])\s*", re.IGNORECASE)
_CALL = re.compile(r"(\w[\w -]*?)\s*\(\s*([^()]*?)\s*\)")
_NOTHING_TO_DO = re.compile(r"\W*(nothing (needs|has|is) to be done|nothing to do|no steps?)\W*",
                            re.IGNORECASE)  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ABSENT = re.compile(
    r"\b(there (is|are) no|there (isn't|aren't)|no such|not (there|here|visible|present)"
    r"|(cannot|can't|can not|do not|don't) (see|find))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Step:
    """One thing for a robot to do: `action` is a skill, `target` and `text` the model's words.

    Without a list of skills, `action` and `target` are empty and `text` says it all.
    """

    action: str
    target: str
    text: str


@dataclass(frozen=True)
class Answer:
    """One answer: its words as the model said them, and what could be read out of them.

    `regions` is what it is about, `grounded` what it points at (pixels, label = the phrase).
    `confidence` is in [0, 1]. `truncated`: it breaks off, and the pair or step at which it does is
    not in it. `uncertain`: it could not be read as what its task wants, or the model was not sure,
    so nothing should be done upon it without looking again.
    """

    text: str
    regions: tuple[Region, ...] = ()
    state: dict[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    grounded: tuple[Region, ...] = ()
    confidence: float = 0.0
    truncated: bool = False
    uncertain: bool = False


def read(
    text: str,
    *,
    task: str,
    regions: Iterable[Region],
    fit: Fit,
    dialect: Dialect,
    skills: Iterable[str],
    confidence: float,
    truncated: bool,
    min_confidence: float = 0.0,
) -> Answer:
    """Read a model's words as the answer to a question of this task.

    `skills` are the only actions that a step may have; empty allows free text. Never raises: what
    cannot be read leaves its field empty and sets `uncertain`, as does a `confidence` below
    `min_confidence`.
    """
    # A message's text ends at a NUL, and no control character means anything in an answer.
    text = _CONTROL.sub("", text).strip()
    found = dialect.find(text, fit)
    grounded = tuple(replace(spoken.region_px, label=spoken.phrase) for spoken in found)
    uncertain = not text or confidence < min_confidence or (dialect.mentions(text) and not found)
    state: dict[str, str] = {}
    steps: tuple[Step, ...] = ()
    if task == "state":
        state, readable = read_state(text, truncated)
        uncertain |= not readable or truncated
    elif task == "plan":
        steps, readable = read_steps(text, tuple(skills), truncated)
        uncertain |= not readable or truncated
    elif task == "locate":
        # Either a place or none: words that say both say nothing.
        uncertain |= bool(grounded) == bool(_ABSENT.search(text)) or truncated
    return Answer(
        text=text,
        regions=tuple(regions),
        state=state,
        steps=steps,
        grounded=grounded,
        confidence=min(max(confidence, 0.0), 1.0),
        truncated=truncated,
        uncertain=bool(uncertain),
    )


def read_state(text: str, truncated: bool = False) -> tuple[dict[str, str], bool]:
    """Read `door: open, plug: in`; return the pairs, and whether all of the text was that.

    Attributes are lower case. One that is given two values is left out, and the text counts as not
    readable. Of a truncated text the last pair is left out: it may go on (`plug: in` or `inside`).
    """
    state: dict[str, str] = {}
    contradicted: set[str] = set()
    readable = True
    pieces = re.split(r"[,;\n]", text)
    for piece in pieces[:-1] if truncated else pieces:
        if not piece.strip(" ."):
            continue
        pair = _PAIR.fullmatch(piece)
        if pair is None:
            readable = False
            continue
        key, value = pair[1].strip("-*\" '").lower(), pair[2].strip("\" '")
        if not key or not value:
            readable = False
        elif state.setdefault(key, value) != value:
            contradicted.add(key)
    kept = {key: value for key, value in state.items() if key not in contradicted}
    return kept, readable and bool(kept) and not contradicted


def read_steps(
    text: str, skills: tuple[str, ...], truncated: bool = False
) -> tuple[tuple[Step, ...], bool]:
    """Read `open fridge; pick cola`, numbered lists, lines and `open(fridge)`.

    Return the steps, and whether every part of the text was one. `nothing to do` is readable and
    has none. A step whose action is no skill is left out, and so is the last one of a truncated
    text.
    """
    if _NOTHING_TO_DO.fullmatch(text) and not truncated:
        return (), True
    parts = _split_steps(text, skills)
    parts = parts[:-1] if truncated else parts
    pieces = [_NUMBERING.sub("", piece).strip(" .") for piece in parts]
    pieces = [piece for piece in pieces if piece]
    if not skills:
        return tuple(Step("", "", piece) for piece in pieces), bool(pieces)
    steps = [_read_step(piece, skills) for piece in pieces]
    kept = tuple(step for step in steps if step is not None)
    return kept, bool(kept) and len(kept) == len(pieces)


def _split_steps(text: str, skills: tuple[str, ...]) -> list[str]:
    pieces = re.split(r"[;\n]", re.sub(r"(?<=\s)(?=\d+[.)]\s)", "\n", text))
    if len(pieces) == 1 and skills:
        by_comma = re.split(r",\s*(?:and\s+|then\s+)*", text)
        if all(_read_step(_NUMBERING.sub("", piece).strip(" ."), skills) for piece in by_comma):
            return by_comma
    return pieces


def _read_step(piece: str, skills: tuple[str, ...]) -> Step | None:
    """Read one step; the longest skill that its words begin with is the action."""
    call = _CALL.fullmatch(piece)
    words = f"{call[1]} {call[2]}" if call else piece
    for skill in sorted(skills, key=len, reverse=True):
        spelled = r"[\s_-]+".join(re.escape(part) for part in re.split(r"[\s_-]+", skill))
        match = re.match(rf"{spelled}(?:\s+(.*))?$", words.strip(), re.IGNORECASE | re.DOTALL)
        if match:
            return Step(skill, (match[1] or "").strip(" \"'"), piece)
    return None
