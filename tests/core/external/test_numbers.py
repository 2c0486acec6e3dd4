"""A program's numbers, from several sources at once: each value once, under one name, at its step."""

import json
import math
import time
from pathlib import Path

import pytest
from metric_files import Program, history, json_lines, leveldb, other_command, put, scalars

from finetop.core.external import merging, numbers, progress, search, sources
from finetop.core.external.ownership import MOST_KEYS
from finetop.core.external.search import wanted
from finetop.core.external.sources import stdout
from finetop.core.protocol import events
from finetop.core.protocol.metric_names import name_of

AT = 1.8e9  # seconds since 1970
NEVER = 3600.0


EVENTS = "events.out.tfevents.1"
pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def lines(*points: tuple[int, float], key: str = "loss") -> str:
    return json_lines(*({"step": step, key: value} for step, value in points))


def history_of(*steps: int, loss: float = 1.0) -> dict[str, object]:
    """Return a trainer's state."""
    return {"log_history": [{"step": step, "loss": loss} for step in steps]}


NAMES = {
    "loss": "loss Loss train/loss train_loss loss/train lm_loss total_loss train/CrossEntropyLoss",
    "eval_loss": "Loss/val eval/loss eval_loss val_loss",
    "eval_accuracy": "validation/accuracy",
    "learning_rate": "lr train/lr",
    "token_accuracy": "train/mean_token_accuracy",
    "train_loss": "train/train_loss",  # the Trainer's mean over the run
    "test_loss": "test_loss",  # a test is no evaluation while it trains
    **{name: name for name in ("train_runtime", "evaluate", "valuable", "training", "rewards/margins")},
}


@pytest.mark.parametrize(
    ("key", "name"), [(key, name) for name, keys in NAMES.items() for key in keys.split()]
)
def test_names(key, name):
    assert name_of(key) == name


def test_wanted_sources():
    assert wanted(["auto"]) == dict.fromkeys(sources.names(), "")
    assert wanted(["none", "auto"]) == {}
    assert wanted(["csv:out/a.csv", "stdout"]) == {"csv": "out/a.csv", "stdout": ""}


def test_two_keys_never_share_a_name(program, tmp_path):
    program.append(
        "metrics.jsonl",
        {"step": 1, "train/loss": 1.0, "loss": 2.0, "train_loss": 3.0},
        {"step": 2, "train/loss": 1.5, "eval/loss": 4.0},
        {"step": 3, "val_loss": 5.0},
    ).look()
    assert program.values("loss") == [(1, 2.0)]  # the key that is named as ours
    assert program.values("train/loss") == [(1, 1.0), (2, 1.5)]
    assert program.values("train_loss") == [(1, 3.0)]
    assert program.values("eval_loss") == [(2, 4.0)]
    assert program.values("val_loss") == [(3, 5.0)]
    # a key that comes later gets a name of its own
    later = Program(tmp_path / "later")
    later.append("metrics.jsonl", lines((1, 1.0), key="train/loss") + lines((2, 2.0))).look()
    assert later.values("loss") == [(1, 1.0)]
    assert later.values("loss_2") == [(2, 2.0)]


def test_names_can_be_stored_and_shown(program):
    keys = {"a\u001b[31mb\nc": 1.0, "k" * 500: 2.0, "\ud800x": 3.0, "": 4.0, "k" * 501: 5.0}
    program.append("metrics.jsonl", {"step": 1, **keys}).look()
    assert program.names() == {"ab c", "k" * 200, "?x", "k" * 196 + "_2"}
    for number, event in enumerate(program.seen, 1):
        line = b'{"n":%d,"t":1.0,"e":%s}' % (number, events.msgspec.json.encode(event))
        assert events.decode(line).e == event


def test_a_better_source_takes_over_and_nothing_doubles(program):
    program.append("log.txt", "step 1 loss 3.0\nstep 2 loss 2.5\n").look()
    assert program.values() == [(1, 3.0), (2, 2.5)]
    program.append("metrics.jsonl", lines((1, 3.01), (2, 2.51), (3, 2.01)))
    program.append("log.txt", "step 3 loss 2.0\nstep 4 loss 1.5\n").look()
    program.append("metrics.jsonl", lines((4, 1.51))).look(is_last=True)
    assert program.values() == [(1, 3.0), (2, 2.5), (3, 2.01), (4, 1.51)]
    assert program.resumed() == []
    assert program.numbers.read == {"stdout", "lines"}


