"""Fault 9: event files that are cut, hold garbage, or mix two writers up: bad lines are counted, the rest is kept."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import store_rows

from finetop.core.commands.main import main
from finetop.core.protocol import events
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.store import ingest, jobs, runs

STEPS = 12


@pytest.fixture
def take_in(quiet):
    """Ingest several event files, each as a job's; return each one's steps in the store, and its bad lines."""
    run_id = quiet.queue("one")
    connection = quiet.supervisor.connection
    known: dict[Path, int] = {}

    def all_of(files: list[Path]) -> dict[Path, tuple[list[int], int]]:
        for file in files:
            if file not in known:
                known[file], _ = jobs.add_job(connection, run_id=run_id, verb="train", args={}, priority=0)
        while ingest.take_in_all(connection, {known[file]: file for file in files}).ingested:
            pass
        bad = {job.id: job.bad_lines for job in runs.detail(connection, run_id).jobs}
        steps: dict[str, list[int]] = {}
        for key, step in connection.execute("SELECT key, step FROM metrics ORDER BY step").fetchall():
            steps.setdefault(key, []).append(step)
        return {file: (steps.get(file.stem, []), bad[known[file]]) for file in files}

    return all_of


def write(file: Path, first: int, last: int) -> None:
    """Write steps as a job does: each one metric with the file's name."""
    store_rows.write(
        file, *(events.metrics(step, {file.stem: 1.0 / step}) for step in range(first, last + 1))
    )


def changed_files(
    folder: Path, change: Callable[[list[bytes], int], Any], count: int = 60
) -> dict[Path, Any]:
    """Write event files whose lines are changed; return what the change returned for each."""
    changed = {}
    for number in range(count):
        file = folder / f"{number:04d}.jsonl"
        write(file, 1, STEPS)
        lines = file.read_bytes().splitlines(keepends=True)
        changed[file] = change(lines, number)
        file.write_bytes(b"".join(lines))
    return changed


def test_cut_at_each_byte_of_the_last_three_lines_the_cut_line_alone_is_lost(take_in, tmp_path, survived):
    cut: set[Path] = set()
    whole: dict[Path, int] = {}
    write(tmp_path / "0000.jsonl", 1, STEPS)
    content = (tmp_path / "0000.jsonl").read_bytes()
    for gone in range(10_000):
        left = content[: len(content) - gone].replace(b'"0000"', b'"%04d"' % gone)
        if (lines := left.count(b"\n")) < STEPS - 3:
            break
        file = tmp_path / f"{gone:04d}.jsonl"
        file.write_bytes(left)
        whole[file] = lines
    files = list(whole)
    before = take_in(files)
    lost = [file for file in files if before[file] != (list(range(1, whole[file] + 1)), 0)]
    for file in files:  # the next attempt appends to it
        rest = file.read_bytes().rpartition(b"\n")[2]
        if rest.endswith(b"}}}"):
            whole[file] += 1  # only its newline was missing
        elif rest:
            cut.add(file)
        write(file, 101, 103)
    after = take_in(files)
    wrong = [file for file in files if after[file][1] != (file in cut)]
    lost += [file for file in files if after[file][0] != [*range(1, whole[file] + 1), 101, 102, 103]]
    assert len(files) > 200 and 0 < len(cut) < len(files)
    survived("9", "cut at each byte of the last three lines", repeats=len(files), lost=len(lost),
             written=sum(whole.values()) + 3 * len(files), wrong=len(wrong))  # fmt: skip


GARBAGE = [
    b"\0" * 300, b"\xff\xfe\x80", b'{"n": 3, "t": 1.0, "e": {"type": "metrics"}}', b'{"n":', b"null", b"[]", b'"loss"',
    b"[" * 100_000, b"\x1b]52;c;aGk=\x07", b'{"n": 1e999, "t": 0, "e": {}}', b"Traceback (most recent call last):",
    '{"n": 4, "t": 1.0, "e": {"type": "métriques"}}'.encode(), b"{" + b" " * 2_000_000,
]  # fmt: skip


def test_garbage_between_the_lines_is_counted_and_no_line_beside_it_is_lost(take_in, tmp_path, survived):
    moments = random.Random(9)

    def insert(lines: list[bytes], number: int) -> None:
        for text in (GARBAGE[number % len(GARBAGE)], moments.randbytes(50).replace(b"\n", b"") + b"x"):
            lines.insert(moments.randrange(len(lines) + 1), text + b"\n")

    ingested = take_in(list(changed_files(tmp_path, insert)))
    lost = [file for file, (steps, _) in ingested.items() if steps != list(range(1, STEPS + 1))]
    wrong = [file for file, (_, bad) in ingested.items() if bad != 2]
    survived("9", "garbage between the lines", repeats=len(ingested), written=STEPS * len(ingested), lost=len(lost),
             wrong=len(wrong))  # fmt: skip


def test_of_two_lines_that_were_written_into_each_other_both_are_counted_and_no_other_is_lost(
    take_in, tmp_path, survived
):
    """As a network file system may interleave the writes of two processes."""
    moments = random.Random(99)

    def mix(lines: list[bytes], number: int) -> set[int]:
        at = moments.randrange(STEPS - 1)
        one, other = lines[at], lines[at + 1]
        cut, cut_other = moments.randrange(1, len(one) - 1), moments.randrange(1, len(other) - 1)
        lines[at : at + 2] = [one[:cut] + other[:cut_other], one[cut:], other[cut_other:]]
        return {at + 1, at + 2}

    hurt = changed_files(tmp_path, mix)
    ingested = take_in(list(hurt))
    lost = [file for file in hurt if set(range(1, STEPS + 1)) - set(ingested[file][0]) != hurt[file]]
    wrong = [file for file in hurt if ingested[file][1] != 2]
    survived("9", "two writers mixed up within a line", repeats=len(hurt), lost=len(lost), wrong=len(wrong),
             written=(STEPS - 2) * len(hurt))  # fmt: skip


WRITER = (
    "import sys; from pathlib import Path; from finetop.core.protocol import events;"
    "from finetop.core.runtime.event_log import EventLog\n"
    "log = EventLog(Path(sys.argv[1])); sys.stdin.readline();\n"
    "for step in range(3000): log.write(events.metrics(step, {sys.argv[2]: 1.0}))"
)


def test_two_processes_that_append_at_once_never_cut_each_other_s_lines(tmp_path, survived):
    """The lock of a job prevents it; since each line is one write, it would be harmless."""
    file = tmp_path / "events.jsonl"
    both = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), name], stdin=subprocess.PIPE)
        for name in "ab"
    ]
    for process in both:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in both:
        process.communicate()
    # starting while the other's line is being written ends that line again: an empty line
    event_rows = [events.decode(line).e for line in file.read_bytes().splitlines() if line]
    steps = [sorted(event.step for event in event_rows if name in event.values) for name in "ab"]
    lost = sum(own_steps != list(range(3000)) for own_steps in steps)
    survived("9", "two processes append at once", repeats=2, written=6000, lost=lost)


def test_how_many_lines_could_not_be_read_is_shown(rig, capfd):
    name = rig.submit(steps=30, garbage=True)
    rig.wait_state(name, "finished")
    assert rig.ask(GetRun(name)).jobs[0].bad_lines == 8
    assert main(["--home", str(rig.home.root), "show", name]) == 0
    shown = capfd.readouterr().out
    assert "8 lines of jobs/0001-train/events.jsonl could not be read, the first: byte" in shown
