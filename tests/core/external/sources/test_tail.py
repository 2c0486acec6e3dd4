"""New lines of a growing file: cut, replaced, written anew, in pieces, too long."""

import os
from pathlib import Path

import pytest
from metric_files import put

from finetop.core.external.sources import _tail
from finetop.core.external.sources._tail import Tail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_lines_come_once_and_whole_and_bytes_that_are_no_text_are_marked(path):
    tail = Tail(put(path, b"a\nb"))
    assert list(tail.lines()) == ["a"]
    assert list(tail.lines()) == []
    put(path, b"c\r\nd\n\xff\xfe\n\0\n", adds=True)
    assert list(tail.lines()) == ["bc", "", "d", "\ufffd\ufffd", "\0"]
    assert not tail.restarted


REWRITTEN = {"cut": b"x\n", "longer": b"1,2,3\n" * 100, "as long": b"A\nb\nc\n", "replaced": b"a\nb\nc\nd\n"}


@pytest.mark.parametrize("how", REWRITTEN)
def test_a_file_that_was_written_anew_is_read_from_its_start(path, how):
    tail = Tail(put(path, b"a\nb\nc\n"))
    os.utime(path, (1, 1))
    list(tail.lines())
    file = put(path.with_name("other") if how == "replaced" else path, REWRITTEN[how])
    file.replace(path)
    assert list(tail.lines()) == REWRITTEN[how].decode().splitlines()
    assert tail.restarted


def test_long_lines_are_skipped(path, monkeypatch):
    monkeypatch.setattr(_tail, "LONGEST", 10)
    tail = Tail(put(path, b"a" * 11))
    assert list(tail.lines()) == []
    put(path, b"a\nb\n" + b"c" * 11 + b"\nd\n", adds=True)
    assert list(tail.lines()) == ["b", "d"]


def test_a_large_file_is_read_in_parts_and_nothing_is_lost(path, monkeypatch):
    monkeypatch.setattr(_tail, "MOST_BYTES", 100)
    lines = [str(number) for number in range(1000)]
    tail = Tail(put(path, "\n".join(lines) + "\n"))
    read = list(tail.lines())
    assert 0 < len(read) <= 100
    while tail.behind:
        read += tail.lines()
    assert read == lines
    assert not tail.restarted
