"""What a silence means: by the run's own pace if known, else by the activity of its processes."""

import itertools
import time
from collections import deque

import msgspec
import pytest

from finetop.core.protocol import runs as data
from finetop.core.recipe.home_settings import Hung
from finetop.core.runtime import ranks
from finetop.core.store import jobs
from finetop.core.store.database import transaction
from finetop.core.supervisor.endings import liveness
from finetop.core.supervisor.endings.liveness import classify, evidence_of, usual_s
from finetop.core.supervisor.launchers.launcher import Usage
from finetop.core.supervisor.state import ProcessUse
from finetop.core.wording import pulse
from finetop.core.wording.durations import long_span


@pytest.mark.parametrize(
    ("usual", "silent_s", "stopped_s", "is_idle", "pulse"),
    [
        (3.0, 100, 0, True, ""),
        (3.0, 240, 0, False, "silent"),
        (3.0, 599, 0, True, "silent"),
        (3.0, 601, 0, False, "hung"),  # a deadlock may spin: activity proves nothing if the pace is known
        (300.0, 1200, 0, False, ""),  # a step takes five minutes
        (300.0, 1600, 0, False, "silent"),
        (300.0, 6001, 0, False, "hung"),
        (None, 500, 0, False, ""),  # a model is loaded
        (None, 700, 0, False, "silent"),
        (None, 3601, 0, False, "hung"),
        (None, 200, 0, True, "silent"),
        (None, 601, 0, True, "hung"),
        (3.0, 20, 6, True, "stopped"),
        (300.0, 9000, 6, True, "stopped"),
    ],
)
def test_what_a_silence_means(usual, silent_s, stopped_s, is_idle, pulse):
    assert classify(usual, silent_s, stopped_s, is_idle=is_idle, after_s=600.0) == pulse


def test_the_usual_step_is_told_by_the_runs_own_clock():
    training = data.Running(0.0, "training", done=20, total=120, unit="steps", left_s=300.0)
    assert usual_s(training) == 3.0
    assert usual_s(data.Running(0.0, "evaluating")) is None
    assert usual_s(data.Running(0.0, "training", done=120, total=120, left_s=0.0)) is None
    assert usual_s(data.Running(0.0, "scoring the base", done=1, total=9, left_s=300.0)) is None


@pytest.mark.parametrize(
    ("cpu_s", "moved", "waits", "words"),
    [
        (0.2, 1000, False, liveness.IDLE),
        (59.0, 0, False, "its processes use 98 % of a core"),
        (0.0, 60 << 20, False, "its processes use 0 % of a core"),  # but they read a file of many gigabytes
        (0.0, 0, True, "its process waits for a disk or a device that does not answer"),
    ],
)
def test_what_processes_do_meanwhile(cpu_s, moved, waits, words):
    uses = deque([ProcessUse(20.0, 100.0, 500), ProcessUse(80.0, 100.0 + cpu_s, 500 + moved)])
    assert evidence_of(uses, waits=waits) == words


def test_a_gpu_that_works_is_no_idleness():
    uses = deque([ProcessUse(20.0, 100.0, 500), ProcessUse(80.0, 100.1, 500)])
    assert evidence_of(uses, waits=False, gpu=0.4) == liveness.IDLE
    assert (
        evidence_of(uses, waits=False, gpu=99.6) == "its processes use 0 % of a core, its GPU is 100 % busy"
    )


def live_job(supervisor):
    """Mark the queued job as running in the store."""
    (job,) = jobs.queued(supervisor.connection)
    with transaction(supervisor.connection):
        jobs.set_state(supervisor.connection, job.id, data.Running(since=time.time()))
    supervisor.live = jobs.live(supervisor.connection)
    return supervisor.live[0]


async def look_after(supervisor, seconds, size=0):
    supervisor.vitals_at = time.monotonic() - seconds
    (job,) = supervisor.live
    await liveness.update_all(supervisor, {job.id: size})
    return jobs.state_of(supervisor.connection, job.id).pulse


async def test_what_was_told_while_the_supervisor_did_not_look_is_no_silence(quiet):
    quiet.queue("one")
    supervisor = quiet.supervisor
    job = live_job(supervisor)
    for size in (0, 500, 900):
        await look_after(supervisor, 3600.0, size)
        assert supervisor.vitals[job.id].silent_s == 0.0