def test_what_is_printed_waits_for_a_better_source_but_not_for_ever(program, tmp_path, monkeypatch):
    monkeypatch.setattr(numbers, "HOLD_S", NEVER)
    assert program.append("log.txt", "step 1/90 loss 3.0\n").look().values() == []
    assert program.planned() == [90]  # how long it will be is told at once
    monkeypatch.setattr(numbers, "HOLD_S", 0.0)
    assert program.look().values() == [(1, 3.0)]
    monkeypatch.setattr(numbers, "HOLD_S", NEVER)
    program.append("log.txt", "step 2 loss 2.0\n").look()
    assert program.values() == [(1, 3.0), (2, 2.0)]  # it has waited, once and for all
    other = Program(tmp_path / "other")
    other.append("log.txt", "step 1 loss 3.0\n").look()
    other.append("metrics.jsonl", lines((1, 3.01)))
    assert other.look(is_last=True).values() == [(1, 3.01)]


def test_guessed_steps_are_corrected_by_a_better_source(program):
    program.append("log.txt", "{'loss': 3.0, 'epoch': 0.1}\n{'loss': 2.0, 'epoch': 0.2}\n").look().look()
    assert program.values() == [(1, 3.0), (2, 2.0)]
    entries = [{"step": step, "loss": loss, "epoch": step / 100} for step, loss in ((10, 3.0), (20, 2.0))]
    program.append("checkpoint-20/trainer_state.json", {"log_history": [{"step": 1, "loss": 9.0}, *entries]})
    assert program.look(is_last=True).values() == [(1, 9.0), (10, 3.0), (20, 2.0)]


def test_correcting_guesses_discards_nothing_of_a_third_source(program):
    program.append("metrics.jsonl", lines((1, 0.1), (2, 0.2), key="accuracy"))
    program.append("log.txt", "{'loss': 3.0}\n{'loss': 2.0}\n").look().look()
    program.append("trainer_state.json", history_of(1, 5)).look(is_last=True)
    assert program.values("accuracy") == [(1, 0.1), (2, 0.2)]
    assert program.values() == [(1, 3.0), (2, 2.0), (5, 1.0)]


def test_a_program_that_begins_anew_discards_its_later_steps(program, tmp_path):
    program.append("metrics.jsonl", lines((1, 3.0), (2, 2.0), (3, 1.0))).look()
    program.append("metrics.jsonl", lines((2, 2.1), (3, 1.1), (4, 0.9))).look()
    assert program.resumed() == [1]
    assert program.values() == [(1, 3.0), (2, 2.1), (3, 1.1), (4, 0.9)]
    put(tmp_path / "metrics.jsonl", lines((3, 3.3)))  # cut, and written again
    program.look()
    assert program.resumed() == [1, 2]
    assert program.values() == [(1, 3.0), (2, 2.1), (3, 3.3)]


def test_a_later_attempt_waits_for_all_sources_and_discards_the_steps_that_it_repeats(tmp_path, monkeypatch):
    monkeypatch.setattr(numbers, "HOLD_S", NEVER)
    program = Program(tmp_path, goes_on=True)
    program.append("metrics.jsonl", lines((60, 0.5), key="accuracy") + lines((0, 7.0), key="parameters"))
    assert program.append("log.txt", "step 51 loss 1.0\n").look().seen == []
    program.look(is_last=True)
    assert program.resumed() == [50]
    assert program.values() == [(51, 1.0)]
    assert program.values("accuracy") == [(60, 0.5)]
    assert program.values("parameters") == []  # the attempt before has reported it
    # its loss comes later than another metric, and begins before that
    late = Program(tmp_path / "late", goes_on=True)
    late.append("metrics.jsonl", lines((60, 0.5), key="accuracy")).look(is_last=True)
    late.append("log.txt", "step 51 loss 1.0\n").look(is_last=True)
    assert (late.resumed(), late.values()) == ([59, 50], [(51, 1.0)])


