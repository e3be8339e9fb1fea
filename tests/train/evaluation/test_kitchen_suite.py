"""The kitchen suite: what is asked, rows by hand from answers alone, and a run that was cut."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.core.geometry import RgbImage
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.questions import KINDS
from chatspot_sim.stranger_wordings import taught
from chatspot_sim.truth import Thing, Truth
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.world import World
from chatspot_train.data.noisy_boxes import noisy_box
from chatspot_train.evaluation.kitchen import render
from chatspot_train.evaluation.kitchen.questions import kitchen_questions, truth_of
from chatspot_train.evaluation.kitchen.render import RenderError, render_kitchens
from chatspot_train.evaluation.kitchen.render import truth_of as truth_of_picture
from chatspot_train.evaluation.kitchen.suite import KitchenSuite
from chatspot_train.evaluation.metrics.intervals import share
from chatspot_train.evaluation.runner import read_predictions, run, to_line
from chatspot_train.evaluation.suite import Item, Prediction, SuiteOptionError

MUG = Thing("mug_0", "mug", "red", (10, 10, 50, 50), ((10, 10), (50, 10), (50, 50)), 900)
PLATE = Thing("plate_0", "plate", "", (10, 12, 50, 52), ((10, 12), (50, 12), (50, 52)), 900)
APPLE = Thing("apple_0", "apple", "red", (70, 10, 90, 30), ((70, 10), (90, 10), (90, 30)), 300)
TRUTH = Truth(100, 80, (MUG, PLATE, APPLE), split="test")


def told(row: str, kind: str, answer: str, *, kitchen: int = 0, **more: Any) -> dict[str, Any]:
    return truth_of(row, kitchen, KitchenQuestion(kind, "?", "", (), answer, **more), TRUTH)


def answered(truth: dict[str, Any], text: str, *boxes: Any, key: str = "") -> Prediction:
    name = key or f"{truth['kitchen']}-{truth['row']}-{text}"
    return Prediction(name, text, tuple(boxes), question="?", truth=truth)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kitchens")
    render_kitchens(folder, "test", 3)
    return folder


class Oracle:
    """Answers what is true, but for every third question."""

    name = "oracle"

    def __init__(self) -> None:
        self.pictures = 0
        self.asked: list[str] = []

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        self.pictures += 1
        self.asked += [item.key for item in items]
        return [self._answer(item, k % 3 == 2) for k, item in enumerate(items)]

    def _answer(self, item: Item, wrong: bool) -> Prediction:
        box, asked = item.truth["box"], item.turns[-1].question
        if wrong:
            return Prediction(item.key, "?", question=asked, truth=item.truth)
        if box is None:
            return Prediction(item.key, item.truth["answer"], question=asked, truth=item.truth)
        return Prediction(item.key, "the mug <box> 0 0 1 1</box>", (tuple(box),), ("the mug",),
                         question=asked, truth=item.truth)  # fmt: skip


def test_every_kind_is_asked_of_one_rendering(data: Path) -> None:
    items = list(KitchenSuite().items(data, 3, 0))
    assert len({item.key for item in items}) == len(items)
    assert {item.image for item in items} == {data / "kitchens_test" / f"{k}.jpg" for k in range(3)}
    assert {item.truth["kind"] for item in items} == set(KINDS)
    assert {item.truth["row"] for item in items} <= set(KitchenSuite.headline)
    for item in items:
        assert json.loads(json.dumps(item.truth)) == item.truth
        assert len(item.turns) == (2 if item.truth["row"] == "follow_up" else 1)
    again = list(KitchenSuite().items(data, 3, 0))
    assert again == items
    other = list(KitchenSuite().items(data, 3, 1))
    assert [item.turns for item in other] != [item.turns for item in items]


def test_what_is_asked_follows_from_the_seed() -> None:
    with World(draw_kitchen(3, "test")) as world:
        truth = world.frame(measure_visibility=True).truth
    one, two = (list(kitchen_questions(truth, 3, TEST)) for _ in range(2))
    assert one == two
    asked = [row for row, _ in one]
    assert len(asked) == len(set(asked))
    assert {"name_box", "name_point", "name_polygon", "name_box_noise_03", "scene"} <= set(asked)


def test_a_picture_is_what_the_camera_sees(data: Path) -> None:
    picture = data / "kitchens_test" / "1.jpg"
    with World(draw_kitchen(1, "test")) as world:
        frame = world.frame(measure_visibility=True)
    assert truth_of_picture(picture) == frame.truth
    seen = cv2.imread(str(picture))
    assert seen is not None
    assert np.abs(seen[:, :, ::-1].astype(int) - frame.rgb).mean() < 4
    before = picture.stat().st_mtime_ns
    assert render_kitchens(data, "test", 3)[1] == picture
    assert picture.stat().st_mtime_ns == before


def test_rendering_goes_on_with_what_is_missing(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kitchens_test"
    folder.mkdir()
    for name in ("0.jpg", "0.json", "1.jpg", "2.jpg", "2.json"):
        (folder / name).write_bytes((data / "kitchens_test" / name).read_bytes())
    (folder / "1.jpg").write_bytes(b"half")
    render_kitchens(tmp_path, "test", 3, processes=1)
    for k in range(3):
        for ending in ("jpg", "json"):
            mine = (folder / f"{k}.{ending}").read_bytes()
            assert mine == (data / "kitchens_test" / f"{k}.{ending}").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        "0.jpg", "0.json", "1.jpg", "1.json", "2.jpg", "2.json",
    ]  # fmt: skip


def test_a_renderer_that_fails_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "kitchens_val").mkdir()
    (tmp_path / "kitchens_val" / "0.jpg").mkdir()  # cannot be written
    with pytest.raises(RenderError, match="exit statuses"):
        render_kitchens(tmp_path, "val", 1)


def test_a_renderer_ends_when_nobody_listens(tmp_path: Path) -> None:
    command = [sys.executable, "-m", render.__name__, str(tmp_path), "test", "0", "1"]
    process = subprocess.Popen([*command, "1000"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.wait(60) == 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "999.json").exists()


def test_the_rows_are_of_the_kept_answers_alone(data: Path, tmp_path: Path) -> None:
    suite, file, oracle = KitchenSuite(), tmp_path / "p.jsonl", Oracle()
    found = run(oracle, suite.items(data, 3, 0), file)
    assert oracle.pictures == 3
    report = suite.score(found)
    assert set(report.rows) == set(KitchenSuite.headline) - {"wording_mean"}
    kept = read_predictions(file)
    assert kept == found
    assert suite.score(kept).rows == report.rows
    assert suite.score(kept).table == report.table
    wrong = [not good for good in suite.right(kept)]
    assert wrong == [p.text == "?" for p in kept]
    for name, row in report.rows.items():
        assert f"| `{name}` | {KitchenSuite.headline[name]} | {row['value']:.3f} |" in report.table


def test_a_killed_run_asks_only_what_is_missing(data: Path, tmp_path: Path) -> None:
    suite, file = KitchenSuite(), tmp_path / "p.jsonl"
    whole = run(Oracle(), suite.items(data, 2, 0), file)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:10]) + lines[10][:40])
    oracle = Oracle()
    again = run(oracle, suite.items(data, 2, 0), file)
    assert oracle.asked == [p.key for p in whole[10:]]
    assert [p.key for p in again] == [p.key for p in whole]
    assert again[:10] == whole[:10]


def test_the_rows_that_are_drawn_from_several() -> None:
    there, absent = "yes, there is a mug here", "no, there is no kettle here"
    at = (10.0, 10.0, 50.0, 50.0)
    rows = KitchenSuite().score([
        answered(told("is_there", "is_there", absent), "no, there is no kettle here"),
        answered(told("is_there", "is_there", there), "no, there is no mug here"),
        answered(told("locate", "locate", "there is no cup here"), "there is no cup here"),
        answered(told("locate", "locate", "there is no cup here"), "cup <box> 0 0 1 1</box>",
                 (0.0, 0.0, 100.0, 80.0)),
        answered(told("locate", "locate", "", box_xyxy_px=at), "red mug <box> 0 0 1 1</box>", at),
        answered(told("locate", "locate", "", box_xyxy_px=at), "<box> 0.1 0.1 0.5 0.6</box>", at,
                 key="old"),
        answered(told("name_box_exact", "name", "mug", thing="mug_0"), "mug"),
        answered(told("name_box_noise_03", "name", "mug", thing="mug_0"), "apple"),
        answered(told("name_box_exact", "name", "mug", thing="mug_0", kitchen=1), "a plate"),
        answered(told("name_box_noise_03", "name", "mug", thing="mug_0", kitchen=1), "mug"),
        answered(told("name_box_exact", "name", "mug", thing="mug_0", kitchen=2), "mug"),
        answered(told("name_box", "name", "apple", thing="apple_0"), "mug"),
    ]).rows  # fmt: skip
    assert rows["absent_f1"]["value"] == pytest.approx(2 * 2 / (3 + 3))
    assert rows["absent_f1"]["n"] == 4
    assert rows["is_there"]["value"] == 0.5
    assert rows["locate"]["value"] == 0.75
    # One kitchen loses by the noise, one wins; the third has no pair.
    assert (rows["noise_drop_03"]["value"], rows["noise_drop_03"]["n"]) == (0.0, 2)
    # The plate overlaps the mug; what is named for the apple overlaps nothing.
    assert (rows["hallucination"]["value"], rows["hallucination"]["n"]) == (0.25, 4)


def test_a_place_is_right_with_its_phrase_and_without() -> None:
    at = (10.0, 10.0, 50.0, 50.0)
    place = told("locate", "locate", "", box_xyxy_px=at)
    missing = told("locate", "locate", "there is no cup here")
    suite = KitchenSuite()
    assert suite.right([
        answered(place, "red mug <box> 0.1 0.12 0.5 0.62</box>", at),
        answered(place, "<box> 0.1 0.12 0.5 0.62</box>", at),
        answered(place, "red mug"),
        answered(place, "red mug <box> 0.5 0.5 0.9 0.9</box>", (50.0, 40.0, 90.0, 72.0)),
        answered(missing, "there is no cup here"),
        answered(missing, "no cup <box> 0.1 0.1 0.5 0.5</box>", at),
        Prediction("k", "", error="broken", question="?", truth=missing),
    ]) == [True, True, False, False, True, False, False]  # fmt: skip


def test_overlaps_are_of_other_kinds() -> None:
    assert told("name_box", "name", "mug", thing="mug_0")["overlapping"] == ["plate"]
    assert told("name_box", "name", "apple", thing="apple_0")["overlapping"] == []
    assert told("count", "count", "2")["overlapping"] == []


def test_predictions_of_nothing_have_no_score() -> None:
    with pytest.raises(ValueError, match="no answers"):
        KitchenSuite().score([])


def test_a_share_has_wilsons_interval() -> None:
    row = share([True] * 9 + [False])
    assert row["value"] == 0.9
    assert row["n"] == 10
    assert row["low"] == pytest.approx(0.596, abs=0.001)  # by hand
    assert row["high"] == pytest.approx(0.982, abs=0.001)
    with pytest.raises(ValueError, match="nothing"):
        share([])


def test_a_noisy_box_moves_by_up_to_half_its_scale() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([noisy_box((100, 50, 200, 150), 0.3, 640, 480, rng) for _ in range(500)])
    moves = np.abs(boxes - [100, 50, 200, 150])
    assert moves.max() <= 15
    assert moves.max() > 14
    assert noisy_box((100, 50, 200, 150), 0.0, 640, 480, rng) == (100, 50, 200, 150)
    assert min(noisy_box((0, 0, 10, 10), 1.0, 10, 10, rng)) >= 0


def test_a_line_holds_the_regions_and_the_picture(data: Path, tmp_path: Path) -> None:
    found = run(Oracle(), KitchenSuite().items(data, 1, 0), tmp_path / "p.jsonl")
    by_row = {p.truth["row"]: p for p in found}
    assert [len(region) for region in by_row["name_box"].regions_px] == [2]
    assert [len(region) for region in by_row["name_point"].regions_px] == [1]
    assert by_row["scene"].regions_px == ()
    assert {p.image for p in found} == {str(data / "kitchens_test" / "0.jpg")}
    assert json.loads(to_line(found[0]))["image"] == found[0].image


def test_strangers_ask_with_wordings_that_never_teach(data: Path) -> None:
    suite = KitchenSuite.from_options({"wordings": "strangers"})
    assert set(suite.wordings) > set(TEST)
    taught_ones = {text for texts in taught().values() for text in texts}
    assert not taught_ones & {text for texts in suite.wordings.values() for text in texts}
    rows = {item.truth["row"] for item in suite.items(data, 3, 0)}
    assert rows <= set(KitchenSuite.headline)
    assert "yes_no" in rows
    with pytest.raises(SuiteOptionError, match=r"got loud.*use own or strangers"):
        KitchenSuite.from_options({"wordings": "loud"})


def test_the_wording_mean_counts_each_row_alike() -> None:
    said = [answered(told("colour", "colour", "red"), text) for text in ("red", "blue", "", "tan")]
    said += [answered(told("count", "count", "2"), "2")]
    said += [answered(told("name_box_exact", "name", "mug"), "jug")]  # a second one of a kind
    rows = KitchenSuite(by_strangers=True).rows(said)
    assert rows["wording_mean"]["value"] == pytest.approx((0.25 + 1.0) / 2)
    assert rows["wording_mean"]["n"] == 5
    assert "wording_mean" not in KitchenSuite().rows(said)
