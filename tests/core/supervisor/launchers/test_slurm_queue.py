"""Slurm's queue with a stand-in for its commands: jobs submitted, found again, refused, withdrawn."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from finetop.core.runtime import keeper
from finetop.core.supervisor.launchers import (
    slurm as launcher_module,
    slurm_batch,
    slurm_commands,
    slurm_queue,
    slurm_record,
)
from finetop.core.supervisor.launchers.launcher import Attempt, Batch, JobStatus
from finetop.core.supervisor.launchers.local import LocalLauncher
from finetop.core.supervisor.launchers.slurm import SlurmLauncher
from finetop.core.supervisor.launchers.slurm_commands import CommandFailed, Listed, NoAnswer

RECORD = '{"attempt": 1, "pid": 1, "job_pid": 1, "boot": "x", "start": "1"}'  # of a keeper on another machine


class StandIn:
    """Slurm's commands as functions: its jobs, and its next answers."""

    def __init__(self) -> None:
        self.jobs: dict[str, Listed] = {}
        self.scripts: list[str] = []
        self.options: list[list[str]] = []
        self.calls = 0  # of squeue
        self.fails: list[Exception] = []  # of sbatch, one after another
        self.loses: list[Exception] = []  # the same, after the command took effect
        self.is_away = False

    def require(self) -> None:
        if self.is_away:
            raise NoAnswer("Unable to contact slurm controller")

    def listing(self) -> list[Listed]:
        self.calls += 1
        self.require()
        return list(self.jobs.values())

    def submit(self, options: list[str], script: str, own: object) -> str:
        self.require()
        if self.fails:
            raise self.fails.pop(0)
        number = str(100 + len(self.scripts))
        self.scripts.append(script)
        self.options.append(options)
        comment = next(word for word in options if word.startswith("--comment=")).removeprefix("--comment=")
        arrays = [option.split("-")[-1] for option in options if option.startswith("--array=")]
        count = sum(int(last.split("%")[0]) + 1 for last in arrays)
        for id in [f"{number}_{at}" for at in range(count)] or [number]:
            self.jobs[id] = Listed(id, "PENDING", "Priority", "", comment)
        if self.loses:
            raise self.loses.pop(0)
        return number

    def cancel(self, job: str, *options: str) -> None:
        self.require()
        if job in self.jobs and (not options or self.jobs[job].waits):
            self.becomes(job, "CANCELLED")

    def becomes(self, job: str, state: str) -> None:
        before = self.jobs[job]
        self.jobs[job] = Listed(job, state, "None", "n1", before.comment)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn()
    for name in ("listing", "submit", "cancel"):
        monkeypatch.setattr(slurm_commands, name, getattr(made, name))
    monkeypatch.setattr(slurm_commands, "ended", lambda job: "")
    for name in ("LOOK_S", "QUIET_S", "AGAIN_S", "FULL_S", "GATHER_S"):
        monkeypatch.setattr(slurm_queue, name, 0.0)
    monkeypatch.setattr(launcher_module, "SETTLE_S", 0.0)
    monkeypatch.setattr(
        slurm_queue.SlurmQueue, "_begin", lambda self: None
    )  # it does a round when a test says so
    return made


@pytest.fixture
def launcher(slurm: StandIn, tmp_path: Path) -> SlurmLauncher:
    return SlurmLauncher(LocalLauncher(tmp_path))


def attempt_of(home: Path, job: int = 1, number: int = 1) -> Attempt:
    folder = home / "runs" / f"{job:04d}-fake" / "jobs" / f"{job:04d}-train"
    folder.mkdir(parents=True, exist_ok=True)
    return Attempt(job, folder, number)


def submit(launcher: SlurmLauncher, attempt: Attempt, array: str = "") -> None:
    batch = Batch("fake-train", ("--nodes=1",), array, 2 if array else None)
    assert launcher.submit(attempt, {}, batch=batch)


@pytest.fixture
def new(launcher: SlurmLauncher, tmp_path: Path) -> Attempt:
    """One that is being submitted."""
    made = attempt_of(tmp_path)
    submit(launcher, made)
    return made


@pytest.fixture
def attempt(launcher: SlurmLauncher, new: Attempt) -> Attempt:
    """One that waits in Slurm's queue."""
    look(launcher, new)
    return new


def look(launcher: SlurmLauncher, attempt: Attempt, times: int = 1) -> JobStatus:
    """Let the queue do a round, twice so that a look follows what it found, and look; several times if need be."""
    for _ in range(2 * times):
        launcher.list([attempt])
        launcher._queue.round()
        time.sleep(0.001)  # the next round's clock must be later
    return launcher.list([attempt])[attempt.job]


