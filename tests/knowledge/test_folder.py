"""A folder of notes: what is read, what is left out and said, and when it is read again."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from chatspot_ros.knowledge import files, folder, pdf_program
from chatspot_ros.knowledge.files import NotesError
from chatspot_ros.knowledge.folder import NotesFolder
from chatspot_ros.knowledge.index import NoteIndex


def pdf_of(*lines: str) -> bytes:
    """Return a PDF of one page with these lines."""
    text = "BT /F1 12 Tf 50 700 Td 14 TL " + " ".join(f"({one}) Tj T*" for one in lines) + " ET"
    parts = [
        "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 5 0 R/Resources<</Font<</F1 4 0 "
        "R>>>>>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        f"<</Length {len(text)}>>stream\n{text}\nendstream",
    ]  # fmt: skip
    body, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        places.append(len(body))
        body += f"{number} 0 obj{part}endobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    return (
        body
        + (
            f"xref\n0 6\n0000000000 65535 f \n{table}trailer<</Size 6/Root 1 0 R>>\n"
            f"startxref\n{len(body)}\n%%EOF\n"
        ).encode()
    )


def names(index: NoteIndex) -> set[str]:
    return {one.file for one in index.passages}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    root = tmp_path / "notes"
    root.mkdir()
    (root / "fridge.md").write_text("# Fridge\n\nOpens from the left.")
    return root


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for changes at every question, however soon; wait for them."""
    monkeypatch.setattr(NotesFolder, "_wait_s", 60.0)
    monkeypatch.setattr(folder, "LOOK_AGAIN_S", 0.0)


def test_markdown_text_and_pdf_are_read(notes: Path) -> None:
    (notes / "below").mkdir()
    (notes / "below" / "tap.TXT").write_bytes("\ufeffThe tap, größer".encode())
    (notes / "manual.pdf").write_bytes(pdf_of("Gas stove.", "To test the stove: turn on the stove"))
    (notes / "picture.png").write_bytes(b"no note")
    (notes / ".hidden.md").write_text("no note")
    index = NotesFolder(str(notes)).index()
    assert names(index) == {"fridge.md", "below/tap.TXT", "manual.pdf"}
    assert index.search("How is the stove tested?")[0].passage.place() == "manual.pdf:p1:1"
    assert [rule.source for rule in index.rules] == ["manual.pdf:p1:2"]
    assert index.search("größer")[0].passage.text == "The tap, größer"


def test_hostile_files_are_left_out_and_named(
    notes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret.md").write_text("secret")
    (notes / "link.md").symlink_to(tmp_path / "secret.md")
    (notes / "loop.md").symlink_to(notes / "loop.md")
    (notes / "out").symlink_to(tmp_path)
    (notes / "inside.md").symlink_to(notes / "fridge.md")
    os.mkfifo(notes / "pipe.md")
    (notes / "binary.md").write_bytes(bytes(range(256)))
    (notes / "latin.txt").write_bytes("größer".encode("latin-1"))
    (notes / "huge.txt").write_bytes(b"a" * (files.MAX_TEXT_BYTES + 1))
    (notes / "broken.pdf").write_bytes(pdf_of("x")[:200])
    (notes / "none.pdf").write_bytes(b"")
    (notes / "line\nbreak.md").write_text("fine")
    with caplog.at_level(logging.WARNING):
        index = NotesFolder(str(notes)).index()
    assert names(index) == {"fridge.md", "inside.md", "line\\nbreak.md"}
    said = caplog.text
    for name in ("link.md", "loop.md", "pipe.md", "binary.md", "latin.txt", "huge.txt",
                 "broken.pdf", "none.pdf"):  # fmt: skip
        assert name in said
    assert "secret" not in {one.text for one in index.passages}


def test_a_changed_folder_is_read_again_and_an_unchanged_one_is_not(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = NotesFolder(str(notes))
    first = watched.index()
    assert watched.index() is first
    read: list[str] = []
    whole = folder.read_text
    monkeypatch.setattr(folder, "read_text", lambda file: (read.append(file.name), whole(file))[1])
    (notes / "tap.md").write_text("The tap")
    assert names(watched.index()) == {"fridge.md", "tap.md"}
    assert read == ["tap.md"]
    (notes / "fridge.md").write_text("Other words")
    assert watched.index().search("words")
    (notes / "tap.md").unlink()
    assert names(watched.index()) == {"fridge.md"}


def test_a_folder_that_goes_is_an_error_until_it_comes_back(notes: Path) -> None:
    watched = NotesFolder(str(notes))
    watched.index()
    moved = notes.rename(notes.with_name("elsewhere"))
    with pytest.raises(NotesError, match="cannot be read"):
        watched.index()
    moved.rename(notes)
    assert names(watched.index()) == {"fridge.md"}
    with pytest.raises(NotesError, match="Not a directory"):
        NotesFolder(str(notes / "fridge.md")).index()


def test_notes_none_of_which_can_be_read_are_an_error(notes: Path) -> None:
    (notes / "fridge.md").write_bytes(b"\xff\xfe")
    with pytest.raises(NotesError, match="none of the notes"):
        NotesFolder(str(notes)).index()
    (notes / "fridge.md").unlink()
    assert NotesFolder(str(notes)).index().passages == ()


def test_the_index_is_bounded(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_PASSAGES", 5)
    (notes / "many.txt").write_text("\n\n".join(f"word{k}" for k in range(100)))
    assert len(NotesFolder(str(notes)).index().passages) == 5
    monkeypatch.setattr(files, "MAX_FILES", 1)
    assert names(NotesFolder(str(notes)).index()) == {"fridge.md"}


def test_a_question_goes_on_while_a_slow_file_is_read(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = NotesFolder(str(notes))
    first = watched.index()
    (notes / "slow.pdf").write_bytes(pdf_of("slow"))
    monkeypatch.setattr(NotesFolder, "_wait_s", 0.0)
    assert watched.index() is first
    with pytest.raises(KeyError):  # what a cancelled question raises goes through
        NotesFolder(str(notes)).index(lambda: {}["cancelled"])


def test_a_pdf_that_takes_too_long_is_ended(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = notes.parent / "program.py"
    source = Path(pdf_program.__file__).read_text()
    slow = source.replace("from pypdf import PdfReader", "while True: pass")
    program.write_text(slow.replace("SECONDS = 30.0", "SECONDS = 0.2"))
    monkeypatch.setattr("chatspot_ros.knowledge.pdf._PROGRAM", program)
    (notes / "endless.pdf").write_bytes(pdf_of("x"))
    began_s = time.monotonic()
    assert names(NotesFolder(str(notes)).index()) == {"fridge.md"}
    assert time.monotonic() - began_s < 30
