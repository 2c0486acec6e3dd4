"""Search in a log on disk: adjoining parts without lost or doubled lines, holes, missing steps."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetop.core.runtime import log_file


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "log.txt", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_parts_of_any_size_find_each_line_once(log: int) -> None:
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


def test_what_was_let_go_is_passed_over(log: int) -> None:
    line = b"step 7/9: the loss is what it is, a little lower than before, as ever\n"
    os.write(log, line * 40_000 + b"Traceback\n")
    if not log_file.bound(log, 400_000):
        pytest.skip("this file system makes no holes")
    matches = log_file.find(log, "traceback", 0, -1, 10)
    assert matches.at == [len(line) * 40_000] and matches.size == len(line) * 40_000 + 10


@pytest.mark.parametrize("steps", [range(1, 30), range(1, 60_000, 7), range(0)])
def test_a_step_is_found_or_the_next_that_was_written(log: int, steps: range) -> None:
    lines = [f"step {step}/60000: loss 1.25, 40 s left\n" + "noise\n" * (step % 3) for step in steps]
    os.write(log, "".join(lines).encode())
    for wanted in (1, 15, 20_000, 59_998, 70_000):
        matches = log_file.find_step(log, wanted).at
        if not steps:
            assert matches == []
            continue
        nearest = next((step for step in steps if step >= wanted), steps[-1])
        assert os.pread(log, 20, matches[0]).startswith(f"step {nearest}/".encode())
