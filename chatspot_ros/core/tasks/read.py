"""The text on a thing, exactly as written."""

from __future__ import annotations

import re

from chatspot_ros.core.tasks.base import Task, TaskContext

# Words of questions that the print on a thing may answer, spelled as people type.
_ASKS_FOR_PRINT = re.compile(
    r"\b(read(s|ing|out)?|ocr|transcribe|decipher|spell|say|says|said|saying|print\w*|text|words?|wording"
    r"|writ\w+|letter\w*|label\w*|brand\w*|logo|stickers?|signs?|caption|inscription|marking|title"
    r"|numbers?|nubmer|numer\w*|digits?|figures?|display\w*|screen|readout|value|gauge|dial|meter"
    r"|scale|clock|timer|thermometer|degrees|temp\w*|price|date|code|plate"
    r"|(which|what) (kind|sort|type|variety|flavou?r|product|make)|exactly)\b",
    re.IGNORECASE,
)


def asks_for_print(question: str, task: str = "") -> bool:
    """Return whether what is printed in the region may answer the question.

    It errs on the side of reading: without print nothing is said of it.
    """
    return task == "read" or bool(_ASKS_FOR_PRINT.search(question))


def _instruction(context: TaskContext) -> str:
    return "Answer with the text exactly as written, and nothing else."


READ = Task(
    name="read",
    tag="[short]",
    instruction=_instruction,
    question="What does it say?",
)
