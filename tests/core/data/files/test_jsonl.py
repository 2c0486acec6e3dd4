"""JSON lines: every error names file and line; one bad or endless line does not fill memory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from finetop.core.data import sources
from finetop.core.data.files import Place, _text, read_rows, stream_rows
from finetop.core.data.formats import Conversation
from finetop.core.errors import BadInput
from finetop.core.recipe.schema import Source

GOOD = b'{"prompt": "a", "completion": "b"}'

FAULTS = {
    "empty": (b"", "faq.jsonl: has no rows."),
    "blank lines": (b"\n  \n\n", "faq.jsonl: has no rows."),
    "cut short": (GOOD + b"\n" + GOOD[:-4], "faq.jsonl:2: is not JSON"),
    "trailing comma": (GOOD + b",\n", "faq.jsonl:1: is not JSON: trailing characters"),
    "two on a line": (GOOD + GOOD, "faq.jsonl:1: is not JSON: trailing characters"),
    "one document": (b'[\n{"a": 1}\n]', "faq.jsonl:1: is not JSON: "),
    "list": (b"[1]", "faq.jsonl:1: is a list, not an object."),
    "text": (b'"a"', "faq.jsonl:1: is a single value, not an object."),
    "null": (b"null", "faq.jsonl:1: is a single value"),
    "nan": (b'{"a": NaN}', "faq.jsonl:1: is not JSON"),
    "infinite": (b'{"a": 1e999}', "faq.jsonl:1: is not JSON"),
    "single quotes": (b"{'a': 1}", "faq.jsonl:1: is not JSON"),
    "not utf-8": (
        GOOD + b'\n{"a": "\xff"}',
        "faq.jsonl:2: is not UTF-8 text; it may be Windows cp1252. Make it",
    ),
    "utf-16": ('{"a": 1}'.encode("utf-16"), "faq.jsonl: is UTF-16 text. Make it UTF-8: iconv -f utf-16"),
    "gzip": (b"\x1f\x8b\x08" + b"x" * 40, "faq.jsonl: is a damaged gzip file: "),
    "parquet": (b"PAR1" + b"\0" * 40, "faq.jsonl: is not a Parquet file, or is damaged: "),
    "zstd": (
        b"\x28\xb5\x2f\xfd" + b"x" * 40,
        "faq.jsonl: is compressed with zstd. Unpack it: zstd -d faq.jsonl",
    ),
    "a list of rows": (
        b'[{"a": 1}]',
        "faq.jsonl:1: is a list, not an object. This looks like one JSON document",
    ),
    "half a pair": (b'{"a": "\\ud800"}', "faq.jsonl:1: is not JSON"),
    "deep": (b'{"a": ' + b"[" * 100_000, "faq.jsonl:1: is nested too deeply."),
    "deep, closed": (b'{"a": ' + b"[" * 960 + b"]" * 960 + b"}", "faq.jsonl:1: is nested too deeply."),
    "nul": (b"\0" * 100, "faq.jsonl:1: is binary, not text."),
    "after blank lines": (b"\n\n" + GOOD + b"\n\n{", "faq.jsonl:5: is not JSON"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_names_file_and_line(name: str, tmp_path: Path) -> None:
    content, said = FAULTS[name]
    (tmp_path / "faq.jsonl").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_rows(tmp_path / "faq.jsonl")
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(said)
    assert str(caught.value).isprintable()


def test_a_document_over_lines_is_read_once_its_name_is_the_one_that_is_advised(tmp_path: Path) -> None:
    (tmp_path / "faq.jsonl").write_bytes(b'[\n{"a": 1}\n]')
    with pytest.raises(BadInput, match=r"mv faq\.jsonl faq\.json") as caught:
        read_rows(tmp_path / "faq.jsonl")
    command = caught.value.hint.partition("(")[2].partition(")")[0]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert read_rows(tmp_path / "faq.json") == [{"a": 1}]


def test_reads_rows_with_their_lines_the_longest_too_and_none_without_end(tmp_path, monkeypatch):
    path = tmp_path / "faq.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n" + b'{"a": "\xc3\xa9"}')
    assert list(stream_rows(path)) == [
        (Place("faq.jsonl", 1), {"prompt": "a", "completion": "b"}),
        (Place("faq.jsonl", 3), {"a": "é"}),
    ]
    assert read_rows(path, limit=1) == [{"prompt": "a", "completion": "b"}]
    with path.open("wb") as file:
        file.write(GOOD + b"\n")
        file.truncate(100 * 2**20)  # one line of 100 MB of zeros, sparse on disk
    rows = stream_rows(path)
    assert str(next(rows)[0]) == "faq.jsonl:1"
    with pytest.raises(BadInput, match=r"faq\.jsonl:2: the line is longer than 8 MiB\."):
        next(rows)
    monkeypatch.setattr(_text, "MAX_BYTES", len(GOOD) + 1)
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"\n" + GOOD + b"\n")
    assert len(read_rows(tmp_path / "a.jsonl")) == 2
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"  \n")
    with pytest.raises(BadInput, match="longer than"):
        read_rows(tmp_path / "a.jsonl")


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").mkdir()
    for path, said in (
        (tmp_path / "none.jsonl", "no such file"),
        (tmp_path / "empty", "is a folder without files"),
        (tmp_path / "fifo", "not a file"),
        (Path("/dev/zero"), "not a file"),
        (Path("a\0b"), "cannot be read"),
    ):
        with pytest.raises(BadInput, match=said):
            read_rows(path)


def read_conversations(path: Path, limit: int | None = None) -> list[Conversation]:
    return [row.conversation for row in sources.read(Source(path=str(path), rows=limit), None)]


def test_auto_takes_the_format_of_the_first_row_for_all(tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    path.write_bytes(GOOD + b"\n" + GOOD + b"\n")
    assert [conversation.answer for conversation in read_conversations(path)] == ["b", "b"]
    path.write_bytes(GOOD + b'\n\n{"messages": []}\n')
    with pytest.raises(BadInput, match=r"^faq\.jsonl:3: prompt is missing\."):
        read_conversations(path)
    assert len(read_conversations(path, limit=1)) == 1
    path.write_bytes(b'{"id": 1, "question": "a"}')
    why = r"faq\.jsonl:1: no format fits a row with id, question\..* columns: \{prompt"
    with pytest.raises(BadInput, match=why):
        read_conversations(path)
