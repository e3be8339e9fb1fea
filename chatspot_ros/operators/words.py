"""Statuses, regions and answers in plain words, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chatspot_ros.core.place import Place, Vector
from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.errors import one_line
from chatspot_ros.operators.client import OK, UNREACHABLE, Answer, Reply

STATUS_WORDS = {
    OK: "answered",
    "BAD_REQUEST": "the question cannot be asked like that",
    "BAD_REGION": "a region cannot be used",
    "BAD_IMAGE": "the picture cannot be read",
    "NO_IMAGE": "there is no picture",
    "STALE_IMAGE": "the newest picture is too old",
    "FRAME_EXPIRED": "that picture is no longer held",
    "BUSY": "too many questions wait",
    "TIMEOUT": "the time ran out",
    "CANCELLED": "it was cancelled",
    "NOT_ACTIVE": "the node is not active",
    "MODEL_ERROR": "the model failed",
    "SMALL_TALK": "that is no question about the picture",
    "UNSUPPORTED": "no picture can tell that",
    "COMMAND": "that is a command, and nothing was done",
    "STOP": "that is a command to stop, and nothing was stopped",
    UNREACHABLE: "the node cannot be reached",
}


def status_words(reply: Reply) -> str:
    """Return a reply's status and its message as one sentence."""
    words = STATUS_WORDS.get(reply.status, "it was not answered")
    return f"{words} ({reply.status})" + (f": {one_line(reply.message)}" if reply.message else "")


def region_words(region: Region) -> str:
    """Return `box 120,80,300,400`, `point 7,9`, `polygon 1,2 3,4 5,6` or `whole image`; pixels."""
    if region.kind is RegionKind.IMAGE:
        return "whole image"
    between = "," if region.kind in (RegionKind.POINT, RegionKind.BOX) else " "
    points = between.join(f"{x:.0f},{y:.0f}" for x, y in region.points_px)
    return f"{region.kind} {points}" + (f" ({one_line(region.label)})" if region.label else "")


def place_words(place: Place) -> str:
    """Return `at 0.31, 0.05, 1.62 m in camera_optical, 0.20 x 0.31 m large`, or why not known."""
    if place.xyz_m is None:
        return f"not known: {one_line(place.note)}"
    words = f"at {_metres(place.xyz_m)} m in {one_line(place.frame_id)}"
    if any(place.extent_m):
        words += f", {place.extent_m[0]:.2f} x {place.extent_m[1]:.2f} m large"
    if place.target_xyz_m is not None:
        words += f"; {_metres(place.target_xyz_m)} m in {one_line(place.target_frame)}"
    return f"{words} ({one_line(place.note)})" if place.note else words


def _metres(xyz_m: Vector) -> str:
    return ", ".join(f"{value:.2f}" for value in xyz_m)


def choice_words(choices: Sequence[str], probabilities: Sequence[float]) -> str:
    """Return `open 97 %, closed 3 %`, the likeliest first; empty without choices."""
    pairs = sorted(zip(choices, probabilities, strict=False), key=lambda pair: -pair[1])
    return ", ".join(f"{one_line(choice)} {100 * share:.0f} %" for choice, share in pairs)


def answer_words(answer: Answer, choices: Sequence[str] = ()) -> list[str]:
    """Return an answer as lines: what was asked about and the text, then what else is known.

    `choices` are those of the question.
    """
    where = "; ".join(region_words(one) for one in answer.regions if one.points_px)
    text = "\n  ".join(one_line(line) for line in answer.text.splitlines()) or "(no words)"
    lines = [f"{where}: {text}" if where else text]
    state = ", ".join(f"{one_line(key)} = {one_line(value)}" for key, value in answer.state.items())
    places = "; ".join(region_words(one) for one in answer.grounded)
    steps = "; ".join(f"{n}. {one_line(step)}" for n, step in enumerate(answer.steps, 1))
    found = (*answer.regions, *answer.grounded)
    positions = [one.place for one in found if one.place is not None and one.points_px]
    parts = {
        "position": "; ".join(map(place_words, positions)),
        "choices": choice_words(choices, answer.choice_probabilities),
        "json": one_line(answer.json) if answer.json != answer.text else "",
        "state": state,
        "steps": steps,
        "places": places,
        "print": " / ".join(map(one_line, answer.print_lines)),
        "notes": ", ".join(map(one_line, answer.sources)),
    }
    lines += [f"  {name}: {said}" for name, said in parts.items() if said]
    if answer.truncated:
        lines.append("  cut off: the answer was longer than allowed")
    if answer.uncertain:
        lines.append(
            f"  uncertain (confidence {answer.confidence:.2f}): look again before you act on it"
        )
    return lines


def reply_json(reply: Reply) -> dict[str, Any]:
    """Return a reply as values for JSON, with the names of its fields; without the message."""
    values = {name: value for name, value in vars(reply).items() if name != "result"}
    values["answers"] = [_answer_json(answer) for answer in reply.answers]
    return values


def _answer_json(answer: Answer) -> dict[str, Any]:
    values = {**vars(answer), "state": dict(answer.state)}
    for name in ("regions", "grounded"):
        regions: Sequence[Region] = values[name]
        values[name] = [_region_json(one) for one in regions]
    return values


def _region_json(region: Region) -> dict[str, Any]:
    values: dict[str, Any] = {
        "kind": str(region.kind), "points_px": region.points_px, "label": region.label,
        "id": region.id,
    }  # fmt: skip
    return values if region.place is None else {**values, "place": asdict(region.place)}
