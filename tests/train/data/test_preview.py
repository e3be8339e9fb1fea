"""The page of samples holds its pictures, and regions wear one number and colour everywhere."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_train.data.preview import Card, images_folder, main, make_card, make_page
from chatspot_train.data.records import Record, Records, RecordTurn, write_records

TURNS = (
    RecordTurn("What is <region> to <region>?", "left <of> it",
               (Region.box(10, 20, 300, 200), Region.point(500, 100))),
    RecordTurn("And this?", "a mug & more", (Region.polygon([(1, 1), (90, 2), (50, 80)]),)),
    RecordTurn("What is here?", "all", (Region.image(),), "describe"),
    RecordTurn("Where is it?", "<region>", (), "locate", (Region.box(5, 6, 70, 80),)),
)  # fmt: skip


def record(number: int, image: str = "a.jpg") -> Record:
    return Record("made", f"<{number}>", image, 1000, 400, TURNS, ("region level",), "free & open")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (1000, 400), "green").save(tmp_path / "a.jpg")
    write_records([record(k) for k in range(9)] + [record(9, "gone.jpg")], tmp_path)
    return tmp_path


def test_the_page_needs_nothing_else(folder: Path) -> None:
    page = make_page(Records(folder), folder, 10, 0)
    sources = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert len(sources) == 9
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    with Image.open(io.BytesIO(base64.b64decode(sources[0].split(",")[1]))) as picture:
        assert picture.size == (640, 256)
    assert "The picture cannot be shown" in page
    assert "gone.jpg" in page


def test_texts_of_a_data_set_are_no_markup(folder: Path) -> None:
    page = make_page(Records(folder), folder, 1, 0)
    assert "left &lt;of&gt; it" in page
    assert "a mug &amp; more" in page
    assert "free &amp; open" in page
    assert "<of>" not in page


def test_a_region_has_the_same_number_and_colour_in_text_and_picture(folder: Path) -> None:
    card = make_card(record(0), folder)
    assert [(mark.number, str(mark.region.kind)) for mark in card.marks] == [
        (1, "box"), (2, "point"), (3, "polygon"), (4, "image"), (5, "box"),
    ]  # fmt: skip
    said = [str(text) for turn in card.turns for text in (turn.question, turn.answer)]
    for mark, text in zip(card.marks, [said[0], said[0], said[2], said[4], said[7]], strict=True):
        label = f'style="background: {mark.colour}">{mark.number} {mark.region.kind}</span>'
        assert label in text
    assert re.sub(r"<[^>]*>", "", said[0]) == "What is 1 box to 2 point?"
    assert len({mark.colour for mark in card.marks}) == 5

    page = make_page(Records(folder), folder, 1, 0)
    assert re.search(r'<circle class="rim" cx="500.0"\s+cy="100.0"', page)
    box = r'<polygon class=""\s+points="10.0,20.0 300.0,20.0 300.0,200.0 10.0,200.0'
    assert re.search(box, page)
    # Each is drawn with its rim; nothing is drawn for the whole picture.
    assert len(re.findall("<polygon", page)) == 2 * 3
    assert re.findall(r"<text[^>]*>(\d)</text>", page) == ["1", "2", "3", "5"]


def test_numbers_do_not_hide_each_other() -> None:
    card = Card(record(0))
    for _ in range(6):
        card.add("here", [Region.box(400, 100, 402, 102)])
    places = [mark.label_xy for mark in card.marks]
    unit = card.marks[0].unit
    for k, (x, y) in enumerate(places):
        assert 0 <= x <= 1000 - 2 * unit
        assert all(abs(x - a) > 1.9 * unit or abs(y - b) > 1.2 * unit for a, b in places[:k])


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--images", str(folder), "--count", "3", "--seed", "1"]) == 0
    page = (folder / "inspect.html").read_text()
    assert page.count("<article>") == 3
    assert "3 of 10 records" in page
    other = folder / "pages" / "b.html"
    assert main([str(folder), "--images", str(folder), "--count", "3", "--seed", "2",
                 "--out", str(other)]) == 0  # fmt: skip
    assert other.read_text() != page
    assert str(other) in capsys.readouterr().out


def test_what_is_missing_is_said_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder)]) == 2
    assert capsys.readouterr().err.strip().endswith("give --images")
    assert main([str(folder / "gone")]) == 2
    assert "no records in" in capsys.readouterr().err
    (folder / "report.json").write_text('{"images": "/pictures"}')
    assert images_folder(folder) == Path("/pictures")
