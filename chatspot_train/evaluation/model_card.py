"""The model card, generated from the run's settings and the measured rows.

`chatspot model-card --model DIR --results DIR/results.json ...`
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatspot_ros.core.confidence import Calibration
from chatspot_ros.core.model_spec import SPEC_FILE, read_spec
from chatspot_ros.util.command_line import Command
from chatspot_train.evaluation.metrics.intervals import Row
from chatspot_train.evaluation.registry import suites
from chatspot_train.evaluation.report import headline_table
from chatspot_train.evaluation.wrong_answers import SHEET

Rows = Mapping[str, Row]
# What is said of a suite's table; of others, their command.
_HOW = {
    "kitchen": "On unseen test kitchens (no seed, no wording and no light shared with training), "
    "regions off by up to about 5 %: `chatspot evaluate --suite kitchen --split test`.",
    "photos": "On photographs that training did not show: `chatspot evaluate --suite photos`.",
}


def model_card(
    training: dict[str, Any],
    measured: Mapping[str, Rows],
    size_mb: float,
    calibration: Calibration | None = None,
    sheets: Sequence[str] = (),
) -> str:
    """Return the card in Markdown with the rows by suite; without any it states that the model was
    not measured. `sheets` are pictures of wrong answers in the model's folder."""
    if training.get("recipe") in ("instruct", "align", "ground"):
        lines = [*_instructed(training, size_mb, calibration), *_measured(measured)]
    else:
        lines = [*_tiny(training, size_mb), *_measured(measured)]
        lines += _tiny_limits(measured.get("kitchen", {}), calibration)
    if sheets:
        lines += ["", "## What it gets wrong", "? question, - answer, + truth"]
        lines += [line for sheet in sheets for line in ("", f"![wrong answers]({sheet})")]
    return "\n".join(lines) + "\n"


def _tiny(training: dict[str, Any], size_mb: float) -> list[str]:
    vision, language, data = training["vision"], training["language"], training["data"]
    lines = [
        "---",
        "license: apache-2.0",
        "pipeline_tag: image-text-to-text",
        "---",
        "# chatspot-tiny",
        "",
        "A very small ChatSpot model for tests, demonstrations and development: a LLaVA of "
        "transformers' own classes (CLIP vision tower, projection, Llama)"
        + (
            ", its tower with a convolutional path beside it "
            "(`chatspot_ros.chatspot_tiny.modeling_vision`)"
            if vision.get("detail_widths")
            else ""
        )
        + ", trained from nothing on pictures of the simulated kitchen of `chatspot_sim`. It knows "
        "that kitchen and nothing else: not photographs, not other rooms, not other wordings than "
        "those like its own.",
        "",
        "## Shape",
        f"- pictures of {vision['image_size']} x {vision['image_size']} pixels (stretched), "
        f"patches of {vision['patch_size']}; vision {vision['layers']} layers of "
        f"{vision['hidden_size']}"
        + (
            f", detail path of {', '.join(map(str, vision['detail_widths']))} channels"
            if vision.get("detail_widths")
            else ""
        )
        + (", what the detector on that path sees" if vision.get("things") else "")
        + f"; language {language['layers']} layers of "
        f"{language['hidden_size']}; {size_mb:.1f} MB of fp16 safetensors",
        "- regions: `<box> x1 y1 x2 y2</box>`, fractions with two decimals, each one token",
        "",
        "## Training",
        f"- data: {data['train_kitchens']} simulated kitchens, {data['moments']} pictures each; "
        "questions drawn anew for every step",
    ]
    if training.get("start"):
        before = training.get("before", {}).get("vision", {})
        lines.append(
            f"- went on from an earlier {training['start']}"
            + (f" ({before['image_size']} pixels, patches of {before['patch_size']})"
               if before else "")
        )  # fmt: skip
    for name in ("vision_stage", "detail_stage", "text_stage", "dialogue_stage"):
        stage = training.get(name)
        if stage is None or (training.get("start") and name == "text_stage"):
            continue
        lines.append(
            f"- {name.replace('_', ' ')}: {stage['steps']} steps of {stage['batch']}, "
            f"{stage.get('optimizer', 'adamw')}, learning rate {stage['learning_rate']:g}, "
            f"seed {stage['seed']}"
        )
    lines += [f"- {note}" for note in training.get("history", [])]
    lines += [
        "- the vision tower is frozen in the dialogue stage; all settings are in `training.json`",
    ]
    return lines


