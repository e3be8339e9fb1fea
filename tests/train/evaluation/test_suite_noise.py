"""Box noise and hallucination: what is asked at each scale, and the rows by hand."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chatspot_ros.core.boxes import iou
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RequestError
from chatspot_train.evaluation.suite import AskedTurn, Item, Prediction, RegionSuite, Report
from chatspot_train.evaluation.suites.coco_region import CocoRegion
from chatspot_train.evaluation.suites.hallucination import Hallucination
from chatspot_train.evaluation.suites.noise import Noise


class Shapes(RegionSuite):
    """Asks for the name of `count` boxes."""

    name = "shapes"
    wants = "nothing"

    def __init__(self, count: int = 2, region: Region | None = None) -> None:
        self.count, self.region = count, region or Region.box(10, 20, 50, 100)

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        for k in range(limit or self.count):
            turn = AskedTurn("What?", (self.region,))
            yield Item(str(k), data, (turn,), {"answer": "square", "size": [64, 128]})

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        return [p.text == p.truth["answer"] for p in predictions]

    def score(self, predictions: Sequence[Prediction]) -> Report:
        raise NotImplementedError


def test_every_scale_is_asked_of_every_item(tmp_path: Path) -> None:
    suite = Noise(Shapes(200))
    items = list(suite.items(tmp_path, 0, 0))
    assert [item.key for item in items[:5]] == ["0@0", "0@0.1", "0@0.2", "0@0.3", "1@0"]
    moves = np.array([item.turns[0].regions[0].box_xyxy_px for item in items]) - [10, 20, 50, 100]
    moves = moves.reshape(200, 4, 4)
    assert not moves[:, 0].any()
    assert np.abs(moves[:, 3, 0]).max() <= 0.5 * 0.3 * 40
    assert np.abs(moves[:, 3, 0]).max() > 0.45 * 0.3 * 40
    np.testing.assert_allclose(moves[:, 2], 2 * moves[:, 1], atol=1e-9)  # farther, the same way
    assert len(np.unique(moves[:, 3, 0])) == 200
    again = list(suite.items(tmp_path, 0, 0))
    other = list(suite.items(tmp_path, 0, 1))
    assert again == items
    assert again[1].turns != other[1].turns
    assert len(list(suite.items(tmp_path, 3, 0))) == 12


@pytest.mark.parametrize("region", [Region.point(3, 4), Region.image()])
def test_only_boxes_can_be_moved(region: Region, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"moves boxes only.*0: (point|image)"):
        next(Noise(Shapes(1, region)).items(tmp_path, 0, 0))


def test_accuracy_and_its_drop_by_hand(tmp_path: Path) -> None:
    suite = Noise(Shapes(4), scales=(0.0, 0.2))
    said = {"0@0": "square", "1@0": "square", "2@0": "square", "0@0.2": "square", "3@0.2": "square"}
    kept = [
        Prediction(i.key, said.get(i.key, ""), truth=i.truth) for i in suite.items(tmp_path, 0, 0)
    ]
    report = suite.score(kept)
    assert {name: row["value"] for name, row in report.rows.items()} == {
        "accuracy_noise_0": 0.75, "accuracy_noise_0.2": 0.5, "drop_noise_0.2": 0.25,
    }  # fmt: skip
    assert "| 0.2 | - | 50.0 | 25.0 | 4 |" in report.table  # the paper's are of COCO
    assert suite.score(kept).rows == report.rows
    drawn = report.plots["noise.png"]
    assert [len(axes.lines) for axes in drawn.axes] == [3]  # the curve and its intervals' ends
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])


def coco(folder: Path) -> Path:
    """A person on a horse, by nearly the same box, a cat apart, and a crowd over all."""
    boxes = [
        (1, 1, [10, 10, 80, 80], 0), (2, 19, [12, 12, 78, 78], 0), (3, 17, [100, 10, 20, 20], 0),
        (4, 17, [10, 10, 80, 80], 1),
    ]  # fmt: skip
    (folder / "annotations").mkdir()
    (folder / "val2017").mkdir()
    Image.new("RGB", (128, 96)).save(folder / "val2017" / "1.jpg")
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps({
        "images": [{"id": 1, "file_name": "1.jpg", "width": 128, "height": 96}],
        "categories": [{"id": 1, "name": "person"}, {"id": 17, "name": "cat"},
                       {"id": 19, "name": "horse"}],
        "annotations": [{"id": k, "image_id": 1, "category_id": c, "bbox": bbox, "iscrowd": crowd,
                         "area": bbox[2] * bbox[3]} for k, c, bbox, crowd in boxes],
    }))  # fmt: skip
    return folder


def test_hallucination_names_the_neighbour(tmp_path: Path) -> None:
    suite = Hallucination(CocoRegion(), scales=(0.0, 0.3))
    items = list(suite.items(coco(tmp_path), 0, 0))
    assert iou((10, 10, 90, 90), (12, 12, 90, 90)) > 0.5
    said = {
        "1@0": "a horse", "2@0": "horse", "3@0": "person",  # a neighbour, right, wrong apart
        "1@0.3": "cat", "2@0.3": "", "3@0.3": "cats",  # a crowd is no neighbour; nothing said
    }  # fmt: skip
    kept = [Prediction(i.key, said[i.key], truth=i.truth) for i in items]
    report = suite.score(kept)
    assert {name: row["value"] for name, row in report.rows.items()} == {
        "accuracy_noise_0": pytest.approx(1 / 3), "accuracy_noise_0.3": pytest.approx(1 / 3),
        "drop_noise_0.3": pytest.approx(0.0),
        "hallucination_noise_0": pytest.approx(1 / 3), "hallucination_noise_0.3": 0.0,
        "hallucination_of_wrong_noise_0": 0.5, "hallucination_of_wrong_noise_0.3": 0.0,
    }  # fmt: skip
    assert "| 0 | 64.7 | 33.3 | 2.2 | 33.3 | 50.0 | 3 |" in report.table
    assert (suite.score(kept).rows, suite.score(kept).table) == (report.rows, report.table)
    perfect = [Prediction(i.key, {"1": "person", "2": "horse", "3": "cat"}[i.key[0]], truth=i.truth)
               for i in items]  # fmt: skip
    assert "hallucination_of_wrong_noise_0" not in suite.score(perfect).rows


def test_the_plot_has_the_papers_numbers_as_a_second_line(tmp_path: Path) -> None:
    suite = Hallucination()
    items = suite.items(coco(tmp_path), 0, 0)
    report = suite.score([Prediction(i.key, "person", truth=i.truth) for i in items])
    figure = report.plots["hallucination.png"]
    assert [axes.get_title() for axes in figure.axes] == ["accuracy", "hallucination"]
    for axes, paper in zip(figure.axes, ([64.7, 63.9, 63.5, 63.2], [2.2, 2.4, 2.1, 2.3]),
                           strict=True):  # fmt: skip
        lines = {str(line.get_label()): line for line in axes.lines}
        assert list(lines["paper"].get_ydata()) == pytest.approx(paper)  # type: ignore[arg-type]
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == ["paper", "ours"]
    figure.savefig(io.BytesIO())
