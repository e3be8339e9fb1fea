"""The command, its page and its JSON: what they say, and that no comment becomes markup."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from chatspot_train.feedback.command import main
from chatspot_train.feedback.simulate import Scenario, simulate

HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(1)> \"'&amp; $x^{$ [bold] \x1b[31m"


def write_log(path: Path, answers: int = 700) -> Path:
    """A log whose cause is light and whose decoy is time, every comment and model hostile."""
    found = []
    for text in simulate(Scenario("light", "seconds"), 5, answers):
        line = json.loads(text)
        if line.get("comment"):
            line["comment"] = f"{HOSTILE} {line['comment']}"
        if line.get("model") == "new":
            line["model"] = HOSTILE
        found.append(json.dumps(line))
    path.write_text("\n".join([*found, "{broken"]) + "\n")
    return path


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feedback")
    log = write_log(folder / "log.jsonl")
    page, data = folder / "page.html", folder / "data.json"
    assert main([str(log), "--html", str(page), "--json", str(data)]) == 0
    return folder


def test_the_table_names_the_cause_and_the_decoy(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(made / "log.jsonl")]) == 0
    said = " ".join(capsys.readouterr().out.split())  # lines are broken anywhere
    assert "mostly because of light" in said
    assert "plain correlation blames seconds" in said
    assert "1 lines could not be read" in said
    assert "\x1b[31m" not in said
    assert "too dark to see anything" in said


def test_no_text_of_the_log_becomes_markup(made: Path) -> None:
    page = (made / "page.html").read_text(encoding="utf-8")
    tags = Tags(page)
    assert "script" not in {tag for tag, _ in tags.found}
    assert all(not name.startswith("on") for _, attributes in tags.found for name in attributes)
    sources = [attributes["src"] for tag, attributes in tags.found if tag == "img"]
    assert len(sources) == 5
    assert all(one and one.startswith("data:image/png;base64,") for one in sources)
    assert any("<script>alert(1)</script>" in text for text in tags.texts)  # as a text, that is


def test_the_plots_are_pictures_with_something_on_them(made: Path) -> None:
    page = (made / "page.html").read_text(encoding="utf-8")
    for code in re.findall(r"base64,([^\"]+)", page):
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(code), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.std() > 5


def test_the_json_has_the_graph_the_effects_and_the_refutations(made: Path) -> None:
    data = json.loads((made / "data.json").read_text())
    assert data["damaged_lines"] == 1
    assert "part_of_day" in data["adjusted_for"]["light"]
    ratings = data["outcomes"]["bad ratings"]
    assert ratings["driver"]["factor"] == "light"
    assert ratings["blamed_by_correlation"] == "seconds"
    assert ratings["refutations"]["light"]["passed"] is True
    assert data["outcomes"]["follow-ups"]["driver"]["factor"] == "light"


def test_a_short_log_says_how_much_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log.jsonl", 20)
    assert main([str(log), "--html", str(tmp_path / "page.html")]) == 0
    assert "50 answers are needed" in capsys.readouterr().out
    assert "50 answers are needed" in (tmp_path / "page.html").read_text()


def test_no_log_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.jsonl")]) == 2
    said = capsys.readouterr().err.strip()
    assert "feedback_log" in said
    assert "\n" not in said