def test_a_second_event_file_goes_on_where_the_first_ended(program):
    first = b"".join(scalars(step, AT + step, train__loss=float(step)) for step in range(1, 6))
    program.append(f"runs/a/{EVENTS}", first, age_s=60).look()
    second = b"".join(scalars(step, AT + 100 + step, train__loss=step + 0.5) for step in range(3, 8))
    program.append("runs/b/events.out.tfevents.2", second).look()
    program.append(f"runs/a/{EVENTS}", scalars(9, AT + 200, train__loss=9.0)).look()
    assert program.resumed() == [2]
    assert program.values() == [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.5), (5, 5.5), (6, 6.5), (7, 7.5)]


@pytest.mark.parametrize("first", [0, 1])
def test_steps_that_begin_anew_in_one_event_file_are_of_its_next_epoch(program, first):
    for epoch in range(3):
        for step in range(first, first + 4):
            program.append(EVENTS, scalars(step, AT, loss=epoch + step / 10))
        program.append(EVENTS, scalars(epoch, AT, accuracy=0.5)).look()
    assert program.resumed() == []
    assert [step for step, _ in program.values()] == list(range(first, first + 12))


def test_an_event_file_whose_program_went_back_to_a_checkpoint(program):
    for step in (1, 2, 3, 4, 3, 4, 5):
        program.append(EVENTS, scalars(step, AT, loss=float(step)))
    assert [step for step, _ in program.look().values()] == [1, 2, 3, 4, 5]
    assert program.resumed() == [2]


def test_files_written_at_the_same_time_keep_their_own_series(program):
    for epoch in range(1, 4):
        program.append(f"logs/train/{EVENTS}", scalars(epoch, AT + 100 * epoch, epoch_loss=1.0))
        later = scalars(epoch, AT + 100 * epoch + 50, epoch_loss=2.0)
        program.append("logs/validation/events.out.tfevents.2", later).look()
    assert program.resumed() == []
    assert program.values("epoch_loss") == [(1, 1.0), (2, 1.0), (3, 1.0)]
    assert program.values("eval_epoch_loss") == [(1, 2.0), (2, 2.0), (3, 2.0)]


def test_a_metric_without_a_loss_goes_back_alone(program):
    """Values over layers, with the layer as step, discard nothing of the loss."""
    program.append("metrics.jsonl", lines((1, 3.0), (2, 2.0)))
    program.append("metrics.jsonl", lines((0, 1.0), (1, 1.0), (0, 2.0), key="norm")).look()
    assert program.values() == [(1, 3.0), (2, 2.0)]
    assert program.values("norm") == [(0, 1.0), (1, 1.0)]
    assert program.resumed() == []


def test_values_that_are_not_finite(program):
    program.append(
        "metrics.jsonl", '{"step": 1, "loss": NaN, "a": -Infinity, "b": 1e300, "c": 1e999}\n'
    ).look()
    (event,) = (event for event in program.seen if isinstance(event, events.Metrics))
    assert event.bad == {"loss": "nan", "a": "-inf", "b": "inf", "c": "inf"}
    assert math.isnan(program.values()[0][1])


def test_values_of_one_step_are_one_event(program):
    """An event file has a record for each value: 200 a second for 20 metrics."""
    records = scalars(1, AT, loss=1.0, accuracy=0.5) + scalars(2, AT, loss=2.0) + scalars(2, AT, loss=3.0)
    program.append(EVENTS, records).look()
    points = [(event.step, event.values) for event in program.seen if isinstance(event, events.Metrics)]
    assert points == [(1, {"loss": 1.0, "accuracy": 0.5}), (2, {"loss": 2.0})]


def test_steps_that_no_run_has_are_left_out(program):
    for step, good in ((2**31, 7), (2**63, 8), (-1, 9), (1e300, 10)):
        program.append("metrics.jsonl", {"step": step, "loss": 1.0}, {"step": good, "loss": 2.0}).look()
    assert program.values() == [(7, 2.0), (8, 2.0), (9, 2.0), (10, 2.0)]