def test_a_job_goes_in_once_and_waits_with_its_reason(launcher, slurm, new):
    assert launcher.list([new])[1].place.waits == "is being submitted to Slurm"
    seen = look(launcher, new)
    assert (seen.is_alive, seen.exit) == (True, None)
    assert seen.place.waits == "waits for: Priority (jobs with a higher priority go first)"
    assert len(slurm.scripts) == 1 and str(new.folder) in slurm.scripts[0]
    assert {"--requeue", "--open-mode=append", "--signal=B:TERM@300", "--nodes=1"} <= set(slurm.options[0])
    assert slurm_record.read(new.folder, 1).id == "100"
    # a second job of the attempt is cancelled
    slurm.jobs["777"] = Listed("777", "PENDING", "Priority", "", slurm.jobs["100"].comment)
    look(launcher, new)
    assert {job.id: job.state for job in slurm.jobs.values()} == {"100": "PENDING", "777": "CANCELLED"}


@pytest.mark.parametrize(
    "faults",
    [
        {"loses": [NoAnswer("Socket timed out")]},
        {"loses": [CommandFailed("sbatch ended with code 1")]},
        {"fails": [NoAnswer("Socket timed out"), NoAnswer("Socket timed out")]},  # it never heard it
    ],
)
def test_an_answer_that_was_lost_is_found_again_by_its_mark(launcher, slurm, new, faults):
    vars(slurm).update(faults)
    for _ in range(3):
        assert look(launcher, new).is_alive
    assert (len(slurm.scripts), slurm_record.read(new.folder, 1).id) == (1, "100")


def test_what_a_controller_that_dies_makes_sbatch_say_is_no_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    for said in (
        "Batch job submission failed: Connection reset by peer",
        "Batch job submission failed: Unexpected missing socket error",
        "Unable to contact slurm controller (connect failure)",
    ):
        (tmp_path / "sbatch").write_text(f"#!/bin/sh\necho 'sbatch: error: {said}' >&2\nexit 1\n")
        (tmp_path / "sbatch").chmod(0o755)
        with pytest.raises(NoAnswer, match=r"failed|Unable"):
            slurm_commands.call(["sbatch"])


@pytest.mark.parametrize("is_in", [False, True], ids=["before sbatch", "after it"])
def test_a_supervisor_that_died_neither_loses_nor_doubles_it(launcher, slurm, tmp_path, is_in, new):
    if is_in:
        slurm.loses = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            launcher._queue.round()
    after = SlurmLauncher(LocalLauncher(tmp_path))
    seen = look(after, new)
    assert (seen.is_alive, seen.exit) == (is_in, None)  # otherwise it is given up, and a new attempt starts
    if not is_in:
        assert (after.trace(new), seen.size, after.revoke(new)) == ("none", 0, True)
        submit(after, attempt_of(tmp_path, number=2))
        assert look(after, attempt_of(tmp_path, number=2)).is_alive
    assert len(slurm.scripts) == 1


def test_nobody_is_dead_while_slurm_does_not_answer_and_it_says_since_when(
    launcher, slurm, tmp_path, attempt
):
    slurm.is_away = True
    slurm.jobs.clear()
    for _ in range(3):
        assert look(launcher, attempt).is_alive
    assert launcher._queue.silence().startswith("Slurm has not answered since ")
    other = attempt_of(tmp_path, 2)
    submit(launcher, other)
    assert look(launcher, other).place.waits.startswith("Slurm has not answered since ")
    slurm.is_away = False
    assert look(launcher, other).place.waits.startswith("waits for: Priority")


@pytest.mark.parametrize("state", ["", "FAILED", "COMPLETED", "NODE_FAIL", "CANCELLED"])
def test_a_job_that_slurm_has_lost_before_it_began_goes_in_once_more(launcher, slurm, state, attempt):
    if state == "CANCELLED":  # by a controller that was restarted
        slurm.is_away = True
        look(launcher, attempt)
        slurm.is_away = False
    if state:
        slurm.becomes("100", state)
    else:
        slurm.jobs.clear()
    seen = look(launcher, attempt, 3)
    assert (seen.is_alive, seen.exit, launcher.trace(attempt)) == (False, None, "none")


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_job_that_slurm_could_not_start_and_holds_for_ever_is_given_up(launcher, slurm, has_begun, attempt):
    if has_begun:
        (attempt.folder / "keeper.json").write_text(RECORD)
    comment = slurm.jobs["100"].comment
    slurm.jobs["100"] = Listed("100", "PENDING", "launch failed requeued held", "", comment)
    seen = look(launcher, attempt)
    assert (seen.is_alive, seen.exit is not None) == (False, has_begun)
    if has_begun:
        assert seen.exit.cause.kind == "node_failed"
    else:
        assert launcher.revoke(attempt)
    launcher._queue.round()
    assert slurm.jobs["100"].state == "CANCELLED"


