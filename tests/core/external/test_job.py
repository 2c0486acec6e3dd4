"""The job of a command, without a supervisor: its budget and what attempts in one folder leave."""

import re
import sys
from pathlib import Path

import msgspec
import pytest
from command_attempt import Attempt
from small_group import GREEDY, small_group

from finetop.core.errors import BadInput
from finetop.core.external import job, looks, note, watch
from finetop.core.external.recipe import with_environment
from finetop.core.protocol import events
from finetop.core.protocol.numbers_from import NumbersFrom
from finetop.core.runtime.event_log import EventLog

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


def attempt_after(home: Path, spent_s: float) -> Attempt:
    """Return an attempt of a command that may train for an hour, after one that was killed."""
    earlier = home / "runs/0001-x/jobs/0000-command"
    earlier.mkdir(parents=True)
    log = EventLog(earlier / "events.jsonl")
    log.write(events.Phase("training", 5.0, None, "steps", None, spent_s - 10.0))
    log.write(events.Phase("training", 6.0, None, "steps", None, spent_s))
    attempt = Attempt(home, None, SLEEP, "budget.hours=1")
    note.remove(attempt.folder)  # it has not begun
    return attempt


def test_what_earlier_attempts_have_used_of_the_hours_counts(tmp_path):
    attempt = attempt_after(tmp_path / "some", 3599.0)
    end = job.work(attempt.job())
    assert (end.status, end.kind) == ("stopped", "")
    assert end.cause == "budget.hours (1) is used up: trained for 1 hour"
    spent = [event.spent_s for event in attempt.seen() if isinstance(event, events.Phase)]
    assert 3600.0 <= (spent[-1] or 0.0) < 3700.0
    # with none left it does not start
    with pytest.raises(BadInput, match=r"budget.hours \(1\) is used up: trained for 1.01 hours"):
        job.work(attempt_after(tmp_path / "all", 3630.0).job())


@pytest.mark.parametrize(("last", "status"), [("NaN", "failed"), ("Infinity", "failed"), ("0.5", "finished")])
def test_a_command_whose_last_loss_is_no_number_has_failed_whatever_its_exit_code(tmp_path, last, status):
    write = f"""
import os
with open(os.environ["FINETOP_METRICS"], "w") as file:
    file.write('{{"step": 1, "loss": 2.0}}\\n{{"step": 2, "loss": {last}}}\\n')
"""
    attempt = Attempt(tmp_path, None, (sys.executable, "-c", write))
    note.remove(attempt.folder)
    end = job.work(attempt.job())
    assert end.status == status
    if status == "failed":
        assert end.kind == "nan" and end.cause == f"the loss is {float(last)} at its last step, 2"
    alarms = [event.text for event in attempt.seen() if isinstance(event, events.Alarm)]
    assert not any("train.learning_rate" in text for text in alarms)


def test_a_program_that_the_kernel_killed_for_lack_of_memory_says_so(tmp_path):
    with small_group() as group:
        attempt = Attempt(tmp_path, None, (sys.executable, "-c", GREEDY, str(group)))
        note.remove(attempt.folder)
        end = job.work(attempt.job())
    assert (end.status, end.kind) == ("failed", "out_of_memory")
    assert re.fullmatch(
        r"out of memory in its control group: the kernel killed process \d+ \(python\S*\), which held 0.0\d+ GiB",
        end.cause,
    )


@pytest.mark.parametrize("work", [job.work, watch.work])
def test_last_numbers_that_can_not_be_read_in_time_are_an_alarm(tmp_path, monkeypatch, work):
    monkeypatch.setattr(looks.Looks, "look_at_last", lambda self: False)
    attempt = Attempt(tmp_path, None, (sys.executable, "-c", ""))
    note.remove(attempt.folder)
    attempt.spec = msgspec.structs.replace(attempt.spec, args={"pid": 2**22 - 3, "start": "1"})
    assert work(attempt.job()).status == "finished"
    (alarm,) = (event for event in attempt.seen() if isinstance(event, events.Alarm))
    assert (alarm.kind, alarm.text) == (events.SKIPPED_OUTPUT, job.NOT_IN_TIME)


def test_the_threads_of_the_supervisors_shell_are_not_the_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    command = Attempt(tmp_path, None, SLEEP).job().recipe().command
    assert "OMP_NUM_THREADS" not in job.environment_of(command, tmp_path)
    own = with_environment({"command": msgspec.to_builtins(command)})["command"]["env"]
    assert own["OMP_NUM_THREADS"] == "3"


def test_a_later_attempt_in_the_same_folder_first_reads_what_the_one_before_left(tmp_path: Path) -> None:
    """As in Slurm, which starts a job again by itself."""
    attempt = Attempt(tmp_path, None, (sys.executable, "-c", ""))
    attempt.append("metrics.jsonl", '{"step": 1, "loss": 2.0}\n')
    attempt.reading.read_new()
    attempt.append("metrics.jsonl", '{"step": 2, "loss": 1.0}\n')
    (attempt.folder / "attempt").write_text("2")
    assert job.work(attempt.job()).status == "finished"
    assert attempt.steps() == [1, 2]
    kinds = [type(event) for event in attempt.seen() if not isinstance(event, events.Phase | NumbersFrom)]
    assert kinds == [events.Metrics, events.Metrics, events.Started]