def test_no_more_than_so_many_metrics_are_kept(program, capsys):
    values = {f"layer_{number}": 1.0 for number in range(5 * MOST_KEYS)}
    for step in (1, 2):
        program.append("metrics.jsonl", {"step": step, "loss": 1.0, **values}).look()
    assert len(program.names()) == MOST_KEYS
    assert program.values() == [(1, 1.0), (2, 1.0)]
    assert capsys.readouterr().out.count(f"only {MOST_KEYS} metrics are kept") == 1


def test_planned_steps_are_those_of_the_best_source(program):
    program.append("log.txt", "step 1/90 loss 3.0\n").look()
    program.append("metrics.jsonl", {"step": 2, "max_steps": 100, "loss": 1.0}).look()
    program.append("log.txt", "step 3/95 loss 3.0\n")
    program.append("metrics.jsonl", {"step": 3, "max_steps": -1, "loss": 1.0}).look()
    assert program.planned() == [90, 100]


def test_progress_is_told(program, monkeypatch):
    monkeypatch.setattr(progress, "PHASE_S", 0.0)
    program.append("log.txt", "step 30/90 loss 3.0\n").look()
    phase = next(event for event in reversed(program.seen) if isinstance(event, events.Phase))
    assert (phase.name, phase.done, phase.total, phase.unit) == ("training", 30.0, 90.0, "steps")
    events_before = len(program.seen)
    program.look()
    assert len(program.seen) == events_before  # a step of an hour needs no event a second


def test_a_named_file_is_believed_before_any_other(tmp_path):
    program = Program(tmp_path, ("csv:numbers/mine.csv", "lines"))
    program.append("metrics.jsonl", lines((1, 1.0)))
    assert program.append("numbers/mine.csv", "step,loss\n1,2.0\n").look().values() == [(1, 2.0)]
    for named in ("out/trainer_state.json", "out"):
        program = Program(tmp_path, (f"trainer_state:{named}",))
        put(tmp_path / "out/trainer_state.json", json_lines(history_of(3)))
        assert program.look().values() == [(3, 1.0)]


@pytest.mark.parametrize("named", ["", ":runs", f":runs/old/{EVENTS}"])
def test_files_of_an_earlier_run_are_not_read(tmp_path, named):
    program = Program(tmp_path, (f"tensorboard{named}",), since=time.time() - 10)
    program.append(f"runs/old/{EVENTS}", scalars(1, AT, loss=1.0), age_s=1000)
    assert program.look().values() == []
    program.append("runs/new/events.out.tfevents.2", scalars(1, AT, loss=2.0))
    assert program.look().values() == ([] if "old" in named else [(1, 2.0)])


def test_files_that_another_command_has_open_are_not_read(tmp_path):
    with other_command(put(tmp_path / "wandb/run-1-a/run-a.wandb", leveldb(history(1, loss=1.0)))):
        foreign = Program(tmp_path, environment={"FINETOP_METRICS": "/own/metrics.jsonl"})
        own = Program(tmp_path, environment={"FINETOP_METRICS": "/other/metrics.jsonl"})
        assert foreign.look().values() == []
        assert own.look().values() == [(1, 1.0)]


def test_a_long_search_is_repeated_less_often(program, monkeypatch):
    monkeypatch.setattr(search, "SEARCHES", 1e9)
    monkeypatch.setattr(search, "LONGEST_S", NEVER)
    program.look()
    assert program.append("metrics.jsonl", lines((1, 1.0))).look().values() == []
    assert program.look(is_last=True).values() == [(1, 1.0)]


def test_the_last_look_reads_everything(program, monkeypatch):
    from finetop.core.external.sources import _tail

    monkeypatch.setattr(_tail, "MOST_BYTES", 1 << 10)
    program.append("metrics.jsonl", lines(*((step, 1.0) for step in range(500)))).look()
    assert 0 < len(program.values()) < 100
    assert len(program.look(is_last=True).values()) == 500