def test_a_number_that_a_killed_controller_gives_again_is_the_other_job_s(launcher, slurm, tmp_path):
    first, second = attempt_of(tmp_path), attempt_of(tmp_path, 2)
    submit(launcher, first)
    look(launcher, first)
    slurm.jobs.clear()  # it was killed before it had saved that job, which keeps running
    slurm.scripts.clear()
    submit(launcher, second)
    seen = look(launcher, second, 3)
    assert slurm_record.read(second.folder, 1).id == slurm_record.read(first.folder, 1).id == "100"
    assert launcher.revoke(first)
    launcher._queue._cancel_due()  # by a look that is older than the second
    launcher._queue.round()
    assert slurm.jobs["100"].state == "PENDING" and not launcher._queue._cancels
    assert (seen.is_alive, seen.exit) == (True, None)
    slurm.becomes("100", "CANCELLED")  # as the first one has ended on its node
    seen = look(launcher, second, 3)
    assert (seen.is_alive, seen.exit) == (False, None)  # it is submitted again


def test_what_slurm_refuses_fails_in_its_words_with_the_setting_to_change(launcher, slurm, new):
    slurm.fails = [CommandFailed("sbatch: error: invalid partition specified: gpux")]
    exit = look(launcher, new).exit
    assert exit.cause.kind == "bad_input"
    assert exit.cause.cause == "Slurm refuses it: sbatch: error: invalid partition specified: gpux"
    assert exit.cause.hint.startswith("Set slurm.partition in settings.yaml")


def test_a_limit_on_how_many_jobs_may_wait_there_is_waited_out(launcher, slurm, new):
    words = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    slurm.fails = [CommandFailed(words)]
    launcher._queue.round()
    assert launcher.list([new])[1].place.waits.startswith("waits: Slurm accepts no more of your jobs now")
    assert look(launcher, new).place.waits.startswith("waits for: Priority")


