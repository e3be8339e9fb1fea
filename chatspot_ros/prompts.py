"""From a question and its regions to the words that a model reads, and what a user may not say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from chatspot_ros.dialects import Dialect
from chatspot_ros.errors import RequestError
from chatspot_ros.geometry import Fit
from chatspot_ros.regions import REGION_MARK, Region

MAX_QUESTION_CHARS = 2000
TASKS = ("", "describe", "read", "state", "plan", "locate")
TAGS = {
    "": "[short]",
    "read": "[short]",
    "describe": "[detailed]",
    "state": "[state]",
    "plan": "[plan]",
    "locate": "[locate]",
}
# Never a user's to say, whatever the model: chat roles, turn ends, pictures, regions, tags.
CONTROL_STRINGS = (
    "<image>",
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<box>",
    "</box>",
    "USER:",
    "ASSISTANT:",
    "SYSTEM:",
    *dict.fromkeys(TAGS.values()),
)
_OPENERS = "<[{|"
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]")


class PromptStyle(StrEnum):
    """How a model is told what kind of answer is wanted: by a trained tag, or in words."""

    TAGS = "tags"
    WORDS = "words"


# Said before a request out of politeness, or to begin somehow.
_POLITE = re.compile(
    r"^((please|kindly|now|so|ok|okay|hey|and|then|well|robot|just"
    r"|(can|could|would|will) (you|the robot)( please| kindly)?(?! see\b)|let the robot"
    r"|i (would|'d) like you to|i'd like you to|i (want|need) you to|help me( to)?)\b[,:]? )+",
    re.IGNORECASE,
)
_ACTIONS = (
    r"(open|close|shut|turn|switch|fill|empty|bring|take(?! (a look|me through))|fetch|make|plug"
    r"|unplug|pick|put|place|pour|get|press|push|pull|move|carry|hand|pass|clean|clear|tidy|wipe"
    r"|wash|rinse|dry|sweep|swap|exchange|replace|sort|stack|grab|grasp|grip|hold|lift|raise|lower"
    r"|drop|throw|remove|insert|unlock|lock|start|stop|prepare|load|unload|pack|unpack|set|cook"
    r"|boil|cut|slice|stir|mix|hang|tighten|loosen|screw|unscrew|connect|disconnect|drive|come|lay"
    r"|go(?! (over|through|into))|rotate|slide|store|serve|feed|fold|attach|detach|assemble|install"
    r"|heat|cool|charge|flip|shake|squeeze|scoop|align|wrap|water|fix|repair)"
)
_PRINT = (
    r"(label|sign|sticker|tag|note|poster|screen|display|badge|banner|ticket|receipt|gauge|meter"
    r"|dial|clock|scales?|thermostat|thermometer|counter)"
)
# Tried in order; the first that matches decides, and what none matches wants a short answer. What
# form an answer is to have goes before what a question begins with. How two regions stand to each
# other, a count, and what can be answered with yes want a short answer.
_ROUTES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (task, re.compile(pattern, re.IGNORECASE))
    for task, pattern in (
        ("plan", r"\bstep by step\b|\b(which|what|the|all) (next )?(steps|actions)\b"
                 r"|\bsequence of (steps|actions)\b|\b(steps|actions|plan)\b.*\bto\b|^plan\b"
                 r"|\b(procedure|instructions) (for|to)\b"),
        ("state", r"\b(attributes?|keys?) and (a |its )?values?\b"
                  r"|\bas (a )?(state|level|attribute)\b"
                  r"|^(report|list|give|tell|say|fill|update)\b.*\battributes?\b"),
        ("locate", r"\bbounding box|\bcoordinates\b|\b(box|frame|circle|outline) (around|of)\b"),
        ("describe", r"\b(in|into|the|more|full|all|every) details?\b|\bdetailed\b|\bat length\b"
                     r"|\b(description|paragraph|summary|overview|(full|long|short) account)\b"
                     r"|\b(everything|all|more) (you can )?(about|there is to)\b"
                     r"|\beverything you\b|\bin (your own )?words\b|\bsentences\b"),
        ("plan", rf"^{_ACTIONS}\b(?!.*\?$)|^tell the (robot|arm|gripper)\b"),
        ("read", rf"^how (many|much)\b.*\b({_PRINT}|according to)\b"),
        ("", r"<region>.*<region>|^(how many|count\b)|\bnumber of\b"),
        ("locate", r"^(do|can|could|would) you\b.*\bwhere\b|\b(and|or) where\b"),
        ("read", r"^(can|could) you (read|make out)\b"
                 r"|\b(text|writing|lettering)\b.*\b(what|which)\b"),
        ("", r"^(is|are|was|were|does|do|did|has|have|had|can|could|would|should|will|may|might"
             r"|must|any|anyone|anybody|anything|who|whose|why)\b"),
        ("state", r"\b(states?|status|condition|settings?)\b|\b(what|which) mode\b"
                  r"|\bposition of the (switch|valve|lever|knob|dial|handle)\b"
                  r"|^(tell me|say|report|list|give)\b.*\b(whether|on or off|or closed|or shut"
                  r"|or empty)\b|^check\b"),
        ("describe", r"\bdescribe\b|^(explain|elaborate|characteri[sz]e|summari[sz]e|narrate|depict"
                     r"|portray|sketch)\b"),
        ("plan", r"\bhow to\b|\bme through \w+ing\b"
                 r"|^how (do|does|can|could|would|should|must) (i|you|we|one|somebody|someone"
                 r"|the (robot|gripper|arm))\b"),
        ("plan", r"\bwhat (should|must) the robot do\b|^what (would|does|will) it take\b"
                 r"|^what (should|shall|must|can|could|do|does) (i|you|we|one) (have to )?do\b"
                 r"|^what (must|has to|needs to) (be done|happen)\b"),
        ("locate", r"\bwhere\b|^whereabouts\b|^(find|locate|point|pinpoint|mark|highlight|outline"
                   r"|circle|box|spot|search|seek|look for|draw)\b"
                   r"|^show (me )?(the|a|an|all|every|each|which|my|any)\b|\blooking for\b"),
        ("locate", r"\b(in|at|on) (which|what) (place|part|spot|corner|area)\b"
                   r"|^(which|what) (part|area|corner|side) of the (picture|image|photo|scene)\b"
                   r"|\b(position|location) of\b"),
        ("read", r"^(read|transcribe|spell|decipher|copy|type|dictate|quote)\b"
                 r"|\b(does|do) (?!th(is|e) (picture|image|photo)).+ (say|read|display|indicate)\b"
                 r"|\b(does|do) (it|this|that|<region>|[\w ]*\b(?!picture|image|photo)\w+) show\b"),
        ("read", r"\b(what|which) (\w+ )?(text|words?|numbers?|letters?|digits?|price)\b"
                 r"|\b(what|which) time (does|do|is shown|is it (on|by))\b"
                 r"|\b(written|printed|engraved|stamped|inscribed|handwriting|lettering)\b"
                 r"|\b(text|words?|letters?|digits?|name|price|code|reading) (on|in)\b"
                 r"|\b(title|date|text) (on|of)\b"
                 r"|\b(serial|room|house|phone|model|part|licen[cs]e|order) (number|plate)\b"),
        ("read", rf"\bwhat('s| is| stands)? on (the|this|that|its) {_PRINT}\b|\bwhat stands\b"
                 rf"|\bwhat (the|this|that) {_PRINT} (says|reads|shows)\b"),
        ("describe", r"^tell me (\w+ ){0,2}about\b|\bcan you tell me about\b"
                     r"|^(walk|talk|take|guide) me through\b"),
        ("describe", r"^what('s| is) (going on|happening)\b(?!.*<region>)|\blooks? like\b"
                     r"|^what do you (notice|observe)\b"),
        ("describe", r"^what (can|do) you see\??$|^tell me what is here"),
        ("describe", r"^(tell me )?what is in (this|the) (picture|image|photo|kitchen|room)"),
        ("plan", r"^(i|we)('d| would)? (like|want|need)\b(?! to (know|see|read|hear))"
                 r"|^(let us|let's)\b(?! (see|hear))"),
    )
)  # fmt: skip

_WORDS = {
    "": "Answer the question using a single word or phrase.",
    "read": "Answer with the text exactly as written, and nothing else.",
    "describe": "Answer in detail.",
    "state": 'Answer only with "attribute: value" pairs separated by commas, as "door: open".',
    "locate": "Answer only with its bounding box. If it is not there, say: there is no ... here.",
}


def route(question: str) -> str:
    """Return the task that a question asks for, by its wording; empty: a short answer."""
    words, polite = _POLITE.subn("", " ".join(question.split()))
    if polite:
        words = words.removesuffix("?")
    return next((task for task, pattern in _ROUTES if pattern.search(words)), "")


def build(
    question: str,
    regions: Sequence[Region],
    task: str,
    fit: Fit,
    dialect: Dialect,
    style: PromptStyle,
    skills: Iterable[str] = (),
    *,
    states: Mapping[str, Sequence[str]] | None = None,
    control_strings: Iterable[str] = (),
    max_chars: int = MAX_QUESTION_CHARS,
) -> str:
    """Return the user's turn as the model reads it.

    Each `<region>` of the question becomes the text of a region; a lone region without a
    `<region>` is said at the end. `regions` are clipped to the image. Everything else is
    neutralised: neither `control_strings` nor those of the dialect or `CONTROL_STRINGS` survive.
    `skills` are the names that a plan may use, `states` the attributes and values of a state; only
    the style WORDS says them.

    Raises:
        RequestError: no question or a too long one, an unknown task, or not as many `<region>`
            as regions.
    """
    check_question(question, max_chars)
    if task not in TASKS:
        raise RequestError(
            "there is no such task", value=task, remedy=f"use one of {', '.join(TASKS[1:])}"
        )
    pieces = question.strip().split(REGION_MARK)
    if len(pieces) == 1 and len(regions) == 1:
        pieces = [*pieces, ""] if not regions[0].points_px else [f"{pieces[0]} ", ""]
    if len(pieces) - 1 != len(regions):
        raise RequestError(
            f"the question has {len(pieces) - 1} {REGION_MARK} for {len(regions)} regions",
            value=question,
            remedy=f"write as many {REGION_MARK} as there are regions",
        )
    forbidden = (*CONTROL_STRINGS, *dialect.control_strings, *control_strings)
    text = neutralise(pieces[0], forbidden)
    named = len(question.split(REGION_MARK)) > 1
    for region, piece in zip(regions, pieces[1:], strict=True):
        said = dialect.say(region, fit)
        text += said or ("the whole picture" if named else "")
        text += neutralise(piece, forbidden)
    return _with_task(text, task, style, tuple(skills), states or {})


def check_question(question: str, max_chars: int = MAX_QUESTION_CHARS) -> None:
    """Raise RequestError unless the question has 1 to `max_chars` characters that say something."""
    if not _UNPRINTABLE.sub("", question).strip():
        raise RequestError("the question is empty", value=repr(question), remedy="say what to ask")
    if len(question) > max_chars:
        raise RequestError(
            f"the question is longer than {max_chars} characters",
            value=f"{len(question)} characters",
            remedy="shorten it",
        )


def neutralise(text: str, control_strings: Iterable[str]) -> str:
    """Return the text with no control string in it, and otherwise as it was.

    A space breaks each one open: behind its first character when that is a bracket (`< image>`),
    else before its last one (`USER :`). Invisible characters, which a tokenizer may drop and so
    join the halves of a control string, become spaces; broken Unicode becomes `?`.
    """
    text = _UNPRINTABLE.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
    forbidden = sorted({string for string in control_strings if string.strip()}, key=len)
    # Breaking one open may make another one, but every round leaves shorter pieces between spaces.
    for _ in range(len(text) + 1):
        found = next((string for string in forbidden if string in text), None)
        if found is None:
            return text
        text = text.replace(found, _broken(found))
    return ""


def _broken(control: str) -> str:
    if len(control) == 1:
        return " "
    cut = 1 if control[0] in _OPENERS else len(control) - 1
    return f"{control[:cut]} {control[cut:]}"


def _with_task(
    text: str,
    task: str,
    style: PromptStyle,
    skills: tuple[str, ...],
    states: Mapping[str, Sequence[str]],
) -> str:
    if style is PromptStyle.TAGS:
        return f"{TAGS[task]} {text}"
    if task == "plan":
        verbs = f" Use only these actions: {', '.join(skills)}." if skills else ""
        return (
            f'{text}\nAnswer only with the steps, each "action target", separated by ";", or with '
            f'"nothing to do".{verbs}'
        )
    if task == "state" and states:
        said = "; ".join(f"{name} ({', '.join(values)})" for name, values in states.items())
        return f"{text}\n{_WORDS[task]} Say those of these attributes that it has: {said}."
    return f"{text}\n{_WORDS[task]}"
