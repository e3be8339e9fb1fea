"""Passages: where a note is parted, and which line each piece is on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros.knowledge.passages import MAX_PASSAGE_CHARS, Passage, passages_of

NOTE = """\ufeff# Fridge

Opens from the left.
Its lamp is broken.

Cold
----
- shelves: four
- To defrost it:

  1. unplug it
  2. open it

More.
""".lstrip("\ufeff")


def lines(text: str, *, markdown: bool = True) -> list[tuple[int, str, str]]:
    found = passages_of(text, "a.md", markdown=markdown)
    return [(one.line, one.heading, one.text.split("\n")[0]) for one in found]


def test_paragraphs_headings_and_items_part_a_note() -> None:
    assert lines(NOTE) == [
        (3, "Fridge", "Opens from the left."),
        (8, "Cold", "- shelves: four"),
        (9, "Cold", "- To defrost it:"),
        (14, "Cold", "More."),
    ]
    whole = list(passages_of(NOTE, "a.md", markdown=True))
    assert whole[2].text.endswith("  2. open it")
    # Plain text has no headings.
    assert lines("# a\nb", markdown=False) == [(1, "", "# a")]


def test_a_place_names_file_page_and_line() -> None:
    assert Passage("a/b.md", 3, "x").place(2) == "a/b.md:5"
    assert Passage("m.pdf", 1, "x", page=7).place() == "m.pdf:p7:1"


def test_what_no_reader_sees_leaves_a_passage() -> None:
    (only,) = passages_of("op\u200ben\x1b[31m the\x00 door\r\nnow", "a.txt", markdown=False)
    assert only.text == "op en [31m the  door\nnow"
    assert only.shown == "op en [31m the door now"


@given(st.text(alphabet="ab \n#-:1.\t\r", max_size=3000))
def test_pieces_are_bounded_and_lose_no_letter(text: str) -> None:
    found = list(passages_of(text, "a.txt", markdown=False))
    assert all(len(one.text) <= MAX_PASSAGE_CHARS + 1 for one in found)
    assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for one in found:
        assert one.text.split("\n")[0] in rows[one.line - 1]