def _tiny_limits(rows: Rows, calibration: Calibration | None) -> list[str]:
    lines = ["", "## Limits", "- a simulated kitchen only; no photographs were seen in training"]
    kitchen = suites()["kitchen"]
    weak = [
        row for row, value in rows.items()
        if row in kitchen.headline and row not in kitchen.lower_is_better and value["value"] < 0.8
    ]  # fmt: skip
    if weak:
        lines.append(f"- weak at: {', '.join(weak)} (below 0.8 above)")
    return [*lines, _confidence(calibration)]


def _measured(measured: Mapping[str, Rows]) -> list[str]:
    lines = ["", "## Measured"]
    for suite, rows in measured.items():
        headline = suites()[suite].headline
        if rows.keys() & headline.keys():
            how = _HOW.get(suite, f"`chatspot evaluate --suite {suite}`")
            lines += [how, "", headline_table(rows, headline), ""]
    return lines[:-1] if len(lines) > 2 else [*lines, "Not measured yet: `chatspot evaluate`."]


def _instructed(
    training: dict[str, Any], size_mb: float, calibration: Calibration | None
) -> list[str]:
    model, optim, log = training["model"], training["optim"], training["log"]
    start = model["checkpoint"] or f"{model['vision']} joined to {model['language']}"
    ways = f"learning rate {optim['learning_rate']:g}, {optim['epochs']:g} epochs"
    if training["lora"]:
        ways += f", adapters of rank {training['lora']['rank']} merged in"
    if training["distill"]:
        ways += f", taught by {training['distill']['teacher']}"
    lines = [
        "---", "pipeline_tag: image-text-to-text", "---", f"# {training['name']}", "",
        f"A region-referring model of chatspot_ros, {size_mb:.0f} MB of safetensors; "
        "`chatspot.yaml` says how regions and pictures are given to it.", "",
        "## Training",
        f"- started from {start}",
        f"- moved: {', '.join(training['learn'])}; {ways}, batches of {optim['batch']}, "
        f"{log['steps']} steps",
        *(f"- {name.replace('_', ' ')}: {log[name]:.3f}" for name in
          ("first_loss", "last_loss", "held_out_loss") if name in log), "",
        "## Data",
        "| source | records | times an epoch | licence |", "|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {s['name']} | {_taken(s)} | {s['weight']:g} | {s['licence'] or 'not stated'} |"
        for s in training["sources"]
    ]
    return [
        *lines, "", "## Limits",
        "- it knows what the data above shows; look at samples with `chatspot_train.data.preview`",
        _confidence(calibration),
    ]  # fmt: skip


def _taken(source: dict[str, Any]) -> str:
    """Return the number of records of a source, what was left out and the missing pictures."""
    left_out = [f"{count} of {split} left out" for split, count in
                source.get("left_out", {}).items()]  # fmt: skip
    missing = [f"pictures: {source['missing']} missing"] if source.get("missing") else []
    dropped = [f"unusable: {source['dropped']}"] if source.get("dropped") else []
    return ", ".join([str(source["records"]), *left_out, *missing, *dropped])


def _confidence(calibration: Calibration | None) -> str:
    if calibration is None:
        return "- `confidence` is not calibrated"
    return (
        f"- `confidence` is calibrated by `chatspot calibrate` (on what: `{SPEC_FILE}`); an answer "
        f"is `uncertain` below {calibration.threshold:.2f}"
    )


def write_card(
    folder: Path, measured: Mapping[str, Rows], sheets: Mapping[str, Path] | None = None
) -> None:
    """Write README.md into a model's folder, from its `training.json` and the rows by suite;
    `sheets` are pictures of wrong answers by suite, to be copied there."""
    training = json.loads((folder / "training.json").read_text())
    size_mb = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6
    calibration = read_spec(folder / SPEC_FILE).calibration
    shown = []
    for suite, sheet in (sheets or {}).items():
        shown.append(f"wrong-{suite}.jpg")
        shutil.copyfile(sheet, folder / shown[-1])
    (folder / "README.md").write_text(model_card(training, measured, size_mb, calibration, shown))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument(
        "--results", type=Path, required=True, nargs="+", help="results.json files of `evaluate`"
    )
    parser.add_argument(
        "--wrong", action="store_true",
        help="show the results' sheets of wrong answers: pictures that may be made public",
    )  # fmt: skip


def _run(options: argparse.Namespace) -> None:
    measured, sheets = {}, {}
    for file in options.results:
        found = json.loads(file.read_text())
        name = found.get("suite", "kitchen")
        measured[name] = found["rows"]
        if options.wrong and (file.parent / SHEET).is_file():
            sheets[name] = file.parent / SHEET
    write_card(options.model, measured, sheets)


main = Command(
    "model-card", _add_arguments, _run, description="Write a model's README.md.", failed=1
)

if __name__ == "__main__":
    sys.exit(main())
