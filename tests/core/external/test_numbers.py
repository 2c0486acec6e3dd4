"""A program's numbers, from several sources at once: each value once, under one name, at its step."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from metric_files import Program, history, leveldb, scalars
from waiting import wait_until

from finetop.core.external import numbers, progress, search, sources
from finetop.core.external.keys import name_of
from finetop.core.external.ownership import MOST_KEYS
from finetop.core.external.search import wanted
from finetop.core.protocol import events

AT = 1.8e9  # seconds since 1970
NEVER = 3600.0


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search for files at each look, and let nothing wait."""
    monkeypatch.setattr(search, "SEARCH_S", 0.0)
    monkeypatch.setattr(search, "SEARCHES", 0)
    monkeypatch.setattr(numbers, "HOLD_S", 0.0)


def lines(*points: tuple[int, float], key: str = "loss") -> str:
    return "".join(json.dumps({"step": step, key: value}) + "\n" for step, value in points)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("loss", "loss"),
        ("Loss", "loss"),
        ("train/loss", "loss"),
        ("train_loss", "loss"),
        ("loss/train", "loss"),
        ("Loss/val", "eval_loss"),
        ("eval/loss", "eval_loss"),
        ("eval_loss", "eval_loss"),
        ("val_loss", "eval_loss"),
        ("validation/accuracy", "eval_accuracy"),
        ("lr", "learning_rate"),
        ("train/lr", "learning_rate"),
        ("train/mean_token_accuracy", "token_accuracy"),
        ("train/train_loss", "train_loss"),  # the Trainer's mean over the run
        ("train_runtime", "train_runtime"),
        ("test_loss", "test_loss"),  # a test is no evaluation while it trains
        ("evaluate", "evaluate"),
        ("valuable", "valuable"),
        ("training", "training"),
        ("rewards/margins", "rewards/margins"),
    ],
)
def test_names(key: str, name: str) -> None:
    assert name_of(key) == name


def test_wanted_sources() -> None:
    assert wanted(["auto"]) == dict.fromkeys(sources.names(), "")
    assert wanted(["none", "auto"]) == {}
    assert wanted(["csv:out/a.csv", "stdout"]) == {"csv": "out/a.csv", "stdout": ""}


