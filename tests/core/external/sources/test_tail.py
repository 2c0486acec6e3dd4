"""New lines of a growing file: cut, replaced, written anew, in pieces, too long."""

import os
from pathlib import Path

import pytest

from finetop.core.external.sources import _tail
from finetop.core.external.sources._tail import Tail


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_lines_come_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\nb")
    tail = Tail(path)
    assert list(tail.lines()) == ["a"]
    assert list(tail.lines()) == []
    append(path, b"c\r\nd\n")
    assert list(tail.lines()) == ["bc", "", "d"]
    assert not tail.restarted


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"x\n", id="cut"),
        pytest.param(b"1,2,3\n" * 100, id="longer"),
        pytest.param(b"A\nb\nc\n", id="as long"),
    ],
)
def test_a_file_that_was_written_anew_is_read_from_its_start(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\nb\nc\n")
    os.utime(path, (1, 1))
    tail = Tail(path)
    list(tail.lines())
    path.write_bytes(text)
    assert list(tail.lines()) == text.decode().splitlines()
    assert tail.restarted


def test_a_file_that_was_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    path, other = tmp_path / "log", tmp_path / "other"
    path.write_bytes(b"a\n")
    tail = Tail(path)
    list(tail.lines())
    other.write_bytes(b"a\nb\n")
    other.replace(path)
    assert list(tail.lines()) == ["a", "b"]


def test_long_lines_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tail, "LONGEST", 10)
    path = tmp_path / "log"
    path.write_bytes(b"a" * 11)
    tail = Tail(path)
    assert list(tail.lines()) == []
    append(path, b"a\nb\n" + b"c" * 11 + b"\nd\n")
    assert list(tail.lines()) == ["b", "d"]


def test_a_large_file_is_read_in_parts_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tail, "MOST_BYTES", 100)
    path = tmp_path / "log"
    lines = [str(number) for number in range(1000)]
    path.write_text("\n".join(lines) + "\n")
    tail = Tail(path)
    read = list(tail.lines())
    assert 0 < len(read) <= 100
    while tail.behind:
        read += tail.lines()
    assert read == lines
    assert not tail.restarted


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xff\xfe\n\0\n")
    assert list(Tail(path).lines()) == ["\ufffd\ufffd", "\0"]