def test_one_squeue_a_look_whatever_the_number_of_jobs(launcher, slurm, tmp_path):
    attempts = [attempt_of(tmp_path, job) for job in range(1, 41)]
    for attempt in attempts:
        submit(launcher, attempt)
    while len(slurm.scripts) < len(attempts):  # a round takes a second at most
        launcher._queue.round()
    before = slurm.calls
    launcher._queue.round()
    looks = launcher.list(attempts)
    assert slurm.calls == before + 1
    assert all(seen.place.waits.startswith("waits for: Priority") for seen in looks.values())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A monotonic clock that the test sets, with the rest of time."""
    made = SimpleNamespace(now=1000.0, time=time.time, sleep=time.sleep, monotonic=lambda: made.now)
    for module in (slurm_queue, launcher_module):
        monkeypatch.setattr(module, "time", made)
    for name, value in (("LOOK_S", 3.0), ("QUIET_S", 30.0)):
        monkeypatch.setattr(slurm_queue, name, value)
    return made


def rounds(launcher: SlurmLauncher, clock: SimpleNamespace, attempts: list[Attempt], seconds: int) -> None:
    """Let so much time pass, a round per second, while the supervisor looks."""
    for _ in range(seconds):
        clock.now += 1.0
        launcher.list(attempts)
        launcher._queue.round()


def test_slurm_is_asked_ever_more_rarely_while_nothing_changes(slurm, clock, tmp_path, launcher, new):
    rounds(launcher, clock, [new], 60)
    assert slurm.calls >= 15, "as often as ever for a minute after a submit"
    rounds(launcher, clock, [new], 3600)
    slurm.calls = 0
    rounds(launcher, clock, [new], 2 * 3600)
    assert slurm.calls <= 2 * 3600 / 30 + 1  # each 3 s: 2,400
    other = attempt_of(tmp_path, 2)
    submit(launcher, other)
    slurm.calls = 0
    rounds(launcher, clock, [new, other], 10)
    assert slurm.calls >= 3
    slurm.becomes("100", "RUNNING")
    rounds(launcher, clock, [new, other], 4)
    assert launcher.list([new])[1].place.nodes == "n1"
    # who is to end leaves at once however rarely Slurm was asked
    rounds(launcher, clock, [new, other], 3600)
    launcher.signal(other, "stop")
    rounds(launcher, clock, [new, other], 10)
    assert slurm.jobs["101"].state == "CANCELLED"
    assert launcher.list([other])[2].exit is not None


def test_a_job_that_lets_go_of_its_lock_is_looked_for_as_often_as_a_new_one(slurm, clock, launcher, new):
    rounds(launcher, clock, [new], 10)
    slurm.becomes("100", "RUNNING")
    (new.folder / "keeper.json").write_text(RECORD)
    lock = keeper.take_lock(new.folder / "lock")
    rounds(launcher, clock, [new], 3600)
    os.close(lock)
    slurm.becomes("100", "NODE_FAIL")
    rounds(launcher, clock, [new], 8)
    assert launcher.list([new])[1].exit.cause.kind == "node_failed"


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_sweep_is_one_array_with_its_limit_and_found_by_a_new_supervisor(
    launcher, slurm, tmp_path, is_lost
):
    attempts = [attempt_of(tmp_path, job) for job in range(1, 7)]
    for attempt in attempts:
        submit(launcher, attempt, array="rates")
    if is_lost:  # its answer
        slurm.loses = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            launcher._queue.round()
        launcher = SlurmLauncher(LocalLauncher(tmp_path))
        for _ in range(2):
            launcher.list(attempts)
            launcher._queue.round()
        assert all(seen.is_alive for seen in launcher.list(attempts).values())
    launcher._queue.round()
    assert len(slurm.scripts) == 1 and "--array=0-5%2" in slurm.options[0]
    assert [slurm_record.read(one.folder, 1).id for one in attempts] == [f"100_{at}" for at in range(6)]
    assert all(slurm.scripts[0].count(str(one.folder / "slurm.txt")) == 1 for one in attempts)


@pytest.mark.parametrize("is_in", [False, True])
@pytest.mark.parametrize(("wish", "number"), [("stop", 15), ("kill", 9)])
def test_who_waits_there_and_is_to_end_leaves_the_queue(launcher, slurm, wish, number, is_in, new):
    if is_in:
        look(launcher, new)
    assert launcher.signal(new, wish)
    seen = look(launcher, new, 3)
    assert (seen.is_alive, seen.exit.signal, seen.exit.cause) == (False, number, None)
    assert [job.state for job in slurm.jobs.values()] == ["CANCELLED"] * is_in


@pytest.mark.parametrize(
    ("state", "kind", "has_begun"),
    [
        ("TIMEOUT", "time_limit", True),
        ("NODE_FAIL", "node_failed", True),
        ("PREEMPTED", "preempted", True),
        ("CANCELLED", "cancelled", False),
        ("OUT_OF_MEMORY", "out_of_memory", True),
        ("COMPLETED", "vanished", True),
    ],
)
def test_how_it_ended_is_told_where_its_folder_does_not(launcher, slurm, state, kind, has_begun, attempt):
    if has_begun:
        (attempt.folder / "keeper.json").write_text(RECORD)
    slurm.becomes("100", state)
    seen = look(launcher, attempt, 3)
    assert (seen.is_alive, seen.exit.cause.kind) == (False, kind)
    assert (attempt.folder / "attempt").read_text() == "0", "who comes late leaves"


def test_what_is_to_go_on_is_alive_until_slurm_says_that_it_is_over(launcher, slurm, attempt):
    (attempt.folder / "keeper.json").write_text(RECORD)
    record = '{"attempt": 1, "code": 0, "signal": null, "ended": 1.0, "goes_on": true, "why": "preempted"}'
    (attempt.folder / "exit.json").write_text(record)
    slurm.becomes("100", "COMPLETING")
    assert look(launcher, attempt).is_alive
    slurm.becomes("100", "PENDING")
    assert look(launcher, attempt).is_alive
    slurm.becomes("100", "CANCELLED")
    seen = look(launcher, attempt, 3)
    assert (seen.is_alive, seen.exit.code, seen.exit.cause.kind) == (False, 0, "cancelled")


def test_a_time_limit_is_read_as_slurm_does():
    limits = {"5": 300, "10:30": 630, "24:00:00": 86400, "3-00:00:00": 259200}
    limits |= {"1-12": 129600, "2-03:04": 183840}
    assert {limit: slurm_batch.seconds_of(limit) for limit in limits} == limits


def test_on_several_nodes_srun_binds_no_task_to_a_core_and_each_node_counts_its_own(tmp_path):
    folder = attempt_of(tmp_path).folder
    (folder / "job.json").write_text('{"ranks": 8, "nodes": 2}')
    command = slurm_batch.command_of(folder)
    assert command[0] == "srun" and {"--cpu-bind=none", "--kill-on-bad-exit=1"} <= set(command)
    own = command[command.index("-P") - 1 :]
    assert own[1:5] == ["-P", "-m", "finetop.core.runtime.ranks", "4"]
    assert own[6:9] == ["-P", "-m", "torch.distributed.run"]