def test_two_keys_of_one_point_never_share_a_name(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append(
        "metrics.jsonl", json.dumps({"step": 1, "train/loss": 1.0, "loss": 2.0, "train_loss": 3.0})
    )
    program.append(
        "metrics.jsonl", "\n" + json.dumps({"step": 2, "train/loss": 1.5, "eval/loss": 4.0}) + "\n"
    )
    program.append("metrics.jsonl", json.dumps({"step": 3, "val_loss": 5.0}) + "\n")
    program.look()
    assert program.values("loss") == [(1, 2.0)]  # the key that is named as ours
    assert program.values("train/loss") == [(1, 1.0), (2, 1.5)]
    assert program.values("train_loss") == [(1, 3.0)]
    assert program.values("eval_loss") == [(2, 4.0)]
    assert program.values("val_loss") == [(3, 5.0)]


def test_a_key_that_comes_later_gets_a_name_of_its_own(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("metrics.jsonl", lines((1, 1.0), key="train/loss") + lines((2, 2.0)))
    program.look()
    assert program.values("loss") == [(1, 1.0)]
    assert program.values("loss_2") == [(2, 2.0)]


def test_names_can_be_stored_and_shown(tmp_path: Path) -> None:
    program = Program(tmp_path)
    keys = {"a\u001b[31mb\nc": 1.0, "k" * 500: 2.0, "\ud800x": 3.0, "": 4.0, "k" * 501: 5.0}
    program.append("metrics.jsonl", json.dumps({"step": 1, **keys}) + "\n")
    program.look()
    assert program.names() == {"ab c", "k" * 200, "?x", "k" * 196 + "_2"}
    for number, event in enumerate(program.seen, 1):
        line = b'{"n":%d,"t":1.0,"e":%s}' % (number, events.msgspec.json.encode(event))
        assert events.decode(line).e == event


def test_a_better_source_takes_over_and_nothing_doubles(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("log.txt", "step 1 loss 3.0\nstep 2 loss 2.5\n")
    program.look()
    assert program.values() == [(1, 3.0), (2, 2.5)]
    program.append("metrics.jsonl", lines((1, 3.01), (2, 2.51), (3, 2.01)))
    program.append("log.txt", "step 3 loss 2.0\nstep 4 loss 1.5\n")
    program.look()
    program.append("metrics.jsonl", lines((4, 1.51)))
    program.look(is_last=True)
    assert program.values() == [(1, 3.0), (2, 2.5), (3, 2.01), (4, 1.51)]
    assert program.resumed() == []
    assert program.numbers.read == {"stdout", "lines"}


def test_what_is_printed_waits_for_a_better_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "HOLD_S", NEVER)
    program = Program(tmp_path)
    program.append("log.txt", "step 1/90 loss 3.0\n")
    assert program.look().values() == []
    assert program.planned() == [90]  # how long it will be is told at once
    program.append("metrics.jsonl", lines((1, 3.01)))
    assert program.look(is_last=True).values() == [(1, 3.01)]


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "HOLD_S", NEVER)
    program = Program(tmp_path)
    program.append("log.txt", "step 1 loss 3.0\n")
    program.look()
    monkeypatch.setattr(numbers, "HOLD_S", 0.0)
    assert program.look().values() == [(1, 3.0)]
    monkeypatch.setattr(numbers, "HOLD_S", NEVER)
    program.append("log.txt", "step 2 loss 2.0\n")
    assert program.look().values() == [(1, 3.0), (2, 2.0)]  # it has waited, once and for all


def test_guessed_steps_are_corrected_by_a_better_source(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("log.txt", "{'loss': 3.0, 'epoch': 0.1}\n{'loss': 2.0, 'epoch': 0.2}\n")
    program.look().look()
    assert program.values() == [(1, 3.0), (2, 2.0)]
    entries = [{"step": step, "loss": loss, "epoch": step / 100} for step, loss in ((10, 3.0), (20, 2.0))]
    first = {"step": 1, "loss": 9.0}
    program.append("checkpoint-20/trainer_state.json", json.dumps({"log_history": [first, *entries]}))
    program.look(is_last=True)
    assert program.values() == [(1, 9.0), (10, 3.0), (20, 2.0)]


def test_correcting_guesses_discards_nothing_of_a_third_source(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("metrics.jsonl", lines((1, 0.1), (2, 0.2), key="accuracy"))
    program.append("log.txt", "{'loss': 3.0}\n{'loss': 2.0}\n")
    program.look().look()
    program.append(
        "trainer_state.json", json.dumps({"log_history": [{"step": s, "loss": 1.0} for s in (1, 5)]})
    )
    program.look(is_last=True)
    assert program.values("accuracy") == [(1, 0.1), (2, 0.2)]
    assert program.values() == [(1, 3.0), (2, 2.0), (5, 1.0)]


def test_a_program_that_begins_anew_discards_its_later_steps(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("metrics.jsonl", lines((1, 3.0), (2, 2.0), (3, 1.0)))
    program.look()
    program.append("metrics.jsonl", lines((2, 2.1), (3, 1.1), (4, 0.9)))
    program.look()
    assert program.resumed() == [1]
    assert program.values() == [(1, 3.0), (2, 2.1), (3, 1.1), (4, 0.9)]


def test_a_file_that_is_cut_and_written_again(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("metrics.jsonl", lines((5, 3.0), (6, 2.0)))
    program.look()
    (tmp_path / "metrics.jsonl").write_text(lines((5, 3.3)))
    program.look()
    assert program.resumed() == [4]
    assert program.values() == [(5, 3.3)]


def test_a_later_attempt_discards_the_steps_that_it_repeats(tmp_path: Path) -> None:
    program = Program(tmp_path, goes_on=True)
    program.append("metrics.jsonl", lines((60, 0.5), key="accuracy"))
    program.append("metrics.jsonl", lines((0, 7.0), key="parameters"))
    program.append("log.txt", "step 51 loss 1.0\n")
    program.look(is_last=True)
    assert program.resumed() == [50]
    assert program.values() == [(51, 1.0)]
    assert program.values("accuracy") == [(60, 0.5)]
    assert program.values("parameters") == []  # the attempt before has reported it


def test_a_later_attempt_reports_nothing_before_all_sources_had_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "HOLD_S", NEVER)
    program = Program(tmp_path, goes_on=True)
    program.append("metrics.jsonl", lines((60, 0.5)))
    assert program.look().seen == []


def test_a_second_event_file_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    program = Program(tmp_path)
    first = b"".join(scalars(step, AT + step, train__loss=float(step)) for step in range(1, 6))
    program.append("runs/a/events.out.tfevents.1", first, age_s=60)
    program.look()
    second = b"".join(scalars(step, AT + 100 + step, train__loss=step + 0.5) for step in range(3, 8))
    program.append("runs/b/events.out.tfevents.2", second)
    program.look()
    program.append("runs/a/events.out.tfevents.1", scalars(9, AT + 200, train__loss=9.0))
    program.look()
    assert program.resumed() == [2]
    assert program.values() == [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.5), (5, 5.5), (6, 6.5), (7, 7.5)]


@pytest.mark.parametrize("first", [0, 1])
def test_steps_that_begin_anew_in_one_event_file_are_of_its_next_epoch(tmp_path: Path, first: int) -> None:
    program = Program(tmp_path)
    for epoch in range(3):
        for step in range(first, first + 4):
            program.append("events.out.tfevents.1", scalars(step, AT, loss=epoch + step / 10))
        program.append("events.out.tfevents.1", scalars(epoch, AT, accuracy=0.5))
        program.look()
    assert program.resumed() == []
    assert [step for step, _ in program.values()] == list(range(first, first + 12))


def test_an_event_file_whose_program_went_back_to_a_checkpoint(tmp_path: Path) -> None:
    program = Program(tmp_path)
    for step in (1, 2, 3, 4, 3, 4, 5):
        program.append("events.out.tfevents.1", scalars(step, AT, loss=float(step)))
    assert [step for step, _ in program.look().values()] == [1, 2, 3, 4, 5]
    assert program.resumed() == [2]


def test_files_written_at_the_same_time_keep_their_own_series(tmp_path: Path) -> None:
    program = Program(tmp_path)
    for epoch in range(1, 4):
        program.append("logs/train/events.out.tfevents.1", scalars(epoch, AT + 100 * epoch, epoch_loss=1.0))
        program.append(
            "logs/validation/events.out.tfevents.2", scalars(epoch, AT + 100 * epoch + 50, epoch_loss=2.0)
        )
        program.look()
    assert program.resumed() == []
    assert program.values("epoch_loss") == [(1, 1.0), (2, 1.0), (3, 1.0)]
    assert program.values("eval_epoch_loss") == [(1, 2.0), (2, 2.0), (3, 2.0)]


def test_a_metric_without_a_loss_goes_back_alone(tmp_path: Path) -> None:
    """Values over layers, with the layer as step, discard nothing of the loss."""
    program = Program(tmp_path)
    program.append(
        "metrics.jsonl", lines((1, 3.0), (2, 2.0)) + lines((0, 1.0), (1, 1.0), (0, 2.0), key="norm")
    )
    program.look()
    assert program.values() == [(1, 3.0), (2, 2.0)]
    assert program.values("norm") == [(0, 1.0), (1, 1.0)]
    assert program.resumed() == []


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("metrics.jsonl", '{"step": 1, "loss": NaN, "a": -Infinity, "b": 1e300, "c": 1e999}\n')
    program.look()
    (event,) = (event for event in program.seen if isinstance(event, events.Metrics))
    assert event.bad == {"loss": "nan", "a": "-inf", "b": "inf", "c": "inf"}
    assert math.isnan(program.values()[0][1])


def test_values_of_one_step_are_one_event(tmp_path: Path) -> None:
    """An event file has a record for each value: 200 a second for 20 metrics."""
    program = Program(tmp_path)
    records = scalars(1, AT, loss=1.0, accuracy=0.5) + scalars(2, AT, loss=2.0) + scalars(2, AT, loss=3.0)
    program.append("events.out.tfevents.1", records)
    program.look()
    points = [(event.step, event.values) for event in program.seen if isinstance(event, events.Metrics)]
    assert points == [(1, {"loss": 1.0, "accuracy": 0.5}), (2, {"loss": 2.0})]


@pytest.mark.parametrize("step", [2**31, 2**63, -1, 1e300])
def test_steps_that_no_run_has_are_left_out(tmp_path: Path, step: float) -> None:
    program = Program(tmp_path)
    program.append("metrics.jsonl", json.dumps({"step": step, "loss": 1.0}) + "\n" + lines((7, 2.0)))
    program.look()
    assert program.values() == [(7, 2.0)]


def test_no_more_than_so_many_metrics_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = Program(tmp_path)
    values = {f"layer_{number}": 1.0 for number in range(5 * MOST_KEYS)}
    for step in (1, 2):
        program.append("metrics.jsonl", json.dumps({"step": step, "loss": 1.0, **values}) + "\n")
        program.look()
    assert len(program.names()) == MOST_KEYS
    assert program.values() == [(1, 1.0), (2, 1.0)]
    assert capsys.readouterr().out.count(f"only {MOST_KEYS} metrics are kept") == 1


def test_planned_steps_are_those_of_the_best_source(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("log.txt", "step 1/90 loss 3.0\n")
    program.look()
    program.append("metrics.jsonl", json.dumps({"step": 2, "max_steps": 100, "loss": 1.0}) + "\n")
    program.look()
    program.append("log.txt", "step 3/95 loss 3.0\n")
    program.append("metrics.jsonl", json.dumps({"step": 3, "max_steps": -1, "loss": 1.0}) + "\n")
    program.look()
    assert program.planned() == [90, 100]


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PHASE_S", 0.0)
    program = Program(tmp_path)
    program.append("log.txt", "step 30/90 loss 3.0\n")
    program.look()
    phase = next(event for event in reversed(program.seen) if isinstance(event, events.Phase))
    assert (phase.name, phase.done, phase.total, phase.unit) == ("training", 30.0, 90.0, "steps")
    events_before = len(program.seen)
    program.look()
    assert len(program.seen) == events_before  # a step of an hour needs no event a second


def test_a_named_file_is_believed_before_any_other(tmp_path: Path) -> None:
    program = Program(tmp_path, ("csv:numbers/mine.csv", "lines"))
    program.append("metrics.jsonl", lines((1, 1.0)))
    program.append("numbers/mine.csv", "step,loss\n1,2.0\n")
    program.look()
    assert program.values() == [(1, 2.0)]


@pytest.mark.parametrize("named", ["out/trainer_state.json", "out"])
def test_a_named_trainer_state(tmp_path: Path, named: str) -> None:
    program = Program(tmp_path, (f"trainer_state:{named}",))
    program.append("out/trainer_state.json", json.dumps({"log_history": [{"step": 3, "loss": 1.0}]}))
    assert program.look().values() == [(3, 1.0)]


@pytest.mark.parametrize("named", ["", ":runs", ":runs/old/events.out.tfevents.1"])
def test_files_of_an_earlier_run_are_not_read(tmp_path: Path, named: str) -> None:
    program = Program(tmp_path, (f"tensorboard{named}",), since=time.time() - 10)
    program.append("runs/old/events.out.tfevents.1", scalars(1, AT, loss=1.0), age_s=1000)
    assert program.look().values() == []
    program.append("runs/new/events.out.tfevents.2", scalars(1, AT, loss=2.0))
    assert program.look().values() == ([] if "old" in named else [(1, 2.0)])


def test_files_that_another_command_has_open_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "wandb" / "run-1-a" / "run-a.wandb"
    file.parent.mkdir(parents=True)
    file.write_bytes(leveldb(history(1, loss=1.0)))
    script = "import sys; file = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(file)],
        env={**os.environ, "FINETOP_METRICS": "/other/metrics.jsonl"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout is not None
        wait_until(lambda: other.stdout.readline() == b"open\n", "the other command to open its file")
        foreign = Program(tmp_path, environment={"FINETOP_METRICS": "/own/metrics.jsonl"})
        own = Program(tmp_path, environment={"FINETOP_METRICS": "/other/metrics.jsonl"})
        assert foreign.look().values() == []
        assert own.look().values() == [(1, 1.0)]
        other.kill()


def test_a_long_search_is_repeated_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SEARCHES", 1e9)
    monkeypatch.setattr(search, "LONGEST_S", NEVER)
    program = Program(tmp_path)
    program.look()
    program.append("metrics.jsonl", lines((1, 1.0)))
    assert program.look().values() == []
    assert program.look(is_last=True).values() == [(1, 1.0)]


def test_the_last_look_reads_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetop.core.external.sources import _tail

    monkeypatch.setattr(_tail, "MOST_BYTES", 1 << 10)
    program = Program(tmp_path)
    program.append("metrics.jsonl", lines(*((step, 1.0) for step in range(500))))
    program.look()
    assert 0 < len(program.values()) < 100
    program.look(is_last=True)
    assert len(program.values()) == 500


def test_the_pace_is_told_to_alarms_by_the_programs_clock(tmp_path: Path) -> None:
    program = Program(tmp_path)
    seen: list[dict[str, float]] = []
    program.numbers._alarms.check = lambda step, values: seen.append(dict(values))
    for step, at in ((10, AT), (20, AT + 5)):
        program.append("metrics.jsonl", json.dumps({"step": step, "time": at, "loss": 1.0}) + "\n")
    program.look()
    assert seen == [{"loss": 1.0}, {"loss": 1.0, "step_s": 0.5}]


def test_alarms_and_own_lines_in_the_log_are_no_numbers(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.append("log.txt", "alarm: step 5: loss 3.0\nfinetop: step 6 loss 2.0\nover: step 7: loss 1\n")
    assert program.look(is_last=True).values() == []


def test_a_reader_that_fails_ends_neither_the_training_nor_the_other_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(reader: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("finetop.core.external.sources.csv.Table.read", fail)
    program = Program(tmp_path)
    program.append("metrics.csv", "step,loss\n1,5.0\n")
    program.append("metrics.jsonl", lines((1, 1.0)))
    program.look()
    program.append("metrics.jsonl", lines((2, 0.5)))
    program.look()
    assert program.values("loss") == [(1, 1.0), (2, 0.5)]
    assert capsys.readouterr().out.count("the numbers of csv can't be read any further") == 1
