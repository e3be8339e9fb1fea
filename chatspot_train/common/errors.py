"""Errors of training that commands catch, without torch: `--help` need not wait for it."""

from __future__ import annotations


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; the message names the step."""
