"""What becomes of the node, of reports and of bags where there is no room, or no right to write."""

from __future__ import annotations

import resource
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2 import StoragePlugin

from chatspot_ros.tools.bags import Bag, BagError
from chatspot_ros.util.atomic_write import OutputError, write_whole

FULL = Path("/dev/full")
FAKE_NODE = str(Path(__file__).with_name("faulty_node.py"))
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Files cannot grow further than this, as on a disk that is full then; Linux, no root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores the signal that comes with it, so that writing fails.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, "old ä")
    path.chmod(0o640)
    with files_of_at_most(1000), pytest.raises(OutputError, match=r"too large.*report\.json"):
        write_whole(path, "new " * 1000)
    assert path.read_text(encoding="utf-8") == "old ä"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["missing/report.json", "file/report.json", "."])
def test_where_no_file_can_be_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(OutputError, match=r"cannot be written.*make room, or name a file"):
        write_whole(tmp_path / name, "text")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "report.json", tmp_path / "newest.json"
    path.write_text("old")
    link.symlink_to(path)
    write_whole(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_a_replay_is_told_in_each_way_that_works(
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from recorded import ANSWERS, IMAGE, FakeEngine, answer, asked, box, picture

    from chatspot_ros.tools import replay

    monkeypatch.setattr("chatspot_ros.server.engine_factory.load_engine", lambda _: FakeEngine())
    bag = write((IMAGE, picture(1)), (ANSWERS, asked(1, "one", answer("one", box(1, 2, 30, 40)))))
    page = tmp_path / "page.html"
    reports = ("--json", str(FULL), "--html", str(page))
    assert replay.main([str(bag), "--model", "new", *reports]) == 2
    told = capsys.readouterr()
    assert "1 same, 0 different" in told.out
    assert "No space left on device (got /dev/full)" in told.err
    assert "1 answers the same" in page.read_text()


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_a_bag_that_the_disk_had_no_room_for_is_named(
    write: Callable[..., Path], tmp_path: Path, storage: StoragePlugin
) -> None:
    from recorded import IMAGE, picture

    entries = [(IMAGE, picture(sec)) for sec in range(1, 30)]
    failures = (OSError, sqlite3.Error)
    with files_of_at_most(100_000), pytest.raises(failures):
        write(*entries, storage=storage)
    (path,) = tmp_path.iterdir()
    with pytest.raises(BagError, match=r"cannot be read.*ros2 bag reindex"):
        Bag(path, path)


def test_the_node_answers_where_its_log_has_no_room(
    spawn: Any, ros_node: Any, make_world: Any
) -> None:
    arguments = ("--ros-args", "-r", "__ns:=/full", "-p", "max_image_age:=600.0")
    # Both of its logs: what it prints, and the file of ROS. Shared memory is made of files too.
    process = spawn(
        *("bash", "-c", 'ulimit -f 1; exec "$0" "$@" > /dev/full 2>&1'),
        *(sys.executable, FAKE_NODE, *arguments),
        env={"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"},
    )
    world = make_world(ros_node, process, "/full")
    world.wait_for_node()
    stamp = world.publish_frame()
    for _ in range(20):
        assert world.ask("what", stamp=stamp).name == "OK"
    assert world.ask("break", stamp=stamp).name == "MODEL_ERROR"
    assert world.ask("what", stamp=stamp).name == "OK"
    assert process.stop() == 0
