"""A command's numbers after its job was killed: each value is reported once, whenever that was."""

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from command_attempt import Attempt
from metric_files import framed, history, json_lines, leveldb, process, scalars

from finetop.core.external import client, note, numbers, ownership
from finetop.core.protocol import events
from finetop.core.protocol.numbers_from import NumbersFrom

AT = 1.8e9
pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path)


def lines(*steps: int) -> str:
    return json_lines(*({"step": step, "loss": 1.0 / (step + 1)} for step in steps))


def printed(*steps: int) -> str:
    return "".join(f"step {step} loss {1.0 / step}\n" for step in steps)


def dicts(*steps: int) -> str:
    """Return what tells no steps."""
    return "".join(f"{{'loss': {1.0 / step}, 'epoch': {step / 100}}}\n" for step in steps)


def table(*steps: int) -> str:
    return "step,loss\n" * (1 in steps) + "".join(f"{step},{1.0 / step}\n" for step in steps)


def epochs(*steps: int) -> bytes:
    """Return an event file that counts its steps anew after the third."""
    return b"".join(scalars((step - 1) % 3 + 1, AT + step, loss=1.0) for step in steps)


def wandb(*steps: int) -> bytes:
    whole = leveldb(*(history(step, loss=1.0 / step) for step in range(1, steps[-1] + 1)))
    before = leveldb(*(history(step, loss=1.0 / step) for step in range(1, steps[0])))
    return whole[len(before) if steps[0] > 1 else 0 :]


