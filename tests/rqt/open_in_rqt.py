"""Start rqt itself with the plugin alone, say whether its window is there, and end: a program."""

from __future__ import annotations

import sys
from typing import Any

from rqt_gui.main import Main

CLASS = "rqt_chatspot.region_questions.RegionQuestions"
_LOOK_MS, _PATIENCE = 200, 300


class Rqt(Main):  # type: ignore[misc]
    """rqt, with an eye on its widgets."""

    def create_application(self, argv: list[str]) -> Any:
        from python_qt_binding.QtCore import QTimer

        app = super().create_application(argv)
        self.looks = 0
        self.timer = QTimer()
        self.timer.timeout.connect(self.look)
        self.timer.start(_LOOK_MS)
        return app

    def look(self) -> None:
        from python_qt_binding.QtWidgets import QApplication

        self.looks += 1
        names = {type(widget).__name__ for widget in QApplication.allWidgets()}
        if "OperatorWidget" not in names and self.looks < _PATIENCE:
            return
        self.timer.stop()
        print(f"the window is there: {'OperatorWidget' in names}", flush=True)
        for widget in QApplication.topLevelWidgets():
            widget.close()
        QApplication.exit(0)


if __name__ == "__main__":
    rqt = Rqt(settings_filename="rqt_chatspot_test")
    sys.exit(rqt.main(["rqt", "--force-discover", "--clear-config", "--standalone", CLASS]))
