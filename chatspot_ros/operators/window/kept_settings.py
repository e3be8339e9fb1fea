"""What rqt, or the window by itself, keeps for the next time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chatspot_ros.operators.questions import read_quick_questions

if TYPE_CHECKING:
    from chatspot_ros.operators.window.operator_widget import OperatorWidget
    from chatspot_ros.operators.window.qt import QtWidgets


def read(window: OperatorWidget) -> dict[str, Any]:
    """Return the settings as texts, numbers and lists of texts."""
    return {
        "camera": window.wanted_camera,
        "history": list(window.question.history.questions),
        "quick_questions": list(window.question.quick_questions),
        **{name: int(box.isChecked()) for name, box in _boxes(window).items()},
    }


def restore(window: OperatorWidget, kept: Mapping[str, Any]) -> None:
    """Take what `read` returned; what is missing or of another kind stays as it is."""
    for question in _texts(kept.get("history")):
        window.question.history.add(question)
    if quick := _texts(kept.get("quick_questions")):
        window.question.show_quick_questions(read_quick_questions("\n".join(quick)))
    for name, box in _boxes(window).items():
        if name in kept:
            box.setChecked(str(kept[name]) not in ("0", "false"))
    camera = kept.get("camera")
    if isinstance(camera, str) and camera:
        window.watch(camera)


def _boxes(window: OperatorWidget) -> dict[str, QtWidgets.QCheckBox]:
    return {"detections": window.tools.detections, "at_once": window.question.at_once}


def _texts(kept: object) -> list[str]:
    if isinstance(kept, str):  # Qt keeps a list of one as a text
        return [kept]
    return [one for one in kept if isinstance(one, str)] if isinstance(kept, list | tuple) else []
