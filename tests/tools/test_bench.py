"""`chatspot bench`: what it measures, and the table of machines."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatspot_ros.engine.engine_config import EngineConfig
from chatspot_ros.errors import ModelError
from chatspot_ros.tools import bench_run
from chatspot_ros.tools.bench import main
from chatspot_ros.tools.bench_run import Measured, measure, questions
from chatspot_ros.tools.boards import COLUMNS, machine_name, processor_name, put_row, row_cells

MEASURED = Measured(
    device="cpu", dtype="float32", threads=2, load_s=1.26, first_token_s=0.5,
    next_first_token_s=0.125, tokens_per_s=33.33,
    regions_per_s={1: 2.0, 4: 6.0, 16: 12.0, 64: None},
    peak_rss_bytes=1_234_000_000, peak_device_bytes=None,
)  # fmt: skip


class Engine:
    """Takes 20 ms to see a picture, 5 ms for a token of all answers, by a clock of its own; has
    memory for 16 regions."""

    device, dtype = "cpu", "torch.float32"
    name = "scripted"

    def __init__(self) -> None:
        self.pictures: list[bytes] = []
        self.now_s = 0.0

    def prepare(self, image_rgb: Any) -> Any:
        self.pictures.append(image_rgb.tobytes())
        self.now_s += 0.02
        return object()

    def answer_many(self, scene: Any, asked: Any, *_: Any) -> Any:
        if len(asked) > 16:
            raise ModelError("out of memory", value=len(asked), remedy="ask fewer")
        tokens = asked[0].max_new_tokens
        self.now_s += 0.005 * tokens
        return [SimpleNamespace(tokens=tokens) for _ in asked]


def test_times_are_of_what_their_names_say(monkeypatch: Any) -> None:
    engine = Engine()
    monkeypatch.setattr(bench_run, "load_engine", lambda config: engine)
    monkeypatch.setattr(bench_run, "time", SimpleNamespace(perf_counter=lambda: engine.now_s))
    told: list[str] = []
    found = measure(EngineConfig(), repeats=2, counts=(1, 16, 17), tell=told.append)
    assert found.first_token_s == pytest.approx(0.025)
    assert found.next_first_token_s == pytest.approx(0.005)
    assert found.tokens_per_s == pytest.approx(200)
    each_s = 0.02 + 24 * 0.005
    assert found.regions_per_s == pytest.approx({1: 1 / each_s, 16: 16 / each_s, 17: None})
    assert found.peak_rss_bytes > 10_000_000
    assert len(set(engine.pictures)) == len(engine.pictures), "no picture twice"
    assert told[0] == "loading"
    assert told[-1] == "17 regions"


def test_questions_are_about_boxes_inside_a_picture_of_any_size() -> None:
    for size_wh in ((640, 480), (64, 64), (3840, 100)):
        asked = questions(64, size_wh)
        assert len({one.regions for one in asked}) == 64
        for one in asked:
            x1, y1, x2, y2 = one.regions[0].box_xyxy_px
            assert 0 <= x1 < x2 <= size_wh[0]
            assert 0 <= y1 < y2 <= size_wh[1]


def test_the_bundled_model_is_measured(root: Path, tmp_path: Path, capsys: Any) -> None:
    table = Path(shutil.copy(root / "docs/boards.md", tmp_path))
    arguments = ["--repeats", "1", "--threads", "1", "--regions", "1,2", "--json"]
    named = ["--machine", "a test", "--note", "busy | slow"]
    assert main([*arguments, "--row", str(table), *named]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dtype"] == "float32"
    assert told["regions_per_s"].keys() == {"1", "2"}
    assert all(told["regions_per_s"].values())
    assert min(told[name] for name in ("load_s", "first_token_s", "next_first_token_s")) > 0
    (row,) = (line for line in table.read_text().splitlines() if line.startswith("| a test |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == len(COLUMNS)
    assert cells == list(told["row"].values())
    assert cells[2] == "chatspot-tiny"
    assert cells[-1].endswith("busy / slow")


def test_a_row_replaces_that_of_the_same_machine_and_model(root: Path, tmp_path: Path) -> None:
    table = Path(shutil.copy(root / "docs/boards.md", tmp_path))
    before = table.read_text().splitlines()
    header = next(line for line in before if line.startswith("| machine"))
    assert [cell.strip() for cell in header.strip("|").split("|")] == list(COLUMNS)
    cells = row_cells(MEASURED, model="m", machine="board", note="")
    put_row(table, cells)
    put_row(table, [*cells[:5], "9.9 s", *cells[6:]])
    put_row(table, [cells[0], cells[1], "other", *cells[3:]])
    lines = table.read_text().splitlines()
    assert len(lines) == len(before) + 2
    rows = [line for line in lines if line.startswith("| board |")]
    assert len(rows) == 2
    assert "9.9 s" in rows[0]
    # One table: nothing is between its rule and its rows.
    block = lines[lines.index(header) : lines.index("<!-- rows -->")]
    assert all(line.startswith("|") for line in block)
    assert re.search(r"1\.23 GB \| 0\.500 s \| 0\.125 s \| 33\.3 \| 2 \| 6 \| 12 \| - \|", rows[0])


def test_a_file_without_the_table_is_refused(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("chatspot_ros.tools.bench.measure", lambda *_, **__: MEASURED)
    (tmp_path / "notes.md").write_text("mine\n")
    for name in ("notes.md", "gone.md"):
        assert main(["--row", str(tmp_path / name)]) == 1
        assert "no table" in capsys.readouterr().err
    assert (tmp_path / "notes.md").read_text() == "mine\n"
    assert main(["--row"]) == 0
    assert capsys.readouterr().out.count("|") == len(COLUMNS) + 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--regions", "0"], "1 to 1024"),
        (["--regions", "a"], "give numbers"),
        (["--repeats", "0"], "1 or more"),
        (["--threads", "-1"], "0 or more"),
    ],
)
def test_wrong_options_are_said(capsys: Any, arguments: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_model_that_is_not_there_is_said(capsys: Any) -> None:
    assert main(["--model", "nothing-of-this-name"]) == 1
    assert "nothing-of-this-name" in capsys.readouterr().err


def test_machines_are_called_what_they_call_themselves(tmp_path: Path) -> None:
    jetson, pc = tmp_path / "model", tmp_path / "product"
    pc.write_text("NUC13\n")
    assert machine_name((jetson, pc)) == "NUC13"
    jetson.write_bytes(b"NVIDIA Jetson AGX Orin\0")
    assert machine_name((jetson, pc)) == "NVIDIA Jetson AGX Orin"
    assert "Linux" in machine_name((tmp_path / "none",))
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Some CPU\n")
    assert processor_name("cpu", 1, info).startswith("Some CPU, 1 thread of")
    assert "2 threads" in processor_name("cpu", 2, tmp_path / "none")
