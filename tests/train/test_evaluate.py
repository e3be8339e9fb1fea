"""The command line over all suites, on a few kitchens and the bundled model."""

import json
import re
from argparse import ArgumentParser
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatspot_sim.asking import clear_things
from chatspot_train import evaluate
from chatspot_train.evaluation.compare import compare
from chatspot_train.evaluation.kitchen.suite import KitchenSuite
from chatspot_train.evaluation.registry import make, suites
from chatspot_train.evaluation.runner import read_predictions, to_line
from chatspot_train.evaluation.suite import AskedTurn, Item, SuiteOptionError

TINY = "models/chatspot-tiny"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kitchen")
    evaluate.main(["--suite", "kitchen", "--model", TINY, "--limit", "3", "--out", str(out)])
    return out


def rows(out: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((out / "results.json").read_text())["rows"]
    return {name: row for name, row in found.items() if name != "intent/milliseconds"}


@pytest.mark.timeout(240)
def test_every_suite_has_rows_on_the_kitchen(done: Path) -> None:
    found = rows(done)
    for name, row in found.items():
        assert {"low", "high"} <= set(row) or name == "calibration/threshold", name
    assert {"name_box", "absent_f1", "noise_drop_03", "hallucination"} <= set(found)
    prefixes = {name.split("/")[0] for name in found if "/" in name}
    assert prefixes == set(KitchenSuite().companions(done / "data", 3))
    assert found["coco_region/accuracy"]["n"] >= 6
    report = (done / "report.md").read_text()
    assert "| `coco_region` | average precision (AP) | " in report
    assert "| `name_box` | name the thing in a box | " in report
    for name in prefixes:
        assert f"## {name}" in report
    for line in report.splitlines():
        if line.startswith("!["):
            assert (done / line.split("(")[1].rstrip(")")).stat().st_size > 1000


def test_the_same_answers_give_the_same_numbers_and_nothing_is_asked_again(done: Path) -> None:
    before = {f: f.stat().st_mtime_ns for f in done.rglob("predictions.jsonl") if f.stat().st_size}
    first = rows(done)
    # The router is asked anew, in other times.
    lines = {file: file.read_text() for file in before if file.parent.name != "intent"}
    evaluate.main(["--suite", "kitchen", "--model", TINY, "--limit", "3", "--out", str(done)])
    assert rows(done) == first
    assert {file: file.read_text() for file in lines} == lines


def test_one_suite_by_name_and_two_results_side_by_side(done: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        evaluate.main(["--suite", "pope", "--model", TINY, "--data", str(done / "data"),
                       "--limit", "8", "--out", str(tmp_path / name)])  # fmt: skip
    assert rows(tmp_path / "a")["accuracy"]["n"] == 8
    evaluate.main(["--suite", "pope", "--compare", str(tmp_path / "a"), str(tmp_path / "b"),
                   "--out", str(tmp_path / "both")])  # fmt: skip
    compared = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert compared["pairs"] == 8
    assert compared["rows"]["accuracy"]["value"] == 0.0
    assert (tmp_path / "both" / "comparison.html").stat().st_size > 500


def test_every_suite_can_be_compared_with_itself(done: Path, tmp_path: Path) -> None:
    kitchen = KitchenSuite()
    for name, suite in {"": kitchen, **kitchen.companions(done / "data", 3)}.items():
        folder = done / name
        found = compare(folder, folder, tmp_path / name, suite, draws=50)
        assert found.differ == 0
        assert found.rows
        assert {row["value"] for row in found.rows.values()} == {0.0}


def test_the_page_of_two_results_shows_the_kitchens(done: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    kept = read_predictions(done / "predictions.jsonl")
    changed = [replace(p, text="a spoon", boxes_xyxy_px=()) for p in kept]
    (other / "predictions.jsonl").write_text("".join(map(to_line, changed)))
    evaluate.main(["--suite", "kitchen", "--compare", str(done), str(other),
                   "--out", str(tmp_path / "both")])  # fmt: skip
    compared = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert compared["pairs"] == len(kept)
    row = compared["rows"]["name_box"]
    assert row["b"] == 0.0
    assert row["low"] <= row["value"] <= row["high"] <= 0.0
    page = (tmp_path / "both" / "comparison.html").read_text()
    shown = {path.name for path in (tmp_path / "both" / "pictures").iterdir()}
    assert shown == {f"{k:04d}.jpg" for k in range(3)}
    assert all(f'href="pictures/{name}"' in page for name in shown)
    assert page.count("<polygon") >= page.count("<circle") > 0


def test_missing_data_is_one_line_that_says_what_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--suite", "pope", "--model", TINY, "--data", str(tmp_path)]
    assert evaluate.main([*command, "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert re.search(r"^chatspot evaluate: .*coco_pope_random\.json.*RUCAIBox/POPE", told, re.M)


def test_an_endpoint_needs_a_name_and_a_dialect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--suite", "pope", "--model", "http://localhost:1/v1"]
    assert evaluate.main([*command, "--out", str(tmp_path / "out")]) == 1
    assert "--served-model and --spec" in capsys.readouterr().err


@pytest.mark.parametrize("look", ["--look-twice", "--reader", "--knowledge"])
def test_an_endpoint_is_refused_a_second_look(
    look: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--suite", "pope", "--model", "http://localhost:1/v1", look, "on"]
    command += ["--served-model", "m", "--spec", "config/models/qwen2_5_vl.yaml"]
    assert evaluate.main([*command, "--out", str(tmp_path / "out")]) == 1
    assert "leave out --look-twice, --reader and --knowledge" in capsys.readouterr().err


def test_an_endpoint_is_told_the_robots_skills(tmp_path: Path, chat_server: Any) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("name: m\ndialect: {name: chatspot, decimals: 2}\nprompt_style: words\n"
                    "geometry: {mode: pad_centre, width: 64, height: 64}\n")  # fmt: skip
    skills = tmp_path / "skills.yaml"
    skills.write_text("defrost: let something thaw\n")
    parser = ArgumentParser()
    evaluate.main.fill(parser)
    options = parser.parse_args([
        "--suite", "pope", "--model", chat_server.url, "--served-model", "m", "--spec", str(spec),
        "--skills", str(skills), "--out", str(tmp_path),
    ])  # fmt: skip
    item = Item("k", tmp_path, (AskedTurn("What should be done?", task="plan"),), {})
    with ExitStack() as stack:
        answerer = evaluate._answerer(options, stack)
        answerer.answer_all(np.zeros((8, 8, 3), np.uint8), [item])
    assert "defrost" in chat_server.last_text(chat_server.bodies[0])


def test_every_name_makes_its_suite() -> None:
    assert len(suites()) == 20
    for name in suites():
        assert make(name).name == name
    with pytest.raises(SuiteOptionError, match="coco_region"):
        make("coco")


def test_the_kitchens_files_agree_with_the_truth(done: Path) -> None:
    coco = json.loads((done / "data" / "annotations" / "instances_val2017.json").read_text())
    names = {one["id"]: one["name"] for one in coco["categories"]}
    from chatspot_sim.kitchen import draw_kitchen
    from chatspot_sim.world import World

    with World(draw_kitchen(1, "test")) as world:
        truth = world.frame(measure_visibility=True).truth
    clear = clear_things(truth)
    mine = [a for a in coco["annotations"] if a["image_id"] == 1]
    assert [names[a["category_id"]] for a in mine] == [t.name for t in clear]
    for annotation, thing in zip(mine, clear, strict=True):
        x, y, w, h = annotation["bbox"]
        assert (x, y, x + w, y + h) == pytest.approx(thing.box_xyxy_px)
