"""Measure a model: `chatspot evaluate --suite NAME --model DIR_OR_ID_OR_ENDPOINT`.

The suite `kitchen` renders unseen simulated kitchens, asks its own questions about them, then those
of every suite whose layout the kitchen is exported in. `--compare A B` compares two result folders
of the same suite instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from chatspot_ros.core.model_spec import read_spec
from chatspot_ros.core.skills import read_skills, read_states
from chatspot_ros.engine.engine_config import add_engine_options, config_from, load_engine
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.knowledge.files import list_files
from chatspot_ros.util.command_line import Command
from chatspot_train.evaluation import registry
from chatspot_train.evaluation.compare import compare
from chatspot_train.evaluation.engine_model import EngineAnswerer, Looks, identity_of
from chatspot_train.evaluation.measure import measure_suite
from chatspot_train.evaluation.metrics.intervals import Row
from chatspot_train.evaluation.openai_model import EndpointAnswerer, EndpointDownError
from chatspot_train.evaluation.report import print_rows
from chatspot_train.evaluation.suite import Answerer, Suite
from chatspot_train.openai_client import AskError


def _run(options: argparse.Namespace) -> None:
    suite = registry.make(options.suite, vars(options))
    rows = _rows(suite, options)
    if rows:
        print_rows(rows, {} if suite.makes_data or options.compare else suite.paper)
    else:
        print(f"nothing could be scored here; see {options.out / 'report.md'}")


def _rows(suite: Suite, options: argparse.Namespace) -> Mapping[str, Row]:
    if options.compare:
        a, b = options.compare
        return compare(a, b, options.out, suite).rows
    with ExitStack() as stack:
        answerer = suite.answerer() or _answerer(options, stack)
        return measure_suite(
            suite, answerer, options.data, options.limit, options.seed, options.out,
            fresh=options.fresh,
        )  # fmt: skip


def _answerer(options: argparse.Namespace, stack: ExitStack) -> Answerer:
    if options.model.startswith(("http://", "https://")):
        if options.spec is None or not options.served_model:
            raise ModelLoadError(
                "an endpoint says neither its model's name nor how regions are written",
                value=options.model,
                remedy="give --served-model and --spec, a file of config/models",
            )  # fmt: skip
        if "on" in (options.look_twice, options.reader) or options.knowledge:
            raise ModelLoadError(
                "an endpoint is shown each picture once, without a reader or notes",
                value=options.model,
                remedy="leave out --look-twice, --reader and --knowledge, or give a model's folder",
            )  # fmt: skip
        answerer = EndpointAnswerer(
            options.model, options.served_model, read_spec(options.spec),
            skills=read_skills(options.skills), states=read_states(options.states),
        )  # fmt: skip
        return stack.enter_context(answerer)
    engine = load_engine(config_from(options))
    if options.knowledge:
        list_files(Path(options.knowledge))
    looks = Looks(options.look_twice, options.reader, options.knowledge)
    return EngineAnswerer(engine, identity_of(engine, looks), looks)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--suite", choices=tuple(registry.suites()), required=True)
    add("--model", default="models/chatspot-tiny",
        help="a folder, a hub id, or the address of an OpenAI-compatible endpoint")  # fmt: skip
    add_engine_options(parser)
    add("--served-model", default="", help="the model's name at an endpoint")
    add("--spec", type=Path, help="an endpoint's dialect and geometry: a file of config/models")
    add("--data", type=Path, default=Path("data"), help="the data set, in its own layout")
    for name, words in (("look-twice", "show a region once more, larger"),
                        ("reader", "tell the model of the print in a region")):  # fmt: skip
        add(f"--{name}", choices=("auto", "on", "off"), default="auto", help=words)
    add("--knowledge", default="", metavar="DIR",
        help="look plans and descriptions up in this folder of notes")  # fmt: skip
    add("--limit", type=int, default=0, help="ask at most this many; 0: all, 100 kitchens")
    add("--seed", type=int, default=0, help="draws the questions")
    add("--compare", nargs=2, type=Path, metavar=("A", "B"), help="two result folders")
    add("--out", type=Path, required=True, help="result folder; a killed run resumes there")
    add("--fresh", action="store_true", help="ask everything anew; drop the answers kept in --out")
    registry.add_options(parser)


main = Command(
    "evaluate", _add_arguments, _run, description="Measure a model, or compare two results.",
    errors=(EndpointDownError, AskError), failed=1,
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
