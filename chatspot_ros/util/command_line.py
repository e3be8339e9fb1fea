"""One command of the program `chatspot`: its arguments, what it runs, how its errors are shown."""

from __future__ import annotations

import sys
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Sequence

from chatspot_ros.errors import ChatspotError

FAILED, INTERRUPTED = 2, 130


class Command:
    """A command, callable as the main function of its module.

    A ChatspotError, an OSError or one of `errors` becomes one line on stderr and the exit status
    `failed`; an ArgumentError raised by `run` becomes the usage and exit status 2.
    """

    def __init__(
        self,
        name: str,
        add_arguments: Callable[[ArgumentParser], None],
        run: Callable[[Namespace], int | None],
        *,
        description: str | None,
        errors: tuple[type[Exception], ...] = (),
        failed: int = FAILED,
        more: str = "",
    ) -> None:
        """`more` is the argument of words that may also stand between and behind the options."""
        self.name = name
        self._add_arguments = add_arguments
        self._run = run
        self._description = description
        self._errors: tuple[type[Exception], ...] = (ChatspotError, OSError, *errors)
        self._failed = failed
        self._more = more

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command with these arguments, or the process's own; return the exit status."""
        parser = ArgumentParser(prog=f"chatspot {self.name}")
        self.fill(parser)
        options, more = parser.parse_known_args(arguments)
        return self.execute(parser, options, more)

    def fill(self, parser: ArgumentParser) -> None:
        """Add the description and the arguments to a parser."""
        parser.description = self._description
        self._add_arguments(parser)

    def execute(self, parser: ArgumentParser, options: Namespace, more: Sequence[str] = ()) -> int:
        """Run with parsed options, and with the words that are no option's; return the exit
        status."""
        unknown = [word for word in more if not self._more or word.startswith("-")]
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        if more:
            setattr(options, self._more, [*getattr(options, self._more), *more])
        try:
            return self._run(options) or 0
        except ArgumentError as error:
            parser.error(str(error))
        except self._errors as error:
            remedy = ": check the path, its permissions and the space" if _of_system(error) else ""
            self.say(f"{error}{remedy}")
            return self._failed
        except KeyboardInterrupt:
            self.say("interrupted")
            return INTERRUPTED

    def say(self, text: object) -> None:
        """Print one line to stderr, behind the command's name."""
        print(f"chatspot {self.name}: {text}", file=sys.stderr)


def _of_system(error: Exception) -> bool:
    """Return whether the operating system worded the error, without a remedy."""
    return isinstance(error, OSError) and error.errno is not None
