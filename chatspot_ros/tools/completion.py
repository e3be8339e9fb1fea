"""Print the shell code that completes `chatspot`: `source <(chatspot completion bash)`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from chatspot_ros.util.command_line import Command

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", choices=SHELLS)


def print_completion(options: Namespace) -> None:
    """Print the code for a shell."""
    from argcomplete.shell_integration import shellcode

    # The code for bash serves zsh, too.
    shell = "fish" if options.shell == "fish" else "bash"
    print(shellcode(["chatspot"], shell=shell))


main = Command("completion", add_arguments, print_completion, description=__doc__)

if __name__ == "__main__":
    sys.exit(main())
