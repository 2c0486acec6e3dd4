"""A log on disk: limited by a hole in its middle, read around it, whole characters, unchanged offsets; searched."""

import os
import random
import re
import tempfile

import pytest
from hypothesis import given, strategies as st

from finetop.core.runtime import log_file

MIB = 1 << 20


@pytest.fixture
def log(tmp_path):
    descriptor = os.open(tmp_path / "log.txt", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    yield descriptor
    os.close(descriptor)


def lines(first: int, count: int) -> bytes:
    return b"".join(b"%07d %s\n" % (number, b"x" * 91) for number in range(first, first + count))


def require_holes(descriptor: int) -> None:
    os.write(descriptor, b"x" * (4 * log_file.BLOCK))
    if not log_file._punch(descriptor, log_file.BLOCK, log_file.BLOCK):
        pytest.skip("the file system here makes no holes")
    os.ftruncate(descriptor, 0)


def whole(descriptor: int, limit: int = 300_000) -> list[log_file.Piece]:
    """Read a log from start to end, piece by piece."""
    pieces = [log_file.read(descriptor, 0, limit)]
    while pieces[-1].next < pieces[-1].size:
        pieces.append(log_file.read(descriptor, pieces[-1].next, limit))
        assert len(pieces) < 1000
    return pieces


def test_a_log_that_grows_without_end_takes_a_bounded_part_of_the_disk(log):
    require_holes(log)
    limit = 2 * MIB
    for number in range(0, 100_000, 5000):  # 10 MB
        os.write(log, lines(number, 5000))
        log_file.bound(log, limit)
        assert os.fstat(log).st_blocks * 512 <= limit + 2 * log_file.BLOCK
    assert os.fstat(log).st_size == 10_000_000
    pieces = whole(log)
    assert sum(piece.gap for piece in pieces) + sum(len(piece.text) for piece in pieces) == 10_000_000
    gaps = [at for at, piece in enumerate(pieces) if piece.gap]
    assert len(gaps) == 1, "one hole, told once"
    before = "".join(piece.text for piece in pieces[: gaps[0]])
    behind = "".join(piece.text for piece in pieces[gaps[0] :])
    assert before == lines(0, 100_000)[: len(before)].decode() and len(before) >= limit // 4 - log_file.BLOCK
    assert behind == lines(0, 100_000)[-len(behind) :].decode() and len(behind) >= limit // 2
    assert "\0" not in before + behind


def test_a_log_within_its_limit_is_whole(log):
    os.write(log, lines(0, 5000))
    assert not log_file.bound(log, MIB)
    assert "".join(piece.text for piece in whole(log)) == lines(0, 5000).decode()


def test_the_end_is_read_by_its_distance_from_the_end(log):
    os.write(log, b"abcdef")
    assert log_file.read(log, -2, 100) == log_file.Piece("ef", 0, 6, 6)
    assert log_file.read(log, -100, 3) == log_file.Piece("abc", 0, 3, 6)
    assert log_file.read(log, 99, 3) == log_file.Piece("", 0, 6, 6)
    assert log_file.read(log, 0, 0) == log_file.Piece("", 0, 0, 6)
    os.write(log, b"\xe2\x82")  # a character that is not finished does not hold the reader up
    assert log_file.read(log, 6, 100).next == 8


@given(text=st.text(max_size=60), limit=st.integers(4, 12))
def test_no_character_is_cut_between_two_pieces(text, limit):
    text = text.encode("utf-8", "replace").decode()
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        assert "".join(piece.text for piece in whole(file.fileno(), limit)) == text


def test_parts_of_any_size_find_each_line_once(log):
    noise = random.Random(4)
    words = ["loss", "Error: no room", "step", "größer", "x" * 90, ""]
    raw = "".join(" ".join(noise.choices(words, k=noise.randrange(4))) + "\n" for _ in range(400)).encode()
    os.write(log, raw)
    wanted = [found.start() for found in re.finditer(rb"(?im)^.*error.*$", raw)]
    for part in (1, 7, 64, 1000, len(raw)):
        found, end = [], len(raw)
        while end > 0:
            begin = max(0, end - part)
            found = [*log_file.find(log, "eRROR", begin, end, 5000).at, *found]
            end = begin
        assert found == wanted
    found, end = [], -1
    while end:
        part = log_file.find(log, "error", 0, end, 7)
        found, end = [*part.at, *found], part.begin
    assert found == wanted, "too many for one answer: the last come first, none is left out"
    assert log_file.find(log, "GRÖßER".replace("Ö", "ö"), 0, -1, 5000).at != []
    assert log_file.find(log, "", 0, -1, 5000).at == []


def test_what_was_let_go_is_passed_over(log):
    line = b"step 7/9: the loss is what it is, a little lower than before, as ever\n"
    os.write(log, line * 40_000 + b"Traceback\n")
    if not log_file.bound(log, 400_000):
        pytest.skip("this file system makes no holes")
    matches = log_file.find(log, "traceback", 0, -1, 10)
    assert matches.at == [len(line) * 40_000] and matches.size == len(line) * 40_000 + 10


@pytest.mark.parametrize("steps", [range(1, 30), range(1, 60_000, 7), range(0)])
def test_a_step_is_found_or_the_next_that_was_written(log, steps):
    lines = [f"step {step}/60000: loss 1.25, 40 s left\n" + "noise\n" * (step % 3) for step in steps]
    os.write(log, "".join(lines).encode())
    for wanted in (1, 15, 20_000, 59_998, 70_000):
        matches = log_file.find_step(log, wanted).at
        if not steps:
            assert matches == []
            continue
        nearest = next((step for step in steps if step >= wanted), steps[-1])
        assert os.pread(log, 20, matches[0]).startswith(f"step {nearest}/".encode())
