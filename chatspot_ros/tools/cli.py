"""The program `chatspot`: every tool of this package as a command.

A command's module is imported only when the command is named: `chatspot --help` needs neither
torch nor ROS. To add a command, give its module `main = Command(...)` and name it in COMMANDS.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from chatspot_ros.util.command_line import FAILED, Command

# Name, module, one line of help.
COMMANDS = {
    "ask": ("chatspot_ros.tools.ask", "ask about a region of a camera's picture, or of a photo"),
    "watch": ("chatspot_ros.tools.watch", "show a node's answers and changes of state, live"),
    "doctor": ("chatspot_ros.tools.doctor", "look what would keep the node from working"),
    "bench": ("chatspot_ros.tools.bench", "measure a model on this machine"),
    "demo": ("chatspot_sim.demo", "ask about a simulated kitchen, or about a photo, over ROS 2"),
    "window": ("chatspot_ros.tools.window", "click, draw and ask on a robot's live picture"),
    "render": ("chatspot_sim.dataset", "render simulated kitchens to disk"),
    "build": ("chatspot_train.data.build", "convert a data set to records"),
    "preview": ("chatspot_train.data.preview", "show random records as an HTML page"),
    "relabel": ("chatspot_train.data.relabel", "replace the answers of records by a model's"),
    "read-print": (
        "chatspot_train.data.read_print",
        "write into records what is printed in their regions",
    ),
    "region-chat": (
        "chatspot_train.data.region_chat.__main__",
        "write dialogues about regions with a language model",
    ),
    "pretrained": (
        "chatspot_ros.chatspot_small.pretrained",
        "write the pretrained parts of chatspot-small as folders",
    ),
    "compose": (
        "chatspot_ros.chatspot_small.compose",
        "compose chatspot-small of its pretrained parts and its adaptation",
    ),
    "extract-adaptation": (
        "chatspot_ros.chatspot_small.extract_adaptation",
        "write what a trained chatspot-small learned, small enough to commit",
    ),
    "train": ("chatspot_train.train", "train a model, or continue a run"),
    "train-router": (
        "chatspot_train.router.train_router",
        "train the router that tells what a question wants",
    ),
    "convert-weights": (
        "chatspot_train.finetune.convert_weights",
        "make safetensors of pickled weights, without running code",
    ),
    "export": ("chatspot_train.finetune.run", "export the last checkpoint of a run"),
    "evaluate": ("chatspot_train.evaluate", "measure a model, or compare two results"),
    "calibrate": ("chatspot_train.evaluation.calibrate", "calibrate a model's confidence"),
    "evaluate-detector": (
        "chatspot_train.tiny.evaluate_detector",
        "measure a detector on rendered kitchens",
    ),
    "model-card": ("chatspot_train.evaluation.model_card", "write a model's README.md"),
    "web": ("chatspot_ros.tools.web", "serve a page on which people draw regions and ask a node"),
    "mcp": ("chatspot_ros.tools.mcp", "serve a node's cameras and answers as tools of an agent"),
    "replay": ("chatspot_ros.tools.replay", "ask the questions of a recorded bag again"),
    "feedback": (
        "chatspot_train.feedback.command",
        "tell why people were unhappy with answers, from the node's log",
    ),
    "docs": ("chatspot_ros.tools.reference_docs", "write the reference pages of docs/"),
    "completion": ("chatspot_ros.tools.completion", "print the completion code for a shell"),
}
ALIASES = {"preview": ["inspect"]}


def make_parser(named: str = "") -> ArgumentParser:
    """Return the parser of the program, with the arguments of the named command only."""
    parser = ArgumentParser(
        prog="chatspot",
        description="The tools of chatspot_ros: demo, data, training, evaluation.",
        epilog="`chatspot COMMAND --help` shows the options of a command.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module, line) in COMMANDS.items():
        aliases = ALIASES.get(name, [])
        command = commands.add_parser(name, help=line, aliases=aliases)
        if named in (name, *aliases):
            _fill(command, module)
    return parser


def _fill(parser: ArgumentParser, module: str) -> None:
    try:
        command: Command = import_module(module).main
    except ModuleNotFoundError as error:
        parser.exit(FAILED, f"{parser.prog}: the Python module {error.name} is not installed\n")
    command.fill(parser)
    parser.set_defaults(execute=partial(command.execute, parser))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    if "_ARGCOMPLETE" in os.environ:
        _complete(os.environ["COMP_LINE"])
    given = sys.argv[1:] if arguments is None else arguments
    named = next((word for word in given if not word.startswith("-")), "")
    options, more = make_parser(named).parse_known_args(given)
    status: int = options.execute(options, more)
    return status


def _complete(line: str) -> None:
    """Tell the shell which words may follow, and end the process."""
    import argcomplete

    words = line.split(" ")
    argcomplete.autocomplete(make_parser(words[1] if len(words) > 2 else ""))


if __name__ == "__main__":
    sys.exit(main())
