"""Files of rows: each type, compressed or not, folders and patterns, odd real-world files; errors name the fix."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetop.core.data import files, sources
from finetop.core.data.files import _text, entries, read_rows, stream_rows
from finetop.core.data.formats import Message, Prompt
from finetop.core.errors import BadData, BadInput
from finetop.core.recipe.schema import Source

ROWS: list[dict[str, Any]] = [
    {"prompt": "Hi, you?", "completion": 'A "b"\nc'},
    {"prompt": "ü", "completion": "d"},
]
TABLE = 'prompt,completion\n"Hi, you?","A ""b""\nc"\nü,d\n'
FILES: dict[str, bytes] = {
    "a.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "a.ndjson": "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode(),
    "marked.jsonl": b"\xef\xbb\xbf" + "\n".join(map(json.dumps, ROWS)).encode(),
    "a.json": json.dumps(ROWS).encode(),
    "pretty.json": b"\xef\xbb\xbf" + json.dumps(ROWS, indent=2).encode(),
    "within.json": json.dumps({"version": 1, "tags": ["a"], "data": ROWS}).encode(),
    "lines.json": "\n".join(map(json.dumps, ROWS)).encode(),
    "objects.json": "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
    "a.csv": TABLE.encode(),
    "excel.csv": b"\xef\xbb\xbf" + TABLE.replace(",", ";").replace("Hi;", "Hi,").replace("\n", "\r\n")
    .replace("\r\nc", "\nc").encode(),
    "wide.tsv": TABLE.replace("Hi,", "Hi;").replace(",", "\t").replace("Hi;", "Hi,").encode("utf-16"),
    "index.csv": ",prompt,completion\n0,\"Hi, you?\",\"A \"\"b\"\"\nc\"\n1,ü,d\n".encode(),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_each_type_says_the_same(name: str, packed: bool, tmp_path: Path) -> None:
    file = tmp_path / (name + ".gz" * packed)
    file.write_bytes(gzip.compress(FILES[name]) if packed else FILES[name])
    assert read_rows(file) == ROWS


def parquet_file(path: Path, columns: dict[str, list[Any]], **options: Any) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def test_parquet_is_read_by_batches_with_its_types(tmp_path: Path) -> None:
    import datetime
    import decimal

    turns = [{"role": "user", "content": "Hi"}]
    file = parquet_file(
        tmp_path / "a.parquet",
        {
            "text": ["a", None, "c"],
            "label": [1, 0, None],
            "score": [0.5, float("nan"), None],
            "good": [True, False, None],
            "messages": [turns, None, []],
            "day": [datetime.date(2026, 1, 2), None, None],
            "price": [decimal.Decimal("1.50"), None, None],
            "raw": [b"text", b"\xff\xd8", None],
        },
        row_group_size=2,
    )
    found = list(entries(file))
    assert [str(place) for place, _ in found] == ["a.parquet:1", "a.parquet:2", "a.parquet:3"]
    assert found[0][1] == {
        "text": "a", "label": 1, "score": 0.5, "good": True, "messages": turns, "day": "2026-01-02", "price": "1.50",
        "raw": "text",
    }  # fmt: skip
    assert read_rows(file)[1:] == [{"label": 0, "good": False}, {"text": "c", "messages": []}]
    packed = tmp_path / "a.parquet.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert read_rows(packed) == read_rows(file)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.markdown.gz"])
def test_a_text_is_one_row(name: str, tmp_path: Path) -> None:
    content = "# Über\r\n\r\nA line.\r\n".encode("utf-16" if name == "a.txt" else "utf-8")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_rows(tmp_path / name) == [{"text": "# Über\n\nA line."}]


FAULTS: dict[str, tuple[str, bytes, str]] = {
    "no header": ("a.csv", b"When is it open?,At nine.\nb,c\n", "a.csv:1: the first row is not a header: it has 'When"),
    "numbers first": ("a.csv", b"hello,1\nb,2\n", "a.csv:1: the first row is not a header: it has '1'. Add a first"),
    "a name twice": ("a.csv", b"a,b,a\n1,2,3\n", "a.csv:1: two columns are called 'a'. Rename one."),
    "no name": ("a.csv", b"a,,b\n1,2,3\n", "a.csv:1: column 2 has no name."),
    "header alone": ("a.csv", b"a,b\n", "a.csv: has no rows."),
    "too many cells": ("a.csv", b"a,b\n1,2\n3,4,5\n", "a.csv:3: has 3 cells, but there are 2 columns. Put cells that"),
    "an open quote": ("a.csv", b'a,b\n1,2\n"x,4\n5,6\n', "a.csv:3: a quote that opens in this row is never closed."),
    "a bare quote": ("a.csv", b'a,b\n"x" y,4\n', "a.csv:2: a quoted cell continues after its closing quote."),
    "latin": ("a.csv", b"a,b\nx,caf\xe9\n", "a.csv:2: is not UTF-8 text; it may be Windows cp1252. Make it UTF-8:"),
    "unknown bytes": ("a.csv", b"a,b\nx,\x81\xe9\n", "a.csv:2: is not UTF-8 text. Save the file as UTF-8."),
    "binary": ("a.csv", b"a,b\nx,\0\n", "a.csv:2: is binary, not text."),
    "excel": ("a.csv", b"PK\x03\x04", "a.csv: is a ZIP archive (.xlsx and .docx are, too). Unpack it, or save"),
    "wide json": ("a.json", '[{"a": 1}]'.encode("utf-16"), "a.json: is UTF-16 text. Make it UTF-8: iconv -f utf-16"),
    "cut array": ("a.json", b'[{"a": 1}, {"a": 2', "a.json:2: does not end."),
    "no end": ("a.json", b'[{"a": 1}, {"a": 2}', "a.json:2: is the last complete row."),
    "no comma": ("a.json", b'[{"a": 1} {"a": 2}]', "a.json:1: has no comma after it."),
    "NaN": ("a.json", b'[{"a": 1}, {"a": NaN}]', "a.json:2: is not JSON: "),
    "a list within": ("a.json", b'[{"a": 1}, [2]]', "a.json:2: is a list, not an object."),
    "a number": ("a.json", b"17", "a.json: is not a JSON list of rows."),
    "empty array": ("a.json", b"[]", "a.json: has no rows."),
    "deep": ("a.json", b'[{"a": ' + b"[" * 100_000, "a.json:1: is nested too deeply."),
    "not parquet": ("a.parquet", b"PAR1" + b"\0" * 40, "a.parquet: is not a Parquet file, or is damaged: "),
    "text as parquet": ("a.parquet", b"hello", "a.parquet: is not a Parquet file, or is damaged: "),
    "lines as text": ("a.txt", b'{"prompt": "a"}\n', "a.txt: holds JSON lines, not text. Rename it to .jsonl."),
    "latin text": ("a.md", b"one\ntwo \xe9\n", "a.md:2: is not UTF-8 text; it may be Windows cp1252"),
    "half packed": ("a.csv.gz", gzip.compress(b"a,b\n" + b"0123456789" * 99)[:-9], "a.csv.gz: is a damaged gzip file"),
    "not packed": ("a.jsonl.gz", b"\x1f\x8b\x08 x", "a.jsonl.gz: is a damaged gzip file: "),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_place_and_fix(fault: str, tmp_path: Path) -> None:
    name, content, said = FAULTS[fault]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData) as caught:
        read_rows(tmp_path / name)
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(said)
    assert str(caught.value).isprintable()


def test_a_row_that_is_wrong_leaves_the_others_and_a_long_text_is_cut_between_paragraphs(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n1,2\n3,4,5\n"x" y,1\n6,\n')
    found = [row if isinstance(row, dict) else str(row) for _, row in entries(tmp_path / "a.csv")]
    assert found[0] == {"a": "1", "b": "2"}
    assert [type(row) for row in found[1:3]] == [str, str]
    assert found[3] == {"a": "6", "b": None}
    assert read_rows(tmp_path / "a.csv", limit=1) == [{"a": "1", "b": "2"}]
    # a long text keeps every word
    paragraph = "word " * 20_000
    (tmp_path / "a.txt").write_text(f"{paragraph}\n\n" * 25)
    found = list(stream_rows(tmp_path / "a.txt"))
    assert [str(place) for place, _ in found] == ["a.txt:1", "a.txt:23", "a.txt:45"]
    assert "".join(row["text"] for _, row in found).split() == (paragraph * 25).split()


def test_the_command_for_an_old_encoding_makes_a_file_that_is_read(tmp_path: Path) -> None:
    for encoding in ("cp1252", "utf-16"):
        (tmp_path / "a.json").write_bytes('[{"a": "Café"}]'.encode(encoding))
        with pytest.raises(BadData) as caught:
            read_rows(tmp_path / "a.json")
        subprocess.run(caught.value.hint.partition(": ")[2], shell=True, check=True, cwd=tmp_path)
        assert read_rows(tmp_path / "a-utf8.json") == [{"a": "Café"}]


def test_a_folder_is_read_in_order_and_names_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "b.jsonl").write_text('{"a": 2}\n')
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a": 0}\n{"a": 1}\n'))
    for name in (".hidden.csv", "_SUCCESS", "b.jsonl.manifest.jsonl"):
        (folder / name).write_text("x")
    found = [(str(place), row["a"]) for place, row in stream_rows(folder)]
    assert found == [("parts/a.jsonl.gz:1", 0), ("parts/a.jsonl.gz:2", 1), ("parts/b.jsonl:1", 2)]
    assert [row["a"] for row in read_rows(folder / "*.gz")] == [0, 1]
    before = files.facts_of(folder)
    (folder / "c.jsonl").write_text('{"a": 3}\n')
    assert files.facts_of(folder).size > before.size


def test_an_empty_cell_is_missing_wherever_the_table_lies(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("prompt,answer\na,\n")
    for path in (folder, folder / "a.csv", folder / "a*"):
        assert read_rows(path) == [{"prompt": "a"}]
        (row,) = sources.read(Source(path=str(path)), None, ("prompt",))
        assert row.record == Prompt((Message("user", "a"),))
    (folder / "a.csv").rename(folder / "a.jsonl")
    (folder / "a.jsonl").write_text('{"prompt": "a", "answer": null}')
    assert read_rows(folder) == [{"prompt": "a", "answer": None}]


def test_the_advice_for_a_folder_of_several_types_is_a_path_that_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, content in {"README.md": "x", "a.json.gz": "[]", "a.csv": TABLE, "b.png": "x"}.items():
        (folder / name).write_text(content)
    (folder / "b.csv").write_text(TABLE)
    with pytest.raises(BadInput, match=r"several types: 2 \.csv, .*1 \.png") as caught:
        read_rows(folder)
    chosen = Path(caught.value.hint.partition("path: ")[2])
    assert read_rows(chosen) == ROWS * 2


def test_what_is_no_folder_of_rows_is_said(tmp_path: Path) -> None:
    (tmp_path / "within" / "deeper").mkdir(parents=True)
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "state.json").write_text("{}")
    for path, said in (
        (tmp_path / "within", r"is a folder without files\. There is deeper/"),
        (tmp_path / "*.csv", r"no file matches\. There is saved/, within/"),
        (saved, r"was written by save_to_disk\. Use id: .*saved"),
    ):
        with pytest.raises(BadInput, match=said):
            read_rows(path)


def test_a_document_that_is_larger_than_a_row_is_read_piece_by_piece(tmp_path, monkeypatch):
    from finetop.core.data.files import json as documents

    monkeypatch.setattr(_text, "MAX_BYTES", 200)
    monkeypatch.setattr(documents, "CHUNK", 16)
    rows = [{"a": number, "b": 'ü\\"[{' * (number % 7)} for number in range(60)]
    for whole in (rows, {"version": 3, "data": rows, "note": "x"}):
        (tmp_path / "a.json").write_text(json.dumps(whole, indent=1))
        assert read_rows(tmp_path / "a.json") == rows
    for few in (rows, rows[:1]):
        (tmp_path / "a.json").write_text(json.dumps({"train": few, "test": few}))
        with pytest.raises(BadData, match="has two lists of rows, train and test"):
            read_rows(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps([rows[0], {"a": "x" * 400}]))
    with pytest.raises(BadData, match=r"a\.json:2: the row is longer than"):
        read_rows(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.jsonl.gz", "a.parquet"])
def test_a_large_file_does_not_go_through_memory(name: str, tmp_path: Path) -> None:
    """Reading 100 MB does not take 100 MB of memory; measured in its own process."""
    row = {"prompt": "a" * 10_000, "completion": "b" * 10_000}
    count, file = 5000, tmp_path / name
    if name == "a.json":
        file.write_text(f"[{','.join([json.dumps(row)] * count)}]")
    elif name == "a.csv":
        file.write_text("prompt,completion\n" + f"{row['prompt']},{row['completion']}\n" * count)
    elif name == "a.jsonl.gz":
        file.write_bytes(gzip.compress(json.dumps(row).encode() + b"\n", 1) * count)
    else:
        columns = {key: [f"{number}{value}" for number in range(count)] for key, value in row.items()}
        parquet_file(file, columns, row_group_size=500, use_dictionary=False)
    code = (
        "import resource, sys; from pathlib import Path; from finetop.core.data import files\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "first = next(files.stream_rows(Path(sys.argv[1]))); before = most()\n"
        "print(sum(1 for _ in files.stream_rows(Path(sys.argv[1]))), most() - before)"
    )
    made = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    rows, grown_kib = map(int, made.stdout.split())
    assert rows == count
    assert grown_kib < 50_000


def test_listing_the_types_imports_no_arrow() -> None:
    code = (
        "import sys; from pathlib import Path; from finetop.core.data import files; files.type_of('a.parquet');"
        "assert 'parquet' in files._types().values(); print({'pyarrow', 'datasets', 'numpy'} & set(sys.modules))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "set()\n"
