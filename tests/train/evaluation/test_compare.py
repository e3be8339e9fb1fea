"""Two models side by side: pairs, differences with intervals, and the page where they differ."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_train.evaluation.compare import CompareError, compare, differences
from chatspot_train.evaluation.metrics.intervals import Parts, resampled, row_of, rows_of, share
from chatspot_train.evaluation.runner import to_line
from chatspot_train.evaluation.suite import (
    Item,
    JudgingSuite,
    MissingDataError,
    Prediction,
    Report,
    Suite,
)
from chatspot_train.evaluation.suites.pope import PopeSuite


class Equal(Suite):
    """Share of answers equal to the truth."""

    name = "equal"
    wants = "give --data a folder"

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        yield from ()

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        return {"equal": {p.key: (float(p.text == p.truth["name"]), 1.0) for p in predictions}}

    def score(self, predictions: Sequence[Prediction]) -> Report:
        return Report(rows_of(self.parts(predictions)), "")


def keep(
    folder: Path, texts: dict[str, str], image: str = "", regions_px: Any = (), **truth: Any
) -> Path:
    folder.mkdir()
    lines = [Prediction(key, text, question=f"What is {key}?", truth={"name": "mug", **truth},
                       image=image, regions_px=regions_px)
             for key, text in texts.items()]  # fmt: skip
    (folder / "predictions.jsonl").write_text("".join(map(to_line, lines)), encoding="utf-8")
    return folder


def pope(texts: str, labels: str) -> list[Prediction]:
    names = {"y": "yes", "n": "no"}
    return [Prediction(str(k), names[a], truth={"file": "random", "label": names[b]})
            for k, (a, b) in enumerate(zip(texts, labels, strict=True))]  # fmt: skip


def test_the_same_questions_are_paired(tmp_path: Path) -> None:
    a = keep(tmp_path / "a", {"1": "mug", "2": "cup", "3": "mug", "4": "x"})
    b = keep(tmp_path / "b", {"2": "mug", "3": "mug", "1": "mug", "5": "y"})
    found = compare(a, b, tmp_path / "out", Equal(), draws=500)
    assert (found.pairs, found.only_a, found.only_b, found.differ, found.scored) == (3, 1, 1, 1, 1)
    assert set(found.rows) == {"equal"}
    row = found.rows["equal"]
    assert (row["a"], row["b"], row["value"], row["n"]) == pytest.approx((2 / 3, 1.0, 1 / 3, 3))
    assert row["low"] == 0.0
    assert "| equal | 3 | 0.667 | 1.000 | 0.333 |" in found.table
    again = compare(a, b, tmp_path / "out", Equal(), draws=500)
    assert again == found
    kept = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert kept["rows"] == found.rows


def test_a_difference_has_the_interval_of_its_pairs() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random(200) < 0.6, rng.random(200) < 0.7
    parts_a, parts_b = (
        {"right": {str(k): (float(v), 1.0) for k, v in enumerate(values)}} for values in (a, b)
    )
    row = differences(parts_a, parts_b)["right"]
    gain = b.astype(float) - a
    half = 1.96 * gain.std() / np.sqrt(len(gain))
    assert row["value"] == pytest.approx(gain.mean())
    assert (row["low"], row["high"]) == pytest.approx(
        (gain.mean() - half, gain.mean() + half), abs=0.012
    )
    # The same model has no difference, however uncertain its value is.
    same = differences(parts_a, parts_a)["right"]
    assert (same["value"], same["low"], same["high"]) == (0.0, 0.0, 0.0)


def test_f1_is_compared_as_a_whole() -> None:
    suite = PopeSuite()
    a, b = pope("yyynn", "ynyyn"), pope("ynyyn", "ynyyn")
    rows = differences(suite.parts(a), suite.parts(b), draws=200)
    assert rows["f1"]["a"] == pytest.approx(2 * 2 / (3 + 3))
    assert rows["f1"]["b"] == 1.0
    assert rows["f1"]["low"] >= 0.0
    # The second never says yes: it has no precision to compare.
    assert "precision" not in differences(suite.parts(a), suite.parts(pope("nnnnn", "ynyyn")))


def test_parts_are_summed_with_their_own_questions() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [0.0, 0.0]])
    sums = np.concatenate(list(resampled(values, 250, 0)))
    assert sums.shape == (250, 2)
    assert np.allclose(sums[:, 0] * 10, sums[:, 1])
    row = row_of({"a": (1.0, 2.0), "b": (3.0, 6.0), "c": (0.0, 0.0)})
    assert row == {"value": 0.5, "n": 2, "low": 0.5, "high": 0.5}
    assert row_of({"a": (1.0, 1.0), "b": (0.0, 1.0)}) == share([True, False])


def test_a_judging_suite_is_compared_by_its_right_answers(tmp_path: Path) -> None:
    class Judging(JudgingSuite):
        name = "judging"
        wants = ""

        def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
            yield from ()

        def right(self, predictions: Sequence[Prediction]) -> list[bool]:
            return [p.text == "cup" for p in predictions]

        def score(self, predictions: Sequence[Prediction]) -> Report:
            return Report(self.rows(predictions), "")

    a = keep(tmp_path / "a", {"1": "mug", "2": "cup"})
    b = keep(tmp_path / "b", {"1": "cup", "2": "cup"})
    found = compare(a, b, tmp_path / "out", Judging(), draws=50)
    assert found.rows["right"]["value"] == 0.5
    assert found.scored == 1


def test_the_page_shows_pictures_and_escapes_text(tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    cv2.imwrite(str(picture), np.zeros((30, 40, 3), np.uint8))
    regions = (((3, 4), (8, 9)), ((5, 6),), ((1, 1), (9, 1), (9, 9)))
    a = keep(tmp_path / "a", {"1": "<b>mug</b>", "2": "茶", "3": "same"}, image=str(picture),
             regions_px=regions, box=[1, 2, 30, 20])  # fmt: skip
    b = keep(tmp_path / "b", {"1": "mug", "2": "tea", "3": "same"})
    compare(a, b, tmp_path / "out", Equal(), draws=50)
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<article>") == 2
    # The picture stands beside the page once, for both questions; so do the asked regions on it.
    assert page.count('href="pictures/0000.jpg" width="40" height="30"') == 2
    shown = cv2.imread(str(tmp_path / "out" / "pictures" / "0000.jpg"))
    assert shown is not None
    assert shown.shape == (30, 40, 3)
    assert [path.name for path in (tmp_path / "out" / "pictures").iterdir()] == ["0000.jpg"]
    assert page.count('points="3.00,4.00 8.00,4.00 8.00,9.00 3.00,9.00"') == 2
    assert page.count('points="1.00,1.00 9.00,1.00 9.00,9.00"') == 2
    assert page.count('cx="5" cy="6"') == 2
    assert 'width="29" height="18"' in page
    assert "&lt;b&gt;mug&lt;/b&gt;" in page
    assert "<b>mug" not in page
    assert "茶" in page
    # The one that is also scored differently stands first.
    assert page.index("What is 1?") < page.index("What is 2?")
    picture.unlink()
    compare(a, b, tmp_path / "out", Equal(), draws=50)
    assert "cannot be shown" in (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    a = keep(tmp_path / "a", {"1": "mug"})
    with pytest.raises(MissingDataError, match=r"predictions\.jsonl"):
        compare(a, tmp_path / "b", tmp_path / "out", Equal())
    with pytest.raises(CompareError, match="no question was asked of both"):
        compare(a, keep(tmp_path / "c", {"2": "mug"}), tmp_path / "out", Equal())
