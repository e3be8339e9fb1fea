"""What can go wrong, each with the value that was wrong and what to do about it."""

from __future__ import annotations

from typing import ClassVar

MAX_VALUE_CHARS = 120
# The longest name that comes from outside.
MAX_NAME_CHARS = 256


class ChatspotError(Exception):
    """Base of every error that a caller of this package may meet.

    `problem` says what is wrong, `value` is what was got, `remedy` says what to do. `status` is the
    name of the RegionQuery status constant that stands for the class.
    """

    status: ClassVar[str] = "MODEL_ERROR"
    # How many characters of the value its text shows.
    value_chars: ClassVar[int] = MAX_VALUE_CHARS

    def __init__(self, problem: str, *, value: object, remedy: str) -> None:
        super().__init__(problem, value, remedy)
        self.problem = problem
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        shown = shorten(self.value, self.value_chars)
        got = f" (got {shown})" if self.value not in (None, (), []) and shown.strip() else ""
        return f"{self.problem}{got}: {self.remedy}"


def shorten(value: object, limit: int = MAX_VALUE_CHARS) -> str:
    """Return the value as one line of at most `limit` characters; the rest becomes `...`."""
    text = one_line(str(value)[: limit + 1])
    return text if len(text) <= limit else text[: limit - 3] + "..."


def one_line(text: str) -> str:
    """Return the text with control and invisible characters escaped, as `\\n`.

    So no text from outside can begin a line of the log, or colour a terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


class RequestError(ChatspotError):
    """The request contradicts itself, leaves something out or asks for something unknown."""

    status = "BAD_REQUEST"


class RegionError(ChatspotError):
    """A region is not usable: not finite, outside the image, without area, or badly typed."""

    status = "BAD_REGION"


class ImageError(ChatspotError):
    """A picture cannot be read or used."""

    status = "BAD_IMAGE"


class PositionError(ChatspotError):
    """It is not known where a thing is in space; its text becomes `position_note`."""


class CalibrationError(PositionError):
    """A CameraInfo cannot be used."""


class NoImageError(ChatspotError):
    """No frame has come yet."""

    status = "NO_IMAGE"


class StaleImageError(ChatspotError):
    """The newest frame is too old."""

    status = "STALE_IMAGE"


class FrameExpiredError(ChatspotError):
    """The frame that was asked for is no longer held."""

    status = "FRAME_EXPIRED"


class BusyError(ChatspotError):
    """Too much waits already."""

    status = "BUSY"


class DeadlineError(ChatspotError):
    """The time ran out."""

    status = "TIMEOUT"


class CancelledError(ChatspotError):
    """The caller stopped it."""

    status = "CANCELLED"


class NotActiveError(ChatspotError):
    """Nothing is answered now: starting, deactivated or shutting down."""

    status = "NOT_ACTIVE"
    # Why a model could not be loaded is long.
    value_chars = 1100

    def __str__(self) -> str:
        """Return the problem with its reason, which is no value that was got."""
        return f"{self.problem}: {shorten(self.value, self.value_chars)}; {self.remedy}"


class NoQuestionError(ChatspotError):
    """The words are no question about a picture: a class for each kind, which is no fault."""


class SmallTalkError(NoQuestionError):
    """The words are small talk."""

    status = "SMALL_TALK"


class UnsupportedError(NoQuestionError):
    """The words ask for what no picture can tell."""

    status = "UNSUPPORTED"


class CommandError(NoQuestionError):
    """The words command the robot itself; nothing was done."""

    status = "COMMAND"


class StopCommandError(NoQuestionError):
    """The words command the robot to stop; nothing was stopped."""

    status = "STOP"


class ModelError(ChatspotError):
    """The model failed while it ran."""

    status = "MODEL_ERROR"
    # Whether the log shows where in the program it came up.
    shows_trace: ClassVar[bool] = True


class ModelLoadError(ModelError):
    """The model cannot be loaded."""
