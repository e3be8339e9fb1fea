"""The text on a thing, exactly as written."""

from __future__ import annotations

import re

from chatspot_ros.core.tasks.base import Task, TaskContext, wording

_PRINT = (
    r"(label|sign|sticker|tag|note|poster|screen|display|badge|banner|ticket|receipt|gauge|meter"
    r"|dial|clock|scales?|thermostat|thermometer|counter|monitor)"
)
_WORDINGS = (
    wording(
        60,
        r"^how (?!(do|is|are|can|could|would|should)\b)\w+\b.*"
        rf"\b({_PRINT}|according to|going by)\b",
    ),
    wording(
        90,
        r"^(can|could) you (read|make out)\b"
        r"|\b(text|writing|lettering)\b.*\b(what|which)\b",
    ),
    wording(
        170,
        r"^(read|transcribe|spell|decipher|copy|type|dictate|quote)\b"
        r"|\b(does|do) (?!th(is|e) (picture|image|photo)).+ (say|read|display|indicate)\b"
        r"|\b(does|do) (it|this|that|<region>|[\w ]*\b(?!picture|image|photo)\w+) show\b"
        r"|\bwhat\b.* says\b|^what('s| do| does) (this|that|it|the \w+( \w+)?) say\b",
    ),
    wording(
        180,
        r"\b(what|which) (\w+ )?(text|words?|numbers?|letters?|digits?|price)\b"
        r"|\b(what|which) time (does|do|is shown|is it (on|by))\b"
        r"|\b(written|printed|engraved|stamped|inscribed|stencill?ed|embossed|etched"
        r"|handwriting|handwritten|lettering|inscription|headline|heading|slogan)\b"
        r"|\b(text|words?|letters?|digits?|name|named|price|code|reading) (on|in|is on)\b"
        r"|\b(title|date|text) (on|of)\b|\baccording to\b|\bthe \w+ reading\b"
        r"|^(give|tell) me the (text|words?|wording|letters?|digits?)\b"
        r"|\b(the|its|this|that) (\w+ (number|code)|registration|licen[cs]e plate)\b",
    ),
    wording(
        190,
        rf"\bwhat('s| is| stands)? on (the|this|that|its) {_PRINT}\b|\bwhat stands\b"
        r"|^(tell|give) me\b.* on (the|this|that|its) (display|screen|label|gauge|meter"
        r"|dial|clock|scales?|monitor|tag)\b",
    ),
)

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
    wordings=_WORDINGS,
)
