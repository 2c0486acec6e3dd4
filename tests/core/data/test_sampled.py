"""How many rows a large source has, estimated from a part of it, for every file type."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from finetop.core.data import sampled
from finetop.core.recipe.schema import Source
from finetop.core.runtime.home import Home

ROWS = 3000
COLUMNS = {"prompt": "q", "completion": "a"}


def rows() -> list[dict[str, str]]:
    drawn = random.Random(7)
    words = ["the", "shop", "opens", "at", "nine", "and", "closes", "at", "six"]
    words += ["we", "mend", "radios", "lamps", "clocks"]
    return [
        {"q": f"{i}: {' '.join(drawn.choices(words, k=8))}?", "a": " ".join(drawn.choices(words, k=12)), "no": "x" * 40}
        for i in range(ROWS)
    ]  # fmt: skip


def write(folder: Path, name: str) -> Path:
    """Write the rows as a file of the type that its name shows."""
    file, made = folder / name, rows()
    if name.endswith(".parquet"):
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(made), file)
        return file
    text = io.StringIO()
    if ".csv" in name:
        writer = csv.DictWriter(text, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    else:
        text.write("\n".join(map(json.dumps, made)) if ".jsonl" in name else json.dumps(made))
    content = text.getvalue().encode()
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return file


def read(path: Path, home: Path, **settings: Any) -> sampled.Part:
    return sampled.read(Source(path=str(path), columns=COLUMNS, **settings), Home(home), ("conversation",))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled, "WHOLE_BYTES", 8000)
    monkeypatch.setattr(sampled, "PACKED_BYTES", 1000)
    monkeypatch.setattr(sampled, "FIRST", 1500)
    monkeypatch.setattr(sampled, "PLACES", 8)  # far apart in a large file
    monkeypatch.setattr(sampled, "PLACE_BYTES", 8000)
    monkeypatch.setattr("finetop.core.data.files.json.CHUNK", 4096)


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.json", "r.json.gz", "r.jsonl.gz", "r.parquet"])
def test_the_rest_of_a_file_is_counted_by_the_bytes_that_its_first_rows_took(tmp_path, name):
    part = read(write(tmp_path, name), tmp_path)
    assert len(part.rows) == 1500
    if name.endswith(".parquet"):
        assert (part.of, part.variance) == (ROWS, 0.0)  # the file records its number of rows
        return
    assert part.variance > 0
    # A file is read ahead of its rows by a buffer.
    assert part.of == pytest.approx(ROWS, rel=0.35)


def test_files_of_a_folder_that_are_read_count_whole(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.csv", "b.csv", "c.csv"):
        write(folder, name)
    assert read(folder, tmp_path).of == pytest.approx(3 * ROWS, rel=0.2)
    whole = read(folder, tmp_path, rows=1400)
    assert (len(whole.rows), whole.of) == (1400, 1400)
    assert read(folder, tmp_path, rows=2000).of == 2000  # more than are read


def test_lines_are_read_from_all_over_a_file_and_named_by_where_they_begin(tmp_path):
    part = read(write(tmp_path, "r.jsonl"), tmp_path)
    assert part.of == pytest.approx(ROWS, rel=0.05)
    assert part.rows[0].place.startswith("r.jsonl, at byte 0")
