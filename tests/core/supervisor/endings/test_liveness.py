"""What a silence means: by the run's own pace if known, else by the activity of its processes."""

import itertools
import time
from collections import deque
from dataclasses import replace

import msgspec
import pytest

from finetop.core.protocol import runs as data
from finetop.core.recipe.home_settings import Hung
from finetop.core.runtime import ranks
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.endings import liveness
from finetop.core.supervisor.endings.liveness import classify, evidence_of, usual_s
from finetop.core.supervisor.launchers.launcher import Usage
from finetop.core.supervisor.state import ProcessUse
from finetop.core.wording import pulse
from finetop.core.wording.durations import long_span


def test_what_a_silence_means():
    for usual, silent_s, stopped_s, is_idle, word in (
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
    ):
        found = classify(usual, silent_s, stopped_s, is_idle=is_idle, after_s=600.0)
        assert found == word, (usual, silent_s)
    # the usual step is that of the run's own clock
    assert usual_s(data.Running(0.0, "training", done=20, total=120, unit="steps", left_s=300.0)) == 3.0
    assert usual_s(data.Running(0.0, "evaluating")) is None
    assert usual_s(data.Running(0.0, "training", done=120, total=120, left_s=0.0)) is None
    assert usual_s(data.Running(0.0, "scoring the base", done=1, total=9, left_s=300.0)) is None


def test_what_processes_do_meanwhile():
    for cpu_s, moved, more, words in (
        (0.2, 1000, {}, liveness.IDLE),
        (59.0, 0, {}, "its processes use 98 % of a core"),
        (0.0, 60 << 20, {}, "its processes use 0 % of a core"),  # but they read a file of many gigabytes
        (0.0, 0, {"waits": True}, "its process waits for a disk or a device that does not answer"),
        (0.1, 0, {"gpu": 0.4}, liveness.IDLE),
        (0.1, 0, {"gpu": 99.6}, "its processes use 0 % of a core, its GPU is 100 % busy"),
    ):
        uses = deque([ProcessUse(20.0, 100.0, 500), ProcessUse(80.0, 100.0 + cpu_s, 500 + moved)])
        assert evidence_of(uses, **{"waits": False, **more}) == words


@pytest.fixture
def supervisor(quiet):
    """One with a job that counts as running, and is killed or told of after 8 s of silence."""
    quiet.queue("one")
    made = quiet.supervisor
    set_hung(made, "tell")
    (job,) = jobs.queued(made.connection)
    with transaction(made.connection):
        jobs.set_state(made.connection, job.id, data.Running(since=time.time()))
    made.live = jobs.live(made.connection)
    return made


def set_hung(supervisor, then):
    supervisor.settings = msgspec.structs.replace(supervisor.settings, hung=Hung(after_s=8.0, then=then))


def uses(monkeypatch, supervisor, cpu_s=lambda: 1.0, *, is_stopped=False):
    """Let its process have used so much."""
    number = supervisor.live[0].id

    def usage(attempts):
        return {number: Usage(cpu_s(), 0, is_stopped=is_stopped, waits_for_device=False)}

    monkeypatch.setattr(supervisor.launcher, "usage", usage)


def job_folder(supervisor, **facts):
    """Return the folder of its job; `facts` are in its job.json."""
    folder = supervisor.attempt(supervisor.live[0]).folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_bytes(msgspec.json.encode(facts))
    return folder


async def look_after(supervisor, seconds=5.0, size=0, times=1):
    """Look at its job after so many seconds each time; return its last pulse."""
    (job,) = supervisor.live
    for _ in range(times):
        supervisor.vitals_at = time.monotonic() - seconds
        await liveness.update_all(supervisor, {job.id: size})
    return jobs.state_of(supervisor.connection, job.id).pulse


def asked(supervisor):
    return jobs.live(supervisor.connection)[0].asked


