"""Faults 7 and 16: silent jobs: hung, stopped by a signal, deadlocked; all marks cleared when they go on."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig import SEVERAL, Rig, counted
from waiting import times, wait_until

from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime.processes import alive
from finetop.core.wording import pulse

AFTER_S = 1
NOT_SOON_S = 60  # longer than an active job can be silent on a busy machine


@pytest.fixture
def rig(cold_rig: Rig) -> Rig:
    """A supervisor that runs several jobs at a time."""
    cold_rig.settings = SEVERAL
    cold_rig.up()
    return cold_rig


def watched(rig, then: str = "tell", after_s: int = AFTER_S) -> None:
    hung = f"hung: {{after_s: {after_s}, then: {then}}}\n"
    (rig.home.root / "settings.yaml").write_text(rig.settings + hung)


def waiting(rig, at: int = 5, **plan: Any) -> str:
    """Queue a run that waits before a step, and return its name once it does."""
    name = rig.submit(waits_at=at, **plan)
    rig.wait_step(name, at - 1)
    return name


def until(rig, name: str, is_so: Callable[[Any], bool]) -> Any:
    """Wait until a run has this state, and return its row."""

    def row_then() -> Any:
        row = rig.ask(GetRun(name)).row
        return row if is_so(row.state) else None

    return wait_until(row_then, lambda: rig.about(name))


def finetop(rig, *words: str) -> str:
    command = [sys.executable, "-m", "finetop.tui.main", "--home", str(rig.home.root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def go_on(rig, name: str) -> None:
    (rig.job_folder(name) / "go").touch()


@pytest.mark.parametrize("spins", [False, True])
def test_a_job_that_sleeps_in_step_5_is_hung_says_where_and_is_well_when_it_goes_on(rig, survived, spins):
    name = waiting(rig, steps=50, spins=spins, grandchild=True)
    watched(rig)
    row = until(rig, name, lambda state: getattr(state, "frames", []))
    state = row.state
    assert (state.pulse, row.needs_you, row.step) == ("hung", True, 4)
    assert state.frames[0].startswith("in wait_with (rig/fake_job.py:")
    assert pulse.details(state).startswith("no step for ")
    assert "usual " in pulse.details(state)
    log = (rig.job_folder(name) / "log.txt").read_text()
    assert log.count("finetop: stacks of process") == 1
    another = waiting(rig)
    until(rig, another, lambda state: getattr(state, "frames", []))  # watched for the same time again
    log = (rig.job_folder(name) / "log.txt").read_text()
    assert log.count("finetop: stacks of process") == 1, "more than one dump in one silence"
    grandchild = int((rig.job_folder(name) / "grandchild.txt").read_text())
    assert alive(grandchild), "it did not expect the signal, and must not get it"
    for verb in (["ls"], ["show", name]):
        assert "HUNG no step for " in finetop(rig, *verb)
    assert "in wait_with (rig/fake_job.py:" in finetop(rig, "show", name)
    go_on(rig, name)
    row = rig.wait_state(name, "finished")
    assert not row.needs_you
    rig.ask(Kill(another))
    rig.wait_state(another, "stopped")
    what = "hung trainer, busy" if spins else "hung trainer, asleep"
    survived("16", what, **counted(*rig.told_and_written(name)), wrong=row.step != 50)


def test_what_is_said_of_a_silence_goes_by_itself_while_the_run_still_trains(rig):
    name = waiting(rig, steps=100_000, pause_s=0.02)
    watched(rig)
    until(rig, name, lambda state: getattr(state, "pulse", "") == "hung")
    go_on(rig, name)
    state = until(rig, name, lambda state: not state.pulse).state
    assert (state.silent_s, state.frames, state.evidence) == (0.0, [], "")
    rig.ask(Kill(name))
    rig.wait_state(name, "stopped")


def test_a_hung_job_is_killed_where_the_settings_say_so(rig, survived):
    name = waiting(rig, steps=50)
    watched(rig, "kill")
    state = rig.wait_state(name, "failed").state
    assert state.kind == "hung"
    assert state.cause.startswith("hung: no step for ")
    assert "in wait_with" in state.hint
    survived("16", "hung trainer, killed by the settings")


STOPS = [(times(20, 2), 0.0), pytest.param(1, 120.0, marks=pytest.mark.nightly)]


def ended(rig, name: str) -> dict[str, int]:
    """Stop a run, and count its steps."""
    rig.ask(Stop(name))
    row = rig.wait_state(name, "stopped")
    counts = counted(*rig.told_and_written(name))
    return {**counts, "wrong": row.step != counts["written"]}


@pytest.mark.parametrize(("stops", "stopped_s"), STOPS)
def test_a_stopped_trainer_is_said_to_be_stopped_and_is_never_killed_for_it(rig, survived, stops, stopped_s):
    moments = random.Random(7)
    name = rig.submit(steps=100_000, pause_s=0.02)
    until(rig, name, lambda state: getattr(state, "done", None))
    job = rig.keeper(name)["job_pid"]
    for _ in range(stops):
        time.sleep(moments.uniform(0.0, 0.3))  # at any moment of training
        os.kill(job, signal.SIGSTOP)
        watched(rig, "kill")
        row = until(rig, name, lambda state: state.pulse == "stopped")
        assert row.needs_you
        assert pulse.details(row.state).startswith("stopped by a signal")
        another = waiting(rig)  # it hangs for as long, while this one does not
        assert rig.wait_state(another, "failed").state.kind == "hung"
        time.sleep(stopped_s)  # as long as it stays stopped
        assert alive(job)
        watched(rig, "kill", NOT_SOON_S)
        os.kill(job, signal.SIGCONT)
        until(rig, name, lambda state: not state.pulse)
    survived("7", f"trainer stopped by a signal, {stopped_s:g} s", repeats=stops, **ended(rig, name))


@pytest.mark.parametrize(("stops", "stopped_s"), STOPS)
def test_a_supervisor_that_was_stopped_reads_what_it_missed_and_calls_nothing_hung(
    rig, survived, stops, stopped_s
):
    watched(rig, "kill", NOT_SOON_S)
    moments = random.Random(8)
    name = rig.submit(steps=100_000, pause_s=0.02)
    until(rig, name, lambda state: getattr(state, "done", None))
    for _ in range(stops):
        time.sleep(moments.uniform(0.0, 0.3))  # at any moment of training
        rig.processes[-1].send_signal(signal.SIGSTOP)
        side = next(rig.home.runs.glob(f"*-{name}/jobs/*")) / "side.txt"
        written = len(side.read_text().split())
        wait_until(lambda: len(side.read_text().split()) > written + 20, "the job goes on")  # noqa: B023
        time.sleep(stopped_s)  # as long as it stays stopped
        rig.processes[-1].send_signal(signal.SIGCONT)
        rig.wait_step(name, written + 20)
        state = rig.ask(GetRun(name)).row.state
        assert getattr(state, "pulse", "") == ""
    survived("7", f"supervisor stopped by a signal, {stopped_s:g} s", repeats=stops, **ended(rig, name))


def test_a_new_supervisor_still_knows_that_a_job_is_hung(cold_rig):
    process = cold_rig.up()
    name = waiting(cold_rig, steps=50)
    watched(cold_rig)
    until(cold_rig, name, lambda state: getattr(state, "frames", []))
    before = cold_rig.ask(GetRun(name)).row.state
    process.kill()
    process.wait()
    cold_rig.up()
    after = cold_rig.ask(GetRun(name)).row.state
    assert (after.pulse, after.frames) == ("hung", before.frames)
    assert after.silent_s >= before.silent_s
    go_on(cold_rig, name)
    cold_rig.wait_state(name, "finished")


def test_of_deadlocked_ranks_the_one_that_the_others_wait_for_is_named(rig, survived):
    name = waiting(rig, steps=50, ranks=2)
    for rank in range(2):
        wait_until((rig.job_folder(name) / f"waits-{rank}").exists, f"rank {rank} waits")
    watched(rig)
    frames = until(rig, name, lambda state: len(getattr(state, "frames", [])) == 3).state.frames
    assert frames[0] == "the others wait for rank 1"
    assert frames[1].startswith("rank 0: in wait (")
    assert "all_reduce" in frames[1]
    assert "reads_data" in frames[2]
    go_on(rig, name)
    row = rig.wait_state(name, "finished")
    survived("16", "two ranks that wait for each other", written=50, lost=50 - row.step)


def test_a_deadlock_of_two_gloo_ranks_is_found_and_the_late_one_is_named(cold_rig, survived):
    cold_rig.up(FINETOP_TEST_JOB=str(Path(__file__).with_name("gloo_job.py")))
    name = cold_rig.submit()
    until(cold_rig, name, lambda state: getattr(state, "done", 0) == 4)
    watched(cold_rig)
    state = until(cold_rig, name, lambda state: len(getattr(state, "frames", [])) == 3).state
    assert state.pulse == "hung"
    assert state.frames[0] == "the others wait for rank 1"
    assert "all_reduce (distributed/distributed_c10d.py:" in state.frames[1]
    assert state.frames[2].startswith("rank 1: in read_rows (faults/gloo_job.py:")
    go_on(cold_rig, name)
    row = cold_rig.wait_state(name, "finished")
    survived("16", "two gloo ranks, one late", written=50, lost=50 - row.step)
