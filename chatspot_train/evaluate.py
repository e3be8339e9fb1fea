"""Measure a model: `chatspot evaluate --suite NAME --model DIR_OR_ID_OR_ENDPOINT`.

The suite `kitchen` renders unseen simulated kitchens, asks its own questions about them, and every
other suite's. `--compare A B` holds two result folders of the same suite against each other
instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chatspot_ros.core.model_spec import read_spec
from chatspot_ros.engine.engine_config import add_engine_options, config_from, load_engine
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.util.command_line import Command
from chatspot_sim.kitchen import Split
from chatspot_train.evaluation.compare import compare
from chatspot_train.evaluation.intervals import Row
from chatspot_train.evaluation.kitchen import export_public_formats
from chatspot_train.evaluation.kitchen.suite import KITCHENS, KitchenSuite
from chatspot_train.evaluation.openai_model import EndpointAnswerer, EndpointDownError
from chatspot_train.evaluation.registry import NAMES, REGION_SUITES, kitchen_suites, make
from chatspot_train.evaluation.report import prefixed, summary, write_report
from chatspot_train.evaluation.runner import (
    PREDICTIONS,
    Answerer,
    EngineAnswerer,
    OnceAnswerer,
    run,
)
from chatspot_train.evaluation.suite import Report, Suite
from chatspot_train.evaluation.suites.intent import RouteAnswerer


def show(found: Mapping[str, Row]) -> None:
    """Print the rows."""
    table = Table("row", "value", "95 %", "n")
    for row, value in found.items():
        known = "low" in value and "high" in value
        interval = f"{value['low']:.3f} to {value['high']:.3f}" if known else "-"
        table.add_row(row, f"{value['value']:.3f}", interval, str(int(value["n"])))
    Console().print(table)


def evaluate(
    suite: Suite, answerer: Answerer, data: Path, limit: int, seed: int, out: Path
) -> Report:
    """Ask a suite's questions, going on where a killed run stopped, and score the answers.

    Raises MissingDataError where the data is not there.
    """
    items = list(suite.items(data, limit, seed))
    out.mkdir(parents=True, exist_ok=True)
    return suite.score(run(answerer, items, out / PREDICTIONS, len(items)))


def evaluate_kitchen(
    answerer: Answerer, split: Split, kitchens: int, seed: int, out: Path, only_kitchen: bool
) -> dict[str, Row]:
    """All rows on the simulated kitchen: its own questions, then every suite on its pictures.

    Raises RenderError.
    """
    data = out / "data"
    own = evaluate(KitchenSuite(split), answerer, data, kitchens, seed, out)
    rows, reports = dict(own.rows), {"kitchen": own}
    if not only_kitchen:
        export_public_formats.write(data, kitchens)
        once = OnceAnswerer(answerer)
        for name, suite in kitchen_suites(data).items():
            asked: Answerer = RouteAnswerer() if name == "intent" else once
            reports[name] = evaluate(suite, asked, data, 0, seed, out / name)
            rows |= prefixed(reports[name], name)
        reports = {"summary": Report({}, summary(rows)), **reports}
    write_report(out, f"{answerer.name} on {kitchens} simulated kitchens", rows, reports)
    return rows


def _run(options: argparse.Namespace) -> Mapping[str, Row]:
    out: Path = options.out
    suite = make(options.suite, of=options.of, detections=options.detections, clip=options.clip)
    if options.compare:
        a, b = options.compare
        return compare(a, b, out, suite).rows
    with ExitStack() as stack:
        answerer = _answerer(options, stack)
        if options.suite == "kitchen":
            kitchens = options.limit or KITCHENS
            return evaluate_kitchen(
                answerer, options.split, kitchens, options.seed, out, options.only_kitchen
            )
        report = evaluate(suite, answerer, options.data, options.limit, options.seed, out)
    write_report(out, f"{answerer.name}: {suite.name}", report.rows, {suite.name: report})
    return report.rows


def _answerer(options: argparse.Namespace, stack: ExitStack) -> Answerer:
    if options.suite == "intent":
        return RouteAnswerer()
    if options.model.startswith(("http://", "https://")):
        if options.spec is None or not options.served_model:
            raise ModelLoadError(
                "an endpoint says neither its model's name nor how regions are written",
                value=options.model,
                remedy="give --served-model and --spec, a file of config/models",
            )  # fmt: skip
        spec = read_spec(options.spec)
        return stack.enter_context(EndpointAnswerer(options.model, options.served_model, spec))
    return EngineAnswerer(load_engine(config_from(options)))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--suite", choices=NAMES, required=True)
    add("--model", default="models/chatspot-tiny",
        help="a folder, a hub id, or the address of an OpenAI-compatible endpoint")  # fmt: skip
    add_engine_options(parser)
    add("--served-model", default="", help="the model's name at an endpoint")
    add("--spec", type=Path, help="an endpoint's dialect and picture: a file of config/models")
    add("--data", type=Path, default=Path("data"), help="the data set, in its own layout")
    add("--of", choices=tuple(REGION_SUITES), default="coco_region",
        help="what noise and calibration ask")  # fmt: skip
    add("--detections", type=Path, help="coco_region: a detector's result file")
    add("--clip", default="", help="coco_region: a CLIP checkpoint that maps answers to categories")
    add("--split", choices=("val", "test"), default="test", help="kitchen")
    add("--only-kitchen", action="store_true", help="kitchen: not the other suites on it")
    add("--limit", type=int, default=0, help="how much to ask; 0: all, of kitchens 100")
    add("--seed", type=int, default=0)
    add("--compare", nargs=2, type=Path, metavar=("A", "B"), help="two result folders")
    add("--out", type=Path, required=True, help="results; a run that was killed goes on there")


main = Command(
    "evaluate", _add_arguments, lambda options: show(_run(options)),
    description="Measure a model, or compare two results.", errors=(EndpointDownError,), failed=1,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
