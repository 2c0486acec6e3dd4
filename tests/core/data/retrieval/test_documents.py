"""Which documents are read, and that each unusable one gets one line with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finetop.core.data.retrieval import documents
from finetop.core.data.retrieval.documents import Document
from finetop.core.errors import BadInput


def read(*named: Path) -> tuple[list[Document], list[str]]:
    listing = documents.find([str(path) for path in named])
    passed_over = list(listing.passed_over)
    found = [document for file in listing.files for document in documents.read(file, passed_over)]
    return found, passed_over


def test_a_folder_is_read_with_all_below_it(tmp_path: Path) -> None:
    manuals = tmp_path / "manuals"
    (manuals / "tents").mkdir(parents=True)
    (manuals / "tents" / "dome.md").write_text("# Dome\n\nTwo doors.\n")
    (manuals / "notes.txt").write_text("Tents are dry.\n")
    (manuals / "README").write_text("All manuals.\n")
    (manuals / ".git").mkdir()
    (manuals / ".git" / "config.txt").write_text("hidden\n")
    (manuals / ".draft.md").write_text("hidden\n")
    found, passed_over = read(manuals)
    assert [one.source for one in found] == ["manuals/README", "manuals/notes.txt", "manuals/tents/dome.md"]
    assert passed_over == []


def test_a_row_of_json_lines_is_a_document_and_a_bad_row_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "kb.jsonl").write_text('{"text": "Two doors.", "title": "Dome"}\n\n{"content": "Dry."}\n')
    found, passed_over = read(tmp_path / "kb.jsonl")
    assert [(one.line, one.title, one.text) for one in found] == [(1, "Dome", "Two doors."), (3, "", "Dry.")]
    assert passed_over == []
    (tmp_path / "kb.jsonl").write_text('{"text": "one"}\n{oops\n{"text": "three"}\n')
    found, passed_over = read(tmp_path / "kb.jsonl")
    assert [one.text for one in found] == ["one", "three"]
    assert passed_over == ["kb.jsonl:2: is not JSON: object keys must be strings (byte 1)."]


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.json", '["one", {"text": "two"}]', ["one", "two"]),
        ("a.json", '{"text": "one"}', ["one"]),
        ("a.json", '{"Dome": "Two doors.", "Arch": "One door."}', ["Two doors.", "One door."]),
        ("a.csv", "text,id\n\"one, two\",7\n", ["one, two"]),
        ("a.csv", "question,answer\nHow many doors?,Two\n", ["question: How many doors?\nanswer: Two"]),
        ("a.tsv", "title\ttext\nDome\tTwo doors.\n", ["Two doors."]),
        ("a.html", "<title>T</title><style>p{}</style><h2>Dome</h2><p>Two\n doors &amp; more</p>",
         ["## Dome\n\nTwo doors & more"]),
        ("a.html", "<ul><li>one</li><li>two</li></ul><script>x</script>", ["- one\n- two"]),
        ("a.md", "![](data:image/png;base64," + "A" * 50_000 + ")\nA dome.", ["![]()\nA dome."]),
        ("a.txt", "\ufeffone", ["one"]),
    ],
    ids=range(10),  # a text of 10 MB is no test id
)  # fmt: skip
def test_shapes(tmp_path: Path, name: str, content: str, texts: list[str]) -> None:
    (tmp_path / name).write_text(content)
    found, passed_over = read(tmp_path / name)
    assert [one.text for one in found] == texts
    assert passed_over == []


def test_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Zelt für zwei".encode("utf-16"))
    (tmp_path / "b.html").write_bytes('<meta charset="iso-8859-1"><p>Zelt für zwei'.encode("latin-1"))
    found, _ = read(tmp_path)
    assert [one.text for one in found] == ["Zelt für zwei"] * 2


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.txt", b"", "a.txt: is empty."),
        ("a.txt", b" \n\n", "a.txt: is empty."),
        ("a.html", b"<style>p{}</style>", "a.html: has no text."),
        ("a.csv", b"text\n", "a.csv: has no text."),
        ("a.txt", b"ab\0cd", "a.txt: is binary. Save it as text."),
        ("a.txt", b"%PDF-1.7 \xff", "a.txt: is a PDF. Make it text, with pdftotext."),
        ("a.txt", b"one\nf\xfcr", "a.txt:2: is not UTF-8 text. Save the file as UTF-8."),
        ("a.txt", b"one\n" + b"x " * 5_000_000,
         "a.txt:2: the line is longer than 8 MiB. Break it into paragraphs."),
        ("a.txt", b"one\n\n" + b"x" * 1_000_000,
         "a.txt:3: has a word of 1,000,000 characters: that is not human-written text."),
        ("a.jsonl", b'{"text": "' + b"x " * 5_000_000 + b'"}', "a.jsonl:1: the line is longer than 8 MiB."),
        ("a.jsonl", b'{"question": "why?"}\n',
         "a.jsonl:1: has no text (text, content, body, passage, page_content)."),
        ("a.jsonl", b"{oops\n[]\n",
         "a.jsonl:1: is not JSON: object keys must be strings (byte 1); 2 of 2 rows can't be used."),
        ("a.json", b"{oops", "a.json: is not JSON: object keys must be strings (byte 1)."),
        ("a.json", b"[" * 100_000, "a.json: is nested too deeply."),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_cannot_be_used_is_one_line(tmp_path: Path, name: str, content: bytes, line: str) -> None:
    (tmp_path / name).write_bytes(content)
    found, passed_over = read(tmp_path / name)
    assert found == []
    assert passed_over == [line]


def test_files_that_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    os.mkfifo(folder / "pipe.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.txt").symlink_to(tmp_path / "nowhere")
    (folder / "one.md").write_text("A dome.")
    (folder / "same.md").symlink_to(folder / "one.md")
    for name in ("a.png", "b.png", "c.pdf"):
        (folder / name).write_bytes(b"\0")
    found, passed_over = read(folder)
    assert [one.source for one in found] == ["docs/one.md"]
    assert passed_over == [
        "docs/gone.txt: cannot be read: no such file or directory.",
        "docs/pipe.txt: cannot be read: not a file.",
        "docs: 2 .png files: this file type is not supported. Save it as text.",
        "docs/c.pdf: this file type is not supported. Make it text, with pdftotext.",
    ]


def test_a_hostile_name_is_made_safe_and_one_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\n.txt").write_text("")
    _, passed_over = read(tmp_path)
    assert len(passed_over) == 1
    assert "\x1b" not in passed_over[0] and "\n" not in passed_over[0]
    with pytest.raises(BadInput, match=r"documents: .*nowhere: no such file or directory\. Check the path\."):
        documents.find([str(tmp_path / "nowhere")])