async def test_what_was_told_or_passed_while_the_supervisor_did_not_look_is_no_silence(supervisor):
    """A machine that slept, a stopped supervisor, a changed clock: none makes a job hung."""
    vitals = supervisor.vitals
    (job,) = supervisor.live
    for size in (0, 500, 900):
        await look_after(supervisor, 3600.0, size)
        assert vitals[job.id].silent_s == 0.0
    for days in (1, 2, 3):
        await look_after(supervisor, days * 86_400, 900)
        assert vitals[job.id].silent_s <= days * liveness.MOST_S


async def test_who_was_stopped_and_goes_on_has_all_the_time_again(supervisor, monkeypatch):
    """It is not killed as hung before its first step after the stop."""
    set_hung(supervisor, "kill")
    uses(monkeypatch, supervisor, is_stopped=True)
    assert await look_after(supervisor, times=5) == "stopped"
    uses(monkeypatch, supervisor)
    assert await look_after(supervisor) == ""
    assert await look_after(supervisor, times=12) == "hung"
    assert supervisor.vitals[supervisor.live[0].id].asked_at is not None


@pytest.mark.parametrize(("nodes", "looks"), [(1, 6), (2, 12)])
async def test_a_job_whose_rank_stands_still_is_ended_and_it_is_named(supervisor, monkeypatch, nodes, looks):
    """Whatever the settings say about single processes: the others hold their GPUs for nothing.

    With several nodes only the first reports usage: if it is idle, another may be working.
    """
    uses(monkeypatch, supervisor)
    folder = job_folder(supervisor, ranks=2 // nodes, nodes=nodes)
    (folder / "ranks").mkdir()
    words = ranks.RankRecord(4242, "1", "another machine", host="node1")
    (folder / "ranks" / "0.json").write_bytes(msgspec.json.encode(words))

    async def looked(times):
        for _ in range(times):
            await look_after(supervisor)
            supervisor.live = jobs.live(supervisor.connection)
        return supervisor.live[0]

    assert not (await looked(looks - 4)).asked
    job = await looked(6)
    assert job.asked == "hung"
    state = jobs.state_of(supervisor.connection, job.id)
    assert pulse.details(state) == f"rank 1 has not begun for {long_span(state.silent_s)}; the others wait"


async def test_ranks_that_work_without_a_word_have_as_long_as_one_process(supervisor, monkeypatch):
    """A large checkpoint is written, a model is compiled: one rank works, and the others wait."""
    used = itertools.count(step=5.0)
    uses(monkeypatch, supervisor, lambda: next(used))
    job_folder(supervisor, ranks=2)
    for looks, word, ask in ((9, "silent", ""), (7, "hung", "hung")):
        assert await look_after(supervisor, times=looks) == word
        assert asked(supervisor) == ask


async def test_a_job_of_one_process_is_not_ended_for_its_silence(supervisor, monkeypatch):
    uses(monkeypatch, supervisor)
    assert await look_after(supervisor, times=12) == "hung"
    assert not asked(supervisor)


async def test_a_command_that_is_silent_is_not_called_hung_unless_its_recipe_says_what_is_normal(
    supervisor, monkeypatch
):
    """It may only wait for a download. What it prints is a sign of life, also if it is no number."""
    set_hung(supervisor, "kill")
    (job,) = supervisor.live
    supervisor.live = [replace(job, verb="command")]
    recipe = runs.recipe(supervisor.connection, job.run_id)
    command = {"run": ["sleep", "600"], "silence_s": None}
    uses(monkeypatch, supervisor)
    log = job_folder(supervisor) / "log.txt"

    async def looked(**settings):
        runs.set_recipe(supervisor.connection, job.run_id, {**recipe, "command": {**command, **settings}}, "")
        log.write_text(f"{log.read_text() if log.exists() else ''}downloading\n")
        assert await look_after(supervisor) == ""
        return await look_after(supervisor, times=12)

    assert await looked() == "silent"
    notices = supervisor.connection.execute("SELECT kind, text FROM notices").fetchall()
    assert notices == [("hung", "silent for 10 s: its processes are idle")]
    assert await looked(silence_s=600.0) == ""
    assert not asked(supervisor)
    assert await looked(silence_s=30.0) == "hung"
    assert asked(supervisor) == "hung"