SOURCES: dict[str, tuple[str, Callable[..., str | bytes]]] = {
    "lines": ("metrics.jsonl", lines),
    "printed": ("log.txt", printed),
    "printed without steps": ("log.txt", dicts),
    "csv": ("metrics.csv", table),
    "tensorboard": ("runs/events.out.tfevents.1", epochs),
    "wandb": ("wandb/run-1-a/run-a.wandb", wandb),
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_follows_the_last_look_is_read_once(attempt, source):
    name, content = SOURCES[source]
    for steps in ((1, 2), (3, 4)):
        attempt.append(name, content(*steps))
        attempt.reading.read_new()
        attempt.reading.read_new()  # a dict waits for a bar that may follow
    attempt.append(name, content(5, 6))
    attempt.finish()
    assert attempt.steps() == [1, 2, 3, 4, 5, 6]
    assert not any(isinstance(event, events.Resumed) for event in attempt.seen())
    assert not (attempt.folder / note.FILE).exists()
    attempt.finish()
    assert attempt.steps() == [1, 2, 3, 4, 5, 6]


def test_names_that_are_not_utf_8_break_nothing(attempt, monkeypatch):
    odd = os.fsdecode(b"caf\xe9")
    (attempt.work / odd / odd).mkdir(parents=True)
    monkeypatch.setenv(client.METRICS, "/other/metrics.jsonl")  # of the process below: another command's
    files = {
        f"lightning_logs/version_{odd}/metrics.csv": ("loss", lambda step: table(step).encode()),
        f"{odd}/events.out.tfevents.1": ("a", lambda step: scalars(step, AT, a=1.0)),
        f"wandb/run-{odd}/run-{odd}.wandb": (
            "b",
            lambda step: leveldb(history(1, b=1.0)) if step == 1 else b"",
        ),
    }
    with process(attempt.work / odd / odd):
        for step in (1, 2):
            for name, (_, content) in files.items():
                attempt.append(name, content(step))
            attempt.append(f"checkpoint-{odd}/trainer_state.json", "{}")
            with closing(sqlite3.connect(attempt.work / f"trackio-{odd}.db")) as database:
                database.execute("CREATE VIEW IF NOT EXISTS metrics AS SELECT 1")
            if step == 1:
                attempt.reading.read_new()
        attempt.finish()
    assert [attempt.steps(key) for key, _ in files.values()] == [[1, 2], [1, 2], [1]]


def test_a_trainer_state_is_read_once(attempt):
    for last in (2, 4):
        log = [{"step": step, "loss": 1.0} for step in range(1, last + 1)]
        attempt.append(f"checkpoint-{last}/trainer_state.json", json.dumps({"log_history": log}))
        if last == 2:
            attempt.reading.read_new()
    attempt.finish()
    assert attempt.steps() == [1, 2, 3, 4]


def test_events_that_a_kill_kept_from_the_file_are_written(attempt):
    """A look notes its events before it writes them: killed in between, or inside a line, none is missing."""
    attempt.append("metrics.jsonl", lines(1, 2))
    attempt.reading.read_new()
    whole_before = attempt.log.read_bytes()
    attempt.append("metrics.jsonl", lines(*range(3, 9)))
    attempt.reading.read_new()
    whole, noted = attempt.log.read_bytes(), (attempt.folder / note.FILE).read_bytes()
    for size in range(len(whole_before), len(whole) + 1, 7):
        attempt.log.write_bytes(whole[:size])
        (attempt.folder / note.FILE).write_bytes(noted)
        attempt.finish()
        assert [step for step, _ in decoded(attempt.log)] == list(range(1, 9)), size


def decoded(log: Path) -> list[tuple[int, int]]:
    """Return the steps of the metrics of a log, some of whose lines are cut, and their numbers."""
    found = []
    for line in log.read_bytes().splitlines():
        try:
            event = events.decode(line)
        except events.Unreadable:
            continue
        if isinstance(event.e, events.Metrics):
            found.append((event.e.step, event.n))
    return found


def test_what_waits_for_a_better_source_is_not_lost(attempt, monkeypatch):
    monkeypatch.setattr(numbers, "HOLD_S", 3600.0)
    attempt.append("log.txt", printed(1, 2, 3))
    attempt.reading.read_new()
    assert attempt.steps() == []
    attempt.append("log.txt", printed(4))
    attempt.finish()
    assert attempt.steps() == [1, 2, 3, 4]


@pytest.mark.parametrize("looks", [False, True])
def test_killed_before_the_first_look_or_before_a_better_source_appeared(attempt, looks):
    attempt.append("log.txt", printed(1, 2))
    if looks:
        attempt.reading.read_new()
    attempt.append("log.txt", printed(3, 4))
    attempt.append("metrics.jsonl", lines(1, 2, 3, 4, 5))
    attempt.finish()
    assert attempt.steps() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("how", ["cut", "replaced"])
def test_a_file_that_was_written_anew_meanwhile(attempt, how):
    attempt.append("metrics.jsonl", lines(5, 6, 7))
    attempt.reading.read_new()
    file = attempt.work / "metrics.jsonl"
    if how == "replaced":
        (attempt.work / "new").write_text(lines(6, 7, 8))
        (attempt.work / "new").replace(file)
    else:
        file.write_text(lines(6))
    attempt.finish()
    assert attempt.steps() == ([5, 6, 7, 8] if how == "replaced" else [5, 6])


@pytest.mark.parametrize("damage", ["no note of the last look", "a state of another finetop"])
def test_without_an_exact_note_everything_is_read_again(attempt, damage):
    """As after a full disk: what was reported is discarded, and reported once more."""
    attempt.append("metrics.jsonl", lines(1, 2))
    attempt.reading.read_new()
    noted = note.read(attempt.folder)
    assert noted is not None
    if damage == "no note of the last look":
        attempt.append("metrics.jsonl", lines(3))
        attempt.reading.read_new()
    else:
        noted = msgspec.structs.replace(noted, numbers=msgspec.Raw(msgspec.msgpack.encode({"files": [1]})))
    note.write(attempt.folder, noted)
    attempt.append("metrics.jsonl", lines(4))
    attempt.finish()
    assert attempt.steps() == ([1, 2, 3, 4] if damage == "no note of the last look" else [1, 2, 4])
    assert sum(isinstance(event, events.Resumed) for event in attempt.seen()) == 1


def test_neither_a_damaged_note_nor_half_a_line_ends_anything(attempt):
    attempt.append("metrics.jsonl", lines(1) + '{"step": 2, "lo')
    attempt.reading.read_new()
    noted = (attempt.folder / note.FILE).read_bytes()
    for damaged in (noted, b"\x81\xa6"):
        (attempt.folder / note.FILE).write_bytes(damaged)
        attempt.finish()
        assert attempt.steps() == [1]
        assert not (attempt.folder / note.FILE).exists()


@pytest.mark.parametrize(
    ("name", "content", "more"),
    [
        ("metrics.jsonl", '{"step": 1e300, "loss": 1}\n{"step": 1, "\\ud800x": NaN, "loss": 2}\n', lines(2)),
        (
            "events.out.tfevents.1",
            scalars(1, AT, loss=1.0) + framed(b"\0" * 1000),
            scalars(2, AT + 1, loss=1.0),
        ),
    ],
    ids=["numbers that no note can hold", "a picture"],
)
def test_what_is_no_metric_is_left_out_but_what_follows_is_not(attempt, name, content, more):
    attempt.append(name, content)
    attempt.reading.read_new()
    attempt.append(name, more)
    attempt.finish()
    assert attempt.steps() == [1, 2]


def test_the_time_of_a_killed_attempt_counts(attempt):
    ended = time.time() + 50.0
    (attempt.folder / "exit.json").write_text(json.dumps({"attempt": 1, "ended": ended}))
    attempt.finish()
    spent = [event.spent_s for event in attempt.seen() if isinstance(event, events.Phase)]
    assert 150.0 <= (spent[-1] or 0.0) < 152.0


def test_what_was_written_after_the_program_had_ended_is_left_out_and_told(attempt):
    (attempt.folder / "exit.json").write_text(json.dumps({"attempt": 1, "ended": time.time() - 60.0}))
    attempt.append("metrics.csv", table(1))
    attempt.append("log.txt", printed(1, 2))
    attempt.finish()
    (numbers_from,) = (event for event in attempt.seen() if isinstance(event, NumbersFrom))
    assert [(one.file, one.why) for one in numbers_from.left_out] == [
        ("metrics.csv", "it was written after this program had ended")
    ]
    assert attempt.steps() == [1, 2]


def test_metrics_of_an_owner_stay_its_own(attempt):
    """A file that another has taken over reports nothing later, in the next process either."""
    attempt.append("runs/a/events.out.tfevents.1", scalars(1, AT, loss=1.0))
    attempt.reading.read_new()
    attempt.append("runs/b/events.out.tfevents.2", scalars(2, AT + 10 * ownership.RESTART_S, loss=1.0))
    attempt.reading.read_new()
    attempt.append("runs/a/events.out.tfevents.1", scalars(9, AT + 100, loss=1.0))
    attempt.finish()
    assert attempt.steps() == [1, 2]


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.csv"])
@pytest.mark.parametrize(
    ("later", "steps"),
    [
        ("appends", [4, 5, 6, 7, 8, 9]),
        ("writes another file", [2, 3, 4, 5, 8, 9]),
        ("writes it anew", [2, 3, 4, 5, 8, 9]),
        ("writes the same anew", [1, 2, 3, 8, 9]),
        ("writes less", [2, 8, 9]),
    ],
)
def test_what_an_earlier_command_left_in_a_file_is_not_of_this_one(tmp_path, name, later, steps):
    content = table if name.endswith("csv") else lines
    attempt = Attempt(tmp_path)
    file = attempt.work / name
    attempt.append(name, content(1, 2, 3))
    os.utime(file, (AT, AT))
    attempt.reading = attempt.begin()
    if later == "writes another file":
        file.unlink()
    elif later != "appends":
        file.write_text("")
    if name.endswith("csv") and steps[0] == 2:
        attempt.append(name, "step,loss\n")
    attempt.append(name, content(*steps[:-2]))
    attempt.reading.read_new()
    attempt.append(name, content(8, 9))
    attempt.finish()
    assert attempt.steps() == steps


def test_a_file_that_two_commands_may_write_to_is_read_by_neither(tmp_path, capsys):
    """Neither keeps it open: the one that was alone before keeps what it had, and nothing is read from then on."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = Attempt(tmp_path / "a")
    with program_of(first):
        first.append("metrics.jsonl", lines(1, 2))
        first.reading.read_new()
        second = Attempt(tmp_path / "b", tmp_path / "a" / "work")
        with program_of(second):
            first.append("metrics.jsonl", lines(3))
            second.metrics.write_text(lines(7))
            for one in (second, first):
                one.reading.read_new()
            first.append("metrics.jsonl", lines(4))
            for one in (second, first):
                one.reading.read_new()
    first.finish()
    second.finish()
    assert second.steps() == [7]  # its own finetop.log
    assert first.steps() == [1, 2]
    assert capsys.readouterr().out.count("another command writes to it too") == 1
    left_out = [event.left_out for event in second.seen() if isinstance(event, NumbersFrom)]
    assert [(one.source, one.file, one.files) for one in left_out[-1]] == [("lines", "metrics.jsonl", 1)]
    assert "in its folder too" in left_out[-1][0].why


@contextmanager
def program_of(attempt: Attempt) -> Iterator[None]:
    environment = {**os.environ, client.METRICS: str(attempt.metrics)}
    with subprocess.Popen(["sleep", "600"], env=environment) as program:
        yield
        program.kill()