async def test_who_was_stopped_and_goes_on_has_all_the_time_again(quiet, monkeypatch):
    """It is not killed as hung before its first step after the stop."""
    quiet.queue("one")
    supervisor = quiet.supervisor
    supervisor.settings = msgspec.structs.replace(supervisor.settings, hung=Hung(after_s=8.0, then="kill"))
    job = live_job(supervisor)
    usage = Usage(1.0, 0, is_stopped=True, waits_for_device=False)
    monkeypatch.setattr(supervisor.launcher, "usage", lambda attempts: {job.id: usage})
    seen = [await look_after(supervisor, 5.0) for _ in range(5)]
    assert seen[-1] == "stopped"
    usage = Usage(1.0, 0, is_stopped=False, waits_for_device=False)
    assert await look_after(supervisor, 5.0) == ""
    assert [await look_after(supervisor, 5.0) for _ in range(12)][-1] == "hung"
    assert supervisor.vitals[job.id].asked_at is not None


async def test_time_in_which_the_supervisor_did_not_look_is_no_silence(quiet):
    """A machine that slept, a stopped supervisor, a changed clock: none makes a job hung."""
    run_id = quiet.queue("one")
    supervisor = quiet.supervisor
    job = live_job(supervisor)
    supervisor.vitals_at = time.monotonic() - 60
    await liveness.update_all(supervisor, {job.id: 0})
    for days in (1, 2, 3):
        supervisor.vitals_at = time.monotonic() - days * 86_400
        await liveness.update_all(supervisor, {job.id: 0})
        assert supervisor.vitals[job.id].silent_s <= days * liveness.MOST_S
    assert run_id == job.run_id


@pytest.mark.parametrize(("nodes", "looks"), [(1, 6), (2, 12)])
async def test_a_job_whose_rank_stands_still_is_ended_and_the_rank_is_named(quiet, monkeypatch, nodes, looks):
    """Whatever the settings say about single processes: the others hold their GPUs for nothing.

    With several nodes only the first reports usage: if it is idle, another may be working.
    """
    quiet.queue("one")
    supervisor = quiet.supervisor
    supervisor.settings = msgspec.structs.replace(supervisor.settings, hung=Hung(after_s=8.0, then="tell"))
    job = live_job(supervisor)
    usage = Usage(1.0, 0, is_stopped=False, waits_for_device=False)
    monkeypatch.setattr(supervisor.launcher, "usage", lambda attempts: {job.id: usage})
    folder = supervisor.attempt(job).folder
    folder.mkdir(parents=True, exist_ok=True)
    facts = msgspec.json.decode(file.read_bytes()) if (file := folder / "job.json").exists() else {}
    file.write_bytes(msgspec.json.encode({**facts, "ranks": 2 // nodes, "nodes": nodes}))
    (folder / "ranks").mkdir()
    words = ranks.RankRecord(4242, "1", "another machine", host="node1")
    (folder / "ranks" / "0.json").write_bytes(msgspec.json.encode(words))

    async def looked(times):
        for _ in range(times):
            await look_after(supervisor, 5.0)
            supervisor.live = jobs.live(supervisor.connection)
        return supervisor.live[0]

    assert not (await looked(looks - 4)).asked
    assert (await looked(6)).asked == "hung"
    state = jobs.state_of(supervisor.connection, job.id)
    assert pulse.details(state) == f"rank 1 has not begun for {long_span(state.silent_s)}; the others wait"


async def test_ranks_that_work_without_a_word_have_as_long_as_one_process(quiet, monkeypatch):
    """A large checkpoint is written, a model is compiled: one rank works, and the others wait."""
    quiet.queue("one")
    supervisor = quiet.supervisor
    supervisor.settings = msgspec.structs.replace(supervisor.settings, hung=Hung(after_s=8.0, then="tell"))
    job = live_job(supervisor)
    used = itertools.count(step=5.0)
    monkeypatch.setattr(
        supervisor.launcher,
        "usage",
        lambda attempts: {job.id: Usage(next(used), 0, is_stopped=False, waits_for_device=False)},
    )
    folder = supervisor.attempt(job).folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_bytes(msgspec.json.encode({"ranks": 2}))
    seen = [await look_after(supervisor, 5.0) for _ in range(9)]
    assert (seen[-1], jobs.live(supervisor.connection)[0].asked) == ("silent", "")
    seen = [await look_after(supervisor, 5.0) for _ in range(7)]
    assert (seen[-1], jobs.live(supervisor.connection)[0].asked) == ("hung", "hung")


async def test_a_job_of_one_process_is_not_ended_for_its_silence(quiet, monkeypatch):
    quiet.queue("one")
    supervisor = quiet.supervisor
    supervisor.settings = msgspec.structs.replace(supervisor.settings, hung=Hung(after_s=8.0, then="tell"))
    job = live_job(supervisor)
    usage = Usage(1.0, 0, is_stopped=False, waits_for_device=False)
    monkeypatch.setattr(supervisor.launcher, "usage", lambda attempts: {job.id: usage})
    assert [await look_after(supervisor, 5.0) for _ in range(12)][-1] == "hung"
    assert not jobs.live(supervisor.connection)[0].asked
