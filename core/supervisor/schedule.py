"""One beat of the supervisor: take in events, notice endings, pass on signals, start what waits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core import processes, run as data
from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.fault_points import abort_at
from finetop.core.folders import make_inside, write_whole
from finetop.core.store import jobs, runs
from finetop.core.store.jobs import Job
from finetop.core.store.open import transaction
from finetop.core.supervisor import parents, rules, spare, taking_in, telling
from finetop.core.supervisor.house import room
from finetop.core.supervisor.launch import local
from finetop.core.supervisor.life import afterwards, endings, insisting, vitals
from finetop.core.supervisor.life.since_start import SinceStart
from finetop.core.supervisor.pool import pool
from finetop.core.supervisor.queue import quieting, waiting
from finetop.core.supervisor.recording import record
from finetop.core.supervisor.state import Supervisor

if TYPE_CHECKING:
    from finetop.core.supervisor.pool.placing import Placement

START_GRACE_S = 10.0  # a keeper takes its lock within 50 ms; a machine under load may need more
MOST_STARTS = 3  # of a job whose keeper never comes to life


def beat(supervisor: Supervisor) -> None:
    """Do one round. Raises duckdb.Error when the store can't be written; nothing is lost then."""
    now = time.time()
    rules.read(supervisor)
    supervisor.keepers[:] = [process for process in supervisor.keepers if process.poll() is None]
    if supervisor.seen != supervisor.revision:  # an idle beat asks the store nothing
        supervisor.seen = supervisor.revision
        supervisor.live = jobs.live(supervisor.connection)
        waiting.read(supervisor)
    pool.tend(supervisor)
    quieting.keep(supervisor, now)
    taking_in.take_in(supervisor, supervisor.live)
    for job in supervisor.live:
        _pass_on(supervisor, job)
        insisting.insist(supervisor, job)
    vitals.look(supervisor)
    ended = [job for job in supervisor.live if _ended(supervisor, job)]
    ready = waiting.ready(supervisor, now)
    if not ended:  # else look again first: an ended run may have queued its check, which goes ahead
        for job, gpus in pool.choose(supervisor, ready):
            start(supervisor, job, gpus)
    room.look(supervisor)
    telling.tend(supervisor, now)
    record(supervisor)
    spare.tend(supervisor, is_busy=bool(supervisor.live or ready))


def start(supervisor: Supervisor, job: Job, gpus: Placement) -> None:
    """Start a job on its GPUs: folder, then store, then keeper; so a crash in between starts it once, later."""
    folder = supervisor.home.root / job.folder
    try:
        make_inside(folder, supervisor.home.runs)
        with transaction(supervisor.connection):
            parents.pin(supervisor.connection, job.run_id)
    except FinetopError as error:
        _fail(supervisor, job, error)  # what its run begins from is gone
        return
    write_spec(supervisor, job, folder)
    state = data.Running(since=time.time(), phase=data.STARTING)
    with transaction(supervisor.connection):
        attempt = jobs.begin_attempt(supervisor.connection, job.id, gpus)
        jobs.set_state(supervisor.connection, job.id, state)
        if job.verb in data.MAKES_A_RUN:
            runs.set_state(supervisor.connection, job.run_id, state)
    supervisor.touch()
    abort_at("supervisor-committed")
    if local.claim(folder, attempt):
        abort_at("supervisor-claimed")
        own, environment = local.job_command(job.verb, folder), spare.environment(supervisor, gpus)
        spared = None
        if job.verb == "train":
            spared = spare.hand_over(supervisor, folder, attempt, own, environment)
        process = spared or local.submit(folder, attempt, job.verb, environment)
        supervisor.keepers.append(process)
    abort_at("supervisor-spawned")


def _start_again(supervisor: Supervisor, job: Job) -> None:
    """Start a job whose keeper never came to life; end it after some tries."""
    tries = sum(1 for number, _ in supervisor.missed if number == job.id)
    if tries < MOST_STARTS:
        start(supervisor, job, job.gpus)
        return
    hint = "Can this machine start processes? See `finetop doctor`."
    _fail(supervisor, job, EnvironmentTrouble(f"its process did not come to life, {tries} times.", hint=hint))


def _fail(supervisor: Supervisor, job: Job, error: FinetopError) -> None:
    """End a job that can't start."""
    state = data.Failed(time.time(), error.message, error.hint, exit_code=error.exit_code, kind=error.kind)
    afterwards.settle(supervisor, job, state)


def write_spec(supervisor: Supervisor, job: Job, folder: Path) -> None:
    spec = data.JobSpec(
        format=1,
        job_id=job.id,
        run_id=job.run_id,
        run_name=job.run_name,
        verb=job.verb,
        recipe=runs.recipe(supervisor.connection, job.run_id),
        args=job.args,
        log_mib=supervisor.settings.logs.mib,
    )
    write_whole(folder / "job.json", msgspec.json.encode(spec))


def _ended(supervisor: Supervisor, job: Job) -> bool:
    """Notice how a live job ended, if it did, and write that down."""
    folder = supervisor.home.root / job.folder
    facts = local.exit_of(folder, job.attempt)
    if facts is None and local.is_alive(folder):
        return False
    if facts is None:
        facts = local.exit_of(folder, job.attempt)  # it may have ended between the two looks
    assert isinstance(job.state, data.Running)
    if facts is None:
        known = local.record(folder, job.attempt)
        rebooted = known is not None and known["boot"] != processes.boot_id()
        missed_at = supervisor.missed.setdefault((job.id, job.attempt), time.monotonic())
        if known is None and time.monotonic() - missed_at < START_GRACE_S:
            return False
        if known is None and SinceStart.read(folder / "events.jsonl").attempt != job.attempt:
            _start_again(supervisor, job)  # it never came to life
            return False
        if known is not None:
            local.end_left_behind(known)
    if not taking_in.take_in(supervisor, [job]):
        return False  # more events than one beat takes; end it when all are in
    said, told_at = jobs.last_word(supervisor.connection, job.id)
    if facts is None and said is not None:  # only its keeper was killed, after its last word
        facts = local.Exit(said.exit_code, None, told_at, 0)
    state = endings.ending(
        job, facts, said, endings.last_lines(folder, facts), rebooted=facts is None and rebooted
    )
    afterwards.settle(supervisor, job, pool.ending_of(job, state))
    return True


def _pass_on(supervisor: Supervisor, job: Job) -> None:
    """Send what is asked of a job to its keeper, once: to pause it is to stop it with a checkpoint, too."""
    if not job.asked:
        return
    mark = (job.id, job.attempt, job.asked)
    if mark not in supervisor.signalled and local.send(
        supervisor.home.root / job.folder,
        job.attempt,
        "kill" if job.asked in ("kill", endings.HUNG) else "stop",
    ):
        supervisor.signalled.add(mark)
