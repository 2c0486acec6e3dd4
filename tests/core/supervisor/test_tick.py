"""Beats of a supervisor in this process: which jobs it calls lost, which it restarts, if things happen meanwhile."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import PROGRAM
from still import Still, still
from store_rows import write
from waiting import wait_until

from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.queue import Stop
from finetop.core.runtime import gpus
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor import tick
from finetop.core.supervisor.launchers import local
from finetop.core.supervisor.launchers.launcher import Attempt, JobStatus
from finetop.core.supervisor.requests import stop_pause_kill


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Still]:
    """A home with the waiting run `one`; no GPU, and no waiting process."""
    fake = PROGRAM.with_name("fake_job.py")
    monkeypatch.setenv("FINETOP_SPARE", "0")
    monkeypatch.setattr(gpus, "load", lambda: None)
    monkeypatch.setattr(local, "job_command", lambda folder: [sys.executable, str(fake), str(folder)])
    rig = still(tmp_path / "home")
    rig.queue("one")
    yield rig
    for keeper in rig.supervisor.launcher._local._started:
        keeper.wait()
    rig.close()


def beat(made: Still) -> None:
    asyncio.run(tick.beat(made.supervisor))


def begun(made: Still) -> Attempt:
    """Mark the run as started without a process; its start is given up at once."""
    connection, starting = made.supervisor.connection, data.Running(since=5.0, phase=data.STARTING)
    (job,) = jobs.queued(connection)
    with transaction(connection):
        jobs.begin_attempt(connection, job.id)
        jobs.set_state(connection, job.id, starting)
        runs.set_state(connection, job.run_id, starting)
    made.supervisor.touch()
    tick.read(made.supervisor)
    attempt = made.supervisor.attempt(made.supervisor.live[0])
    attempt.folder.mkdir(parents=True)
    return attempt


def test_a_job_that_comes_to_life_after_the_look_is_not_lost(made, monkeypatch):
    """The look may be seconds old when the job's turn comes: others had ended and were cleared."""
    beat(made)
    (job,) = jobs.live(made.supervisor.connection)
    attempt, launcher = made.supervisor.attempt(job), made.supervisor.launcher
    wait_until((attempt.folder / "keeper.json").exists, "its keeper says who it is")
    looks, early = launcher.list, iter([{job.id: JobStatus(None, is_alive=False, size=0)}])
    monkeypatch.setattr(launcher, "list", lambda attempts: next(early, None) or looks(attempts))
    beat(made)
    assert [queued_job.id for queued_job in jobs.live(made.supervisor.connection)] == [job.id]
    wait_until(lambda: looks([attempt])[job.id].exit, "it ends")
    beat(made)
    assert isinstance(jobs.state_of(made.supervisor.connection, job.id), data.Finished)


def test_who_told_a_step_but_not_that_it_started_is_lost_and_not_started_again(made, monkeypatch):
    """A full disk loses the first event alone."""
    monkeypatch.setattr(tick, "START_GRACE_S", -1000.0)
    attempt = begun(made)
    write(attempt.folder / "events.jsonl", events.metrics(1, {"loss": 1.0}))
    beat(made)
    assert isinstance(jobs.state_of(made.supervisor.connection, attempt.job), data.Lost)


def test_who_was_seen_alive_gets_its_time_anew_when_it_is_missed_again(made, monkeypatch):
    attempt = begun(made)
    mark = (attempt.job, attempt.number)
    made.supervisor.missed[mark] = 0.0
    look = {attempt.job: JobStatus(None, is_alive=True, size=0)}
    monkeypatch.setattr(made.supervisor.launcher, "list", lambda attempts: look)
    beat(made)
    assert mark not in made.supervisor.missed


def test_who_is_asked_to_stop_while_its_start_is_given_up_is_not_tried_again(made, monkeypatch):
    monkeypatch.setattr(tick, "START_GRACE_S", -1000.0)
    attempt = begun(made)
    made.supervisor.missed.update({(attempt.job, -number): 0.0 for number in range(tick.MOST_STARTS)})
    onward = tick.after_job.onward

    def asked_meanwhile(root: Path, job: jobs.Job) -> object:
        stop_pause_kill.stop(made.supervisor, Stop("one"))
        return onward(root, job)

    monkeypatch.setattr(tick.after_job, "onward", asked_meanwhile)
    beat(made)
    connection = made.supervisor.connection
    assert isinstance(jobs.state_of(connection, attempt.job), data.Failed)
    assert jobs.queued(connection) == []


def test_an_attempt_that_came_to_life_is_not_revoked_and_a_keeper_that_comes_after_it_was_leaves(made):
    attempt, revoke = begun(made), made.supervisor.launcher.revoke
    assert local.claim(attempt.folder, attempt.number)
    with local.locked(attempt.folder):
        assert not revoke(attempt)
    for sign in ("exit.json", "events.jsonl"):
        (attempt.folder / sign).write_text(json.dumps({"attempt": attempt.number, "ended": 1.0}))
        assert not revoke(attempt), sign
        (attempt.folder / sign).unlink()
    assert (attempt.folder / "attempt").read_text() == str(attempt.number)
    assert revoke(attempt)
    assert local.start_keeper(attempt, dict(os.environ)).wait() == 3
    assert not (attempt.folder / "keeper.json").exists()
