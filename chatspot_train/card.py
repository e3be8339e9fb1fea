"""The model card, written from the run's settings and the measured rows: never by hand.

`python -m chatspot_train.card --model DIR --results results.json`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

ROW_MEANINGS = {
    "name_box": "name the thing in a box",
    "name_point": "name the thing under a point",
    "name_polygon": "name the thing in a polygon",
    "part": "name a part of a thing",
    "colour": "colour of the thing in a region",
    "state": "state of a thing, all attributes right",
    "yes_no": "is it open, on, running, full, plugged in",
    "read": "two digits or a printed word",
    "count": "how many of a kind are in the picture",
    "relation": "how one region stands to another",
    "describe": "describe a region, all facts right",
    "scene": "list what is in the picture, F1 of kinds at least 0.75",
    "is_there": "whether a thing is there, in a region or the picture",
    "locate": "answer with a box, IoU above 0.5, or say that it is not there",
    "plan": "right steps in the right order",
    "follow_up": '"and this?" after an earlier question',
}


def model_card(training: dict[str, Any], rows: dict[str, dict[str, float]], size_mb: float) -> str:
    """Return the card as Markdown."""
    vision, language, data = training["vision"], training["language"], training["data"]
    lines = [
        "---",
        "license: apache-2.0",
        "pipeline_tag: image-text-to-text",
        "---",
        "# chatspot-tiny",
        "",
        "A very small ChatSpot model for tests, demonstrations and development: a LLaVA of "
        "transformers' own classes (CLIP vision tower, projection, Llama), trained from nothing on "
        "pictures of the simulated kitchen of `chatspot_sim`. It knows that kitchen and nothing "
        "else: not photographs, not other rooms, not other wordings than those like its own.",
        "",
        "## Shape",
        f"- pictures of {vision['image_size']} x {vision['image_size']} pixels (stretched), "
        f"patches of {vision['patch_size']}; vision {vision['layers']} layers of "
        f"{vision['hidden_size']}; language {language['layers']} layers of "
        f"{language['hidden_size']}; {size_mb:.1f} MB of fp16 safetensors",
        "- regions: `<box> x1 y1 x2 y2</box>`, fractions with two decimals, each one token",
        "",
        "## Training",
        f"- data: {data['train_kitchens']} simulated kitchens, {data['moments']} pictures each; "
        "questions drawn anew for every step",
    ]
    for name in ("vision_stage", "text_stage", "dialogue_stage"):
        stage = training[name]
        lines.append(
            f"- {name.replace('_', ' ')}: {stage['steps']} steps of {stage['batch']}, "
            f"learning rate {stage['learning_rate']:g}, seed {stage['seed']}"
        )
    lines += [f"- {note}" for note in training.get("history", [])]
    lines += [
        "- the vision tower is frozen in the dialogue stage; all settings are in `training.json`",
        "",
        "## Measured",
        "On unseen test kitchens (no seed and no wording shared with training), regions off by up "
        "to about 5 %: `python -m chatspot_train.evaluate --suite kitchen --split test`.",
        "",
        "| row | what | right | 95 % | n |",
        "|---|---|---|---|---|",
    ]
    for row, value in rows.items():
        lines.append(
            f"| `{row}` | {ROW_MEANINGS.get(row, row)} | {value['value']:.3f} "
            f"| {value['low']:.3f} to {value['high']:.3f} | {int(value['n'])} |"
        )
    weak = [row for row, value in rows.items() if value["value"] < 0.8]
    lines += ["", "## Limits", "- a simulated kitchen only; no photographs were seen in training"]
    if weak:
        lines.append(f"- weak at: {', '.join(weak)} (below 0.8 above)")
    lines.append("- `confidence` is not calibrated")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line: write README.md into the model's directory."""
    parser = argparse.ArgumentParser(description="Write a model card.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()
    training = json.loads((options.model / "training.json").read_text())
    rows = json.loads(options.results.read_text())["rows"]
    size_mb = (options.model / "model.safetensors").stat().st_size / 1e6
    (options.model / "README.md").write_text(model_card(training, rows, size_mb))


if __name__ == "__main__":
    main()