def test_the_pace_is_told_to_alarms_by_the_programs_clock(program):
    seen: list[dict[str, float]] = []
    program.numbers._alarms.check = lambda step, values: seen.append(dict(values))
    for step, at in ((10, AT), (20, AT + 5)):
        program.append("metrics.jsonl", {"step": step, "time": at, "loss": 1.0})
    program.look()
    assert seen == [{"loss": 1.0}, {"loss": 1.0, "step_s": 0.5}]


def test_printed_losses_that_fall_slowly_lead_between_two_checkpoints(program):
    """Each is within a hundredth of the next, as in most trainings; only their digits tell which step is which."""
    losses = [(step, 5.9073153 * 0.993**step) for step in range(1, 35)]
    for _, loss in losses:
        program.append("log.txt", f"{{'loss': '{loss:.4g}', 'epoch': '0.1'}}\n")
    state = {"log_history": [{"step": step, "loss": loss} for step, loss in losses[:20]]}
    program.append("checkpoint-20/trainer_state.json", json.dumps(state)).look().look(is_last=True)
    assert [step for step, _ in program.values()] == [*range(1, 35)]
    assert [loss for _, loss in program.values()] == pytest.approx([loss for _, loss in losses], rel=1e-3)


def test_what_is_printed_too_fast_to_be_read_is_counted_in_an_alarm(program, monkeypatch):
    monkeypatch.setattr(stdout, "MOST_BEHIND", 4 << 20)
    monkeypatch.setattr(numbers, "LAST_S", 0.0)

    def alarms() -> list[tuple[str, bool]]:
        told = [event for event in program.seen if isinstance(event, events.Alarm)]
        return [(event.kind, event.over) for event in told]

    program.append("log.txt", "step 1 loss 1.0\n").look()
    assert alarms() == []
    program.append("log.txt", "x" * 99 + "\n", *["text\n" * 1000] * 1000, "step 2 loss 1.0\n").look().look()
    assert alarms() == [("skipped_output", False)]
    monkeypatch.setattr(stdout, "MOST_CPU_S", 0.0)
    monkeypatch.setattr(stdout, "FLOOD_CPU_S", 0.0)
    program.append("log.txt", "text\n" * 200_000).look(is_last=True)
    assert alarms() == [("skipped_output", False), ("skipped_output", True), ("skipped_output", False)]
    last = [event for event in program.seen if isinstance(event, events.Alarm)][-1]
    assert "bytes of its output were not read" in last.text
    (reader,) = (file.reader for file in program.numbers._files.values())
    assert last.text.startswith(f"{reader.passed_over + reader.left:,} bytes")


def test_alarms_and_own_lines_in_the_log_are_no_numbers(program):
    program.append("log.txt", "alarm: step 5: loss 3.0\nfinetop: step 6 loss 2.0\nover: step 7: loss 1\n")
    assert program.look(is_last=True).values() == []


