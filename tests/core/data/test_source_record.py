"""What a file was made from, by the manifests that `finetop select` and `lint --fix` write beside it."""

import hashlib
import json

import pytest

from finetop.core.data import source_record, sources
from finetop.core.data.source_record import of_file, sha256_of
from finetop.core.features.data_versions import wording as data_versions
from finetop.core.features.data_versions.current_file import state_of
from finetop.core.protocol.data_diff import SourceRow
from finetop.core.recipe.schema import Source


def selected(source, to, by="difficulty", rows=2):
    to.write_bytes(b"".join(source.read_bytes().splitlines(keepends=True)[:rows]))
    first = {"path": str(source), "sha256": sha256_of(source), "rows": 4}
    facts = {"format": 1, "source": first, "by": by, "rows": rows, "sha256": sha256_of(to)}
    (to.parent / f"{to.stem}.manifest.json").write_text(json.dumps(facts))


def fixed(source, to):
    to.write_bytes(b"".join(source.read_bytes().splitlines(keepends=True)[:-1]))
    head = {"manifest": 1, "from": str(source), "from_sha256": sha256_of(source), "from_rows": 5}
    head |= {"to": str(to), "to_sha256": sha256_of(to), "rows": 4, "removed": 1, "fixed": 0}
    (to.parent / f"{to.name}.manifest.jsonl").write_text(json.dumps(head) + '\n{"line": 5}\n')


@pytest.fixture
def faq(tmp_path):
    path = tmp_path / "faq.jsonl"
    path.write_text("".join(f'{{"text": "row {i}"}}\n' for i in range(5)))
    return path


def test_a_selection_of_a_mended_file_is_told_back_to_the_first(faq, tmp_path):
    clean, few = tmp_path / "clean.jsonl", tmp_path / "few.jsonl"
    fixed(faq, clean)
    selected(clean, few)
    origin = of_file(few, sha256_of(few))
    assert sha256_of(few) == hashlib.sha256(few.read_bytes()).hexdigest()
    assert data_versions.origin_words(origin, 3) == (
        "selected from clean.jsonl v3 by difficulty, 2 of 4 rows;"
        " that was fixed from faq.jsonl by finetop lint --fix: 1 of 5 rows removed, 0 changed"
    )
    assert of_file(faq, sha256_of(faq)) is None


def test_a_manifest_that_can_not_be_is_as_if_there_were_none(faq, tmp_path):
    few, manifest = tmp_path / "few.jsonl", tmp_path / "few.manifest.json"
    selected(faq, few)
    below_zero = manifest.read_bytes().replace(b'"rows": 2', b'"rows": -7')
    for spoilt in (b"[]", b'{"source": {"path": 5}}', b"\xff\xfe", below_zero):
        manifest.write_bytes(spoilt)
        assert of_file(few, sha256_of(few)) is None
    manifest.unlink()
    assert of_file(few, sha256_of(few)) is None


def test_a_changed_file_has_no_origin_and_manifests_in_a_circle_end(faq, tmp_path):
    few = tmp_path / "few.jsonl"
    selected(faq, few)
    few.write_text(few.read_text() + '{"text": "one more"}\n')
    assert of_file(few, sha256_of(few)) is None
    few = tmp_path / "few.jsonl"
    selected(faq, few, rows=5)
    selected(few, faq, rows=5)
    assert of_file(few, sha256_of(few)) is not None


def test_a_folder_is_one_source_whose_content_and_bytes_change_with_its_files(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("prompt,completion\na,b\n")
    source = Source(path=str(folder))

    def read():
        seen = source_record.begin(source)
        sources.read(source, None, seen=seen)
        return source_record.record(source, "train", seen, None)

    first, again = read(), read()
    assert (first.content, first.sha256, first.size) == (again.content, again.sha256, again.size)
    (folder / "b.csv").write_text("prompt,completion\nc,d\n")
    more = read()
    assert (first.rows, more.rows) == (1, 2)
    assert first.content != more.content and first.sha256 != more.sha256 and first.size < more.size
    (folder / "a.csv").rename(folder / "c.csv")
    assert read().sha256 != more.sha256


def test_what_lies_in_a_table_now_is_held_against_what_was_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion,note\na,b,\n")
    seen = source_record.begin(Source(path=str(path)))
    sources.read(Source(path=str(path)), None, seen=seen)
    told = source_record.record(Source(path=str(path)), "train", seen, None)
    then = SourceRow("a.csv", str(path), "", "train", 1, told.content, size=told.size, written=told.written)
    assert state_of(then).state == "same"
    path.write_text("prompt,completion\na,b\n")  # without the empty column: different bytes, the same rows
    assert state_of(then).state == "same"
    path.write_text("prompt,completion\na,c\n")
    assert state_of(then).state == "changed"
    path.unlink()
    assert state_of(then).state == "gone"
