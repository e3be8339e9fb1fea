"""What a person's words want: an answer of some task, or nothing that a picture answers."""

from __future__ import annotations

SHORT = "short"  # how the task "" is written in files and tables
# Wants what the turn before wanted: "And this one?"
FOLLOW_UP = "follow_up"
SMALL_TALK = "small_talk"
UNSUPPORTED = "unsupported"
COMMAND = "command"
STOP = "stop"
# No questions about the picture; a robot must not treat them as such.
NO_QUESTIONS = (SMALL_TALK, UNSUPPORTED, COMMAND, STOP)