def test_a_reader_that_fails_ends_neither_the_training_nor_the_other_sources(program, monkeypatch, capsys):
    def fail(reader: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("finetop.core.external.sources.csv.Table.read", fail)
    program.append("metrics.csv", "step,loss\n1,5.0\n")
    program.append("metrics.jsonl", lines((1, 1.0))).look()
    program.append("metrics.jsonl", lines((2, 0.5))).look()
    assert program.values("loss") == [(1, 1.0), (2, 0.5)]
    assert capsys.readouterr().out.count("the numbers of csv can't be read any further") == 1


def dicts(*losses: float) -> str:
    """Return what a Trainer without a progress bar prints."""
    return "".join(f"{{'loss': '{loss}', 'epoch': '0.5'}}\n" for loss in losses)


@pytest.mark.parametrize("stride", [1, 10])
def test_what_is_printed_leads_until_the_next_checkpoint(program, monkeypatch, stride):
    """A Trainer with disable_tqdm=True prints no steps; its state has them, as often as it saves."""
    monkeypatch.setattr(merging, "LEAD_S", 0.0)
    losses = [3 / (1 + n / 10) for n in range(1, 61)]
    entries = [{"step": stride * n, "loss": loss} for n, loss in enumerate(losses, 1)]
    printed = [dicts(round(loss, 4)) for loss in losses]
    for n in (20, 40):
        program.append("log.txt", *printed[0 if n == 20 else 34 : n]).look().look()
        program.append(f"checkpoint-{stride * n}/trainer_state.json", {"log_history": entries[:n]}).look()
        program.append("log.txt", *printed[n : n + 14]).look().look()
        assert [step for step, _ in program.values()] == [stride * k for k in range(1, n + 15)]
    assert all(loss == pytest.approx(losses[step // stride - 1], rel=1e-3) for step, loss in program.values())
    assert len(program.resumed()) == (0 if stride == 1 else 1)


def test_a_stopped_trainer_loses_no_printed_step_after_its_last_checkpoint(program):
    losses = [3 / (1 + n / 10) for n in range(1, 35)]
    program.append("log.txt", dicts(*(round(loss, 4) for loss in losses)))
    entries = [{"step": n, "loss": loss} for n, loss in enumerate(losses[:20], 1)]
    program.append("checkpoint-20/trainer_state.json", {"log_history": entries}).look(is_last=True)
    assert [step for step, _ in program.values()] == list(range(1, 35))


def test_what_is_printed_leads_until_the_event_file_is_written_and_nothing_doubles(program, monkeypatch):
    monkeypatch.setattr(merging, "LEAD_S", 0.0)
    program.append("log.txt", "".join(f"step {step} loss {step}.0\n" for step in range(10, 40, 10)))
    for step in range(1, 31):
        program.append(EVENTS, scalars(step, AT, loss=step + 0.001))
    program.look().append("log.txt", "step 40 loss 40.0\nstep 50 loss 50.0\n").look()
    assert [step for step, _ in program.values()] == [*range(1, 31), 40, 50]
    for step in range(31, 61):
        program.append(EVENTS, scalars(step, AT, loss=step + 0.001))
    program.look(is_last=True)
    assert sorted(step for step, _ in program.values()) == list(range(1, 61))
    assert program.resumed() == []


def test_a_source_that_counts_other_steps_never_leads(program, monkeypatch):
    """What it prints is of micro-batches, its event file of steps."""
    monkeypatch.setattr(merging, "LEAD_S", 0.0)
    program.append("log.txt", "".join(f"step {step} loss {3 / step}\n" for step in range(1, 41)))
    for step in range(1, 5):
        program.append(EVENTS, scalars(step, AT, loss=3 / (8 * step)))
    program.look().append("log.txt", "".join(f"step {step} loss 0.01\n" for step in range(41, 60)))
    program.look(is_last=True)
    assert [step for step, _ in program.values()] == [1, 2, 3, 4]


def test_output_of_which_nothing_is_recognised_is_an_alarm_until_a_number_comes(program, capsys, monkeypatch):
    def alarms() -> list[tuple[str, bool]]:
        return [(event.kind, event.over) for event in program.seen if isinstance(event, events.Alarm)]

    program.append("log.txt", "Loading the model\n" * 49).look()
    assert alarms() == []
    program.append("log.txt", "[17] L~2.5\n").look().look()
    assert alarms() == [("no_numbers", False)]
    assert capsys.readouterr().out.count("nothing recognised") == 1
    program.append("log.txt", "step 1 loss 2.0\n").look()
    assert alarms() == [("no_numbers", False), ("no_numbers", True)]


def test_a_minute_of_output_without_a_number_is_an_alarm_and_silence_is_none(program, tmp_path, monkeypatch):
    monkeypatch.setattr(numbers, "SILENT_S", 0.0)
    quiet = Program(tmp_path / "quiet").look()
    unread = Program(tmp_path / "none", ("none",)).append("log.txt", "words\n" * 99).look()
    program.append("log.txt", "one line\n").look()
    terminal = Program(tmp_path / "terminal")  # of a watched program, whose output nobody else can read
    object.__setattr__(terminal.numbers._search.places, "log", None)
    told = [
        [event.text for event in one.seen if isinstance(event, events.Alarm)]
        for one in (quiet, unread, program, terminal.look())
    ]
    assert told == [[], [], [events.NOTHING_READ], [events.NOT_READABLE]]
