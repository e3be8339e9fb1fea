"""The result of a feedback analysis: sentences, a table for the terminal, an HTML page, JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import Environment, PackageLoader
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from chatspot_ros.errors import one_line
from chatspot_train.feedback.effects import LEAST_ANSWERS, LEAST_OF_EACH, Effect
from chatspot_train.feedback.graph import EDGES, FACTORS, adjustment_set, make_graph
from chatspot_train.feedback.log_table import FeedbackLog, Flags, Table, make_table
from chatspot_train.feedback.plots import data_uri, effects_plot, graph_plot, name, shares_plot
from chatspot_train.feedback.topics import Topic, topics
from chatspot_train.feedback.verdict import Analysis, analyse

_TEMPLATES = Environment(loader=PackageLoader("chatspot_train.feedback"), autoescape=True)
RATINGS, BEHAVIOUR = "bad ratings", "follow-ups"
HEADER = ("factor", "adjusted", "95 %", "plain", "r", "would go", "refuted?")


@dataclass(frozen=True)
class Outcome:
    """One measure of unhappiness, with the rows that it is known for."""

    what: str
    table: Table
    unhappy: Flags
    analysis: Analysis


@dataclass(frozen=True)
class Result:
    """All that `chatspot feedback` tells about a log."""

    name: str
    log: FeedbackLog
    unmeasured: int
    outcomes: tuple[Outcome, ...]
    topics: list[Topic]


def analyse_log(name: str, log: FeedbackLog) -> Result:
    """Analyse a log by its ratings and by its follow-ups. Raises LogError for an empty one."""
    table = make_table(log.answers)
    rated = table.where(table.rated)
    outcomes = (
        Outcome(RATINGS, rated, rated.bad, analyse(rated, rated.bad)),
        Outcome(BEHAVIOUR, table, table.followed, analyse(table, table.followed)),
    )
    return Result(name, log, table.unmeasured, outcomes, topics(log.answers))


def verdict(outcome: Outcome) -> str:
    """Return what an analysis says, in a sentence."""
    done, what = outcome.analysis, outcome.what
    if not done.effects:
        return (
            f"{what}: {done.unhappy} of {done.n} answers, too few to say why "
            f"({LEAST_ANSWERS} answers are needed, {LEAST_OF_EACH} of them unhappy and "
            f"{LEAST_OF_EACH} not)"
        )
    counted = f"{what}: {done.unhappy} of {done.n} answers"
    blamed = f"; plain correlation blames {done.blamed or 'nothing'}"
    if done.driver is None:
        return f"{counted}; no factor stands out{blamed}"
    one = done.driver
    return (
        f"{counted}, mostly because of {one.factor}: {name(one)} changes their share by "
        f"{_points(one.change)} points ({_points(one.low)} to {_points(one.high)}){blamed}"
    )


def cells(outcome: Outcome) -> list[tuple[str, ...]]:
    """Return the rows of a table of effects, under HEADER."""
    return [
        (
            name(one), _points(one.change), f"{_points(one.low)} to {_points(one.high)}",
            _points(one.plain), f"{one.correlation:+.2f}", f"{100 * one.share:.1f}",
            _refuted(outcome.analysis, one),
        )
        for one in outcome.analysis.effects
    ]  # fmt: skip


def counts(done: Result) -> str:
    """Return how much of the log was used, in a sentence."""
    rated = sum(one.rating is not None for one in done.log.answers)
    followed = sum(bool(one.follow_ups) for one in done.log.answers)
    parts = [f"{len(done.log.answers)} answers, {rated} rated, {followed} followed up"]
    parts += [f"{done.unmeasured} without a measured picture"] if done.unmeasured else []
    parts += [f"{done.log.damaged} lines could not be read"] if done.log.damaged else []
    parts += [f"{done.log.strays} ratings of answers no longer in it"] if done.log.strays else []
    return "; ".join(parts)


def show(done: Result, out: Console) -> None:
    """Print the sentences and tables."""
    out.print(f"{done.name}: {counts(done)}", markup=False)
    for outcome in done.outcomes:
        out.print(verdict(outcome), markup=False, style="bold")
        if outcome.analysis.effects:
            _print(out, HEADER, cells(outcome))
    if done.topics:
        rows = [(one.name, str(one.count), f"{one.rating:.1f}", " | ".join(one.examples))
                for one in done.topics]  # fmt: skip
        _print(out, ("topic", "comments", "rating", "examples"), rows)


def to_json(done: Result) -> dict[str, Any]:
    """Return the whole result as plain data; changes and shares as parts of 1."""
    return {
        "log": done.name,
        "answers": len(done.log.answers),
        "damaged_lines": done.log.damaged,
        "strays": done.log.strays,
        "unmeasured": done.unmeasured,
        "graph": {cause: list(some) for cause, some in EDGES.items()},
        "adjusted_for": adjusted(),
        "outcomes": {one.what: _outcome(one.analysis) for one in done.outcomes},
        "topics": [asdict(one) for one in done.topics],
    }


def to_html(done: Result) -> str:
    """Return a self-contained HTML page with plots. All texts are escaped."""
    sections = [
        {
            "what": one.what,
            "verdict": verdict(one),
            "rows": cells(one),
            "effects": data_uri(effects_plot(one.analysis.effects)),
            "shares": data_uri(shares_plot(one.table, one.unhappy)),
        }
        if one.analysis.effects
        else {"what": one.what, "verdict": verdict(one)}
        for one in done.outcomes
    ]
    return _TEMPLATES.get_template("feedback.html.jinja").render(
        done=done, counts=counts(done), sections=sections, header=HEADER,
        graph=data_uri(graph_plot()), adjusted=adjusted(),
    )  # fmt: skip


def adjusted() -> dict[str, list[str]]:
    """Return what each factor's effect is adjusted for, by the graph."""
    graph = make_graph()
    return {factor: sorted(adjustment_set(graph, factor)) for factor in FACTORS}


def _outcome(done: Analysis) -> dict[str, Any]:
    refuted = {f"{factor} {level}".strip(): asdict(one)
               for (factor, level), one in done.refutations.items()}  # fmt: skip
    return {
        "answers": done.n, "unhappy": done.unhappy, "blamed_by_correlation": done.blamed,
        "driver": None if done.driver is None else asdict(done.driver),
        "effects": [asdict(one) for one in done.effects], "refutations": refuted,
    }  # fmt: skip


def _refuted(done: Analysis, effect: Effect) -> str:
    told = done.refutations.get((effect.factor, effect.level))
    if told is None:
        return "not told from 0"
    return (
        f"{'no' if told.passed else 'YES'}: placebo {100 * told.placebo:.0f}, "
        f"subsets {told.same_sign}/20"
    )


def _points(part: float) -> str:
    return f"{100 * part:+.1f}"


def _print(out: Console, header: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in header:
        table.add_column(column, overflow="fold")
    for row in rows:
        # As Text, so that a `[` in a comment is no markup; as a line, so that it moves no cursor.
        table.add_row(*(Text(one_line(cell)) for cell in row))
    out.print(table)
