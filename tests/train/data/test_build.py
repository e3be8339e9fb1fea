"""The build command writes records, a report and every drop, or says what is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from chatspot_train.data.build import build, main
from chatspot_train.data.records import Record, Records
from chatspot_train.data.sources import find_source

TURN = {"question": "What is <region>?", "answer": "a mug", "regions": [[[1, 2], [9, 12]]]}


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    """Lines as RegionChat's, good and bad ones."""
    Image.new("RGB", (20, 16)).save(tmp_path / "a.png")
    about = {"image": "a.png", "width": 20, "height": 16}
    located = {"question": "Where is it?", "answer": "<region>", "task": "locate",
               "answer_regions": [[[1, 2], [9, 2], [9, 12]]]}  # fmt: skip
    outside = {**TURN, "regions": [[[100, 100], [120, 130]]]}
    unsaid = {**TURN, "answer": "See <region>."}
    lines = [
        {**about, "id": "zwei", "turns": [TURN, located]},
        {**about, "id": 3, "turns": [TURN, outside]},
        {**about, "id": 4, "turns": [unsaid]},
        {**about, "id": 5, "turns": [TURN], "width": "wide"},
        {**about, "id": 6, "turns": []},
        {**about, "id": 7, "turns": [{**TURN, "task": "sing"}]},
        {**about, "id": 8, "turns": [TURN]},
    ]
    path = tmp_path / "region_chat.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + '\n\n{"id": broken\n')
    return path


def test_the_command_end_to_end(dialogues: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "chatspot_train.data.build", "--source", "region_chat",
    "--out",
               str(out), "--annotations", str(dialogues), "--images", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [r.id for r in Records(out)] == ["zwei", "8"]
    first: Record = Records(out)[0]
    assert [t.task for t in first.turns] == ["", "locate"]
    assert first.turns[1].answer_regions[0].points_px == ((1, 2), (9, 2), (9, 12))

    report = json.loads((out / "report.json").read_text())
    assert (report["entries"], report["records"], report["turns"]) == (7, 2, 3)
    assert report["images"] == str(tmp_path.resolve())
    assert report["regions"] == {"box": 2, "polygon": 1}
    assert report["tasks"] == {"short": 2, "locate": 1}
    drops = [json.loads(line) for line in (out / "drops.jsonl").read_text().splitlines()]
    assert {drop["file"] for drop in drops} == {str(dialogues)}
    assert {drop["where"]: drop["reason"] for drop in drops} == {
        "line 2": "the box lies outside the image of N x N pixels",
        "line 3": "N <region> for N regions in an answer",
        "line 4": "width: Input should be a valid integer, unable to parse string as an integer",
        "line 5": "it has no turns",
        "line 6": "there is no task '..'",
        "line 9": "the line is not JSON",
    }
    assert report["dropped"] == sum(drop["count"] for drop in report["drops"]) == len(drops) == 6
    assert "line 2" in done.stdout
    assert "it has no turns" in " ".join(done.stdout.replace("│", " ").split())


def test_the_limit_counts_records_and_old_ones_go(dialogues: Path, tmp_path: Path) -> None:
    source = find_source("region_chat")
    build(source, dialogues, tmp_path, tmp_path / "out", progress=False)
    found = build(source, dialogues, tmp_path, tmp_path / "out", limit=1, progress=False)
    assert [r.id for r in Records(tmp_path / "out")] == ["zwei"]
    assert (found["records"], found["entries"], found["dropped"]) == (1, 1, 0)


def test_two_builds_are_the_same(dialogues: Path, tmp_path: Path) -> None:
    source = find_source("region_chat")
    for name in ("a", "b"):
        build(source, dialogues, tmp_path, tmp_path / name, progress=False)
    assert list(Records(tmp_path / "a")) == list(Records(tmp_path / "b"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--source", "mnist"], "no such source (got mnist): use one of art"),
        (["--source", "docvqa"], "needs its annotations"),
        (["--source", "docvqa", "--annotations", "gone.json", "--images", "."], "got gone.json"),
        (["--source", "docvqa", "--annotations", "DIALOGUES"], "folder of its images"),
        (["--source", "docvqa", "--annotations", "DIALOGUES", "--images", "."], "are not JSON"),
        (["--source", "art", "--annotations", "DIALOGUES", "--images", ".", "--split", "val"],
         "no such split (got val): leave --split out"),
        (["--source", "region_chat", "--annotations", ".", "--images", "."], "cannot be read"),
        (["--source", "region_chat", "--annotations", "DIALOGUES", "--images", ".", "--limit",
          "0"], "limit is not positive"),
        (["--source", "kitchen"], "say how many with --limit"),
        (["--source", "kitchen", "--limit", "2", "--split", "testA"], "train, val, test"),
        (["--source", "kitchen", "--limit", "2", "--images", "."], "makes its own images"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_line(
    options: list[str], said: str, dialogues: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = [str(dialogues) if option == "DIALOGUES" else option for option in options]
    assert main([*given, "--out", str(tmp_path / "out")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "entry/s" not in line]
    (line,) = [line for line in lines if line.strip()]
    assert said in line


def test_no_record_at_all_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    out = tmp_path / "out"
    assert main(["--source", "region_chat", "--annotations", str(tmp_path / "empty.jsonl"),
                 "--images", str(tmp_path), "--out", str(out)]) == 1  # fmt: skip
    assert "no record was kept" in capsys.readouterr().err
    assert len(Records(out)) == 0


def test_kitchens_are_rendered_and_asked_about(tmp_path: Path) -> None:
    found = build(find_source("kitchen"), None, None, tmp_path, split="test", limit=2,
                  progress=False)  # fmt: skip
    records: list[Record] = list(Records(tmp_path))
    assert [r.id for r in records] == ["test-0", "test-1"]
    assert found["images"] == str(tmp_path / "images")
    for record in records:
        with Image.open(tmp_path / "images" / record.image) as picture:
            assert picture.size == (record.width, record.height)
        assert 5 <= len(record.turns) <= 16
        located = [t for t in record.turns if t.answer_regions]
        assert {t.task for t in located} <= {"locate", "describe"}
        assert all(t.answer == "<region>" for t in located if t.task == "locate")
        assert all(t.answer.count("<region>") == len(t.answer_regions) for t in located)
    assert found["tags"]["split: test"] == 2


def test_kitchens_begin_with_the_first_one(tmp_path: Path) -> None:
    build(find_source("kitchen"), None, None, tmp_path, limit=1, first=20000, progress=False)
    (record,) = Records(tmp_path)
    assert record.id == "train-20000"
    assert (tmp_path / "images" / "train-020000.jpg").is_file()
