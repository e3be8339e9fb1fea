"""What rqt, or the window by itself, keeps of a window for the next time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatspot_ros.operators.questions import read_quick_questions
from chatspot_ros.operators.window.operator_widget import OperatorWidget


def settings_of(window: OperatorWidget) -> dict[str, Any]:
    """Return what to keep for the next time, as texts, numbers and lists of texts."""
    return {
        "camera": window.wanted_camera,
        "detections": int(window.tools.detections.isChecked()),
        "at_once": int(window.question.at_once.isChecked()),
        "history": list(window.question.history.questions),
        "quick_questions": list(window.question.quick_questions),
    }


def restore(window: OperatorWidget, kept: Mapping[str, Any]) -> None:
    """Take what `settings_of` returned; what is missing or of another kind stays as it is."""
    for question in _texts(kept.get("history")):
        window.question.history.add(question)
    if quick := _texts(kept.get("quick_questions")):
        window.question.show_quick_questions(read_quick_questions("\n".join(quick)))
    for key, box in (
        ("detections", window.tools.detections),
        ("at_once", window.question.at_once),
    ):
        if key in kept:
            box.setChecked(str(kept[key]) not in ("0", "false"))
    camera = kept.get("camera")
    if isinstance(camera, str) and camera:
        window.watch(camera)


def _texts(kept: object) -> list[str]:
    if isinstance(kept, str):  # Qt keeps a list of one as a text
        return [kept]
    return [one for one in kept if isinstance(one, str)] if isinstance(kept, list | tuple) else []
