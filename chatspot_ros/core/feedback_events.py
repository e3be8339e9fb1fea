"""The lines of a feedback log: an answer with what was measured, its rating, a follow-up of it.

Each is one JSON object a line. An answer's rating and follow-ups come later, in lines of their own
with its `answer_id`; a line is complete by itself, and any order can be read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

MAX_COMMENT_CHARS = 1000
MAX_TEXT_CHARS = 2000
AT_MOST_BAD = 2  # a rating of this or less calls an answer bad

FollowUpKind = Literal["asked_again", "another_region"]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Line(BaseModel):
    """What every line has: the local time with its offset from UTC, and the answer it is about."""

    model_config = ConfigDict(frozen=True)

    time: AwareDatetime
    answer_id: str


class AnswerLine(_Line):
    """An answer that left the node, with its request.

    `task` is the one that was used. `via` says how it was asked: service, action or click. `region`
    is the kind of the region. `region_share` is its area as a share of the image's, `sharpness` the
    variance of its Laplacian (grey values of 0 to 255), `light` its mean luminance, 0 to 1; None:
    the picture could not be measured. Times are in seconds.
    """

    event: Literal["answer"] = "answer"
    via: str
    camera: str
    question: str
    task: str
    text: str
    status: str
    region: str
    region_share: _Share | None
    sharpness: _NotNegative | None
    light: _Share | None
    model: str
    queued_s: _NotNegative
    seeing_s: _NotNegative
    answering_s: _NotNegative
    confidence: _Share
    uncertain: bool
    truncated: bool


class RatingLine(_Line):
    """A rating, from 1 (bad) to 5 (good), with a comment. An answer's last one counts."""

    event: Literal["rating"] = "rating"
    rating: int = Field(ge=1, le=5)
    comment: str = ""


class FollowUpLine(_Line):
    """A request that came `after_s` seconds behind an answer and tells that it did not do.

    `asked_again`: the same place in almost the same words. `another_region`: the same words about a
    region drawn anew, which overlaps the first.
    """

    event: Literal["follow_up"] = "follow_up"
    kind: FollowUpKind
    after_s: _NotNegative


FeedbackLine = AnswerLine | RatingLine | FollowUpLine
_LINE: TypeAdapter[FeedbackLine] = TypeAdapter(
    Annotated[FeedbackLine, Field(discriminator="event")]
)


def read_line(line: str | bytes) -> FeedbackLine:
    """Return the line's event. Raises ValueError for what is none."""
    return _LINE.validate_json(line)


def write_line(event: FeedbackLine) -> str:
    """Return the event as JSON, without a newline."""
    return event.model_dump_json()


def plain(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Return at most `limit` characters of a text, each of which UTF-8 can hold."""
    return text[:limit].encode("utf-8", "replace").decode("utf-8")


def now() -> datetime:
    """Return the local time with its offset from UTC."""
    return datetime.now().astimezone()
