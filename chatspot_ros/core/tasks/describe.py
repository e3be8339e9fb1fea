"""A description in detail."""

from __future__ import annotations

from chatspot_ros.core.tasks.base import Task, TaskContext, wording

_WORDINGS = (
    wording(
        40,
        r"\b(in|into|the|more|full|all|every) details?\b|\bdetailed\b|\bat length\b"
        r"|\b(description|paragraph|summary|overview|impression|rundown|account)\b"
        r"|\b(everything|all|more|information) (you can )?(about|there is to)\b"
        r"|\beverything you\b|\bin (your own )?words\b|\bsentences\b"
        r"|\bstate of affairs\b",
    ),
    wording(
        130,
        r"\bdescribe\b|^(explain|elaborate|characteri[sz]e|summari[sz]e|narrate|depict"
        r"|portray|sketch|recount|inform|introduce|brief|talk)\b",
    ),
    wording(
        200,
        r"^tell me (\w+ ){0,2}about\b|\bcan you tell me about\b|^report\b"
        r"|^(walk|talk|take|guide) me through\b|\bthere to see\b"
        r"|\b(tell|show) me what you (can )?(see|notice)\b",
    ),
    wording(
        210,
        r"^what('s| is) (going on|happening)\b(?!.*<region>)|\blooks? like\b"
        r"|^what('s| is| are) (the|it|this|that)\b.* like\?$|^how (do|does) .+ look\?$"
        r"|^what do you (notice|observe)\b",
    ),
    wording(220, r"^what (can|do) you see\??$|^tell me what is here"),
    wording(230, r"^(tell me )?what is in (this|the) (picture|image|photo|kitchen|room)"),
)


def _instruction(context: TaskContext) -> str:
    return "Answer in detail."


DESCRIBE = Task(
    name="describe",
    tag="[detailed]",
    instruction=_instruction,
    question="Describe this.",
    wordings=_WORDINGS,
)
