"""Save the picture with its regions and answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import Frame
from chatspot_ros.operators.exchange import Exchange, with_answers
from chatspot_ros.operators.window.qt import Qt, QtWidgets


def choose_file(parent: QtWidgets.QWidget, then: Callable[[Path], None]) -> None:
    """Let a person choose a file, without waiting; `then` gets it."""
    dialog = QtWidgets.QFileDialog(parent, "Save the picture with its answers")
    dialog.setAcceptMode(QtWidgets.QFileDialog.AcceptMode.AcceptSave)
    dialog.setNameFilter("Pictures (*.png *.jpg)")
    dialog.setDefaultSuffix("png")
    dialog.selectFile("answers.png")
    dialog.fileSelected.connect(lambda name: then(Path(name)))
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.open()


def save(file: Path, frame: Frame, exchange: Exchange | None, drawn: tuple[Region, ...]) -> str:
    """Save a frame with a question's regions and answers, else with what is drawn.

    Return for a person where it is, or what was wrong.
    """
    shown = exchange.shown if exchange is not None else ()
    regions = exchange.ask.regions if exchange is not None and shown else drawn
    try:
        Image.fromarray(with_answers(frame.image_rgb, regions, shown)).save(file)
    except (OSError, ValueError) as error:
        return f"The picture was not saved: {error}"
    return f"Saved {file}."
