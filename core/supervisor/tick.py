"""One beat of the supervisor: ingest events, detect endings, pass on signals, start waiting jobs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from finetop.core import plugins
from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.external.adoption import adoption
from finetop.core.protocol import runs as data
from finetop.core.runtime import gpu_share, ranks
from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.disk_space import change_text
from finetop.core.runtime.files import make_inside, write_whole
from finetop.core.runtime.gpu_share import GpuShare
from finetop.core.store import checks as store_checks, ingest, jobs, notices, runs
from finetop.core.store.database import transaction
from finetop.core.store.jobs import Job
from finetop.core.supervisor import warm_process, watch_settings
from finetop.core.supervisor.endings import after_job, bisect, exit_reason, last_read, leftovers, liveness
from finetop.core.supervisor.gpus import neighbours, pool
from finetop.core.supervisor.gpus.placement import Placement
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.launchers.launcher import Attempt, Exit, JobStatus, Place, Signal
from finetop.core.supervisor.notify import deliver
from finetop.core.supervisor.queue import checks as queued_checks, placement, ready as waiting
from finetop.core.supervisor.requests import parent_runs
from finetop.core.supervisor.save_records import record
from finetop.core.supervisor.state import Supervisor

START_GRACE_S = 10.0  # a job comes to life within 50 ms; a machine under load may need more
MOST_STARTS = 3  # of a job that never comes to life
SHARE_S = 0.1  # of a beat: half to read, half to commit, while no request is answered
NEED_S = 10.0  # between two estimates of what will be saved
ALONE = GpuShare()  # alone on its GPUs, or without any


async def beat(supervisor: Supervisor) -> None:
    """Do one round. Raises duckdb.Error if the store can't be written; nothing is lost then.

    Run folders are accessed in threads. Requests are answered meanwhile, so whatever they may change is read again.
    """
    now = time.time()
    watch_settings.read(supervisor)
    if supervisor.launcher.tend():
        supervisor.touch()
    read(supervisor)
    pool.update(supervisor)
    waiting.apply_quiet_hours(supervisor, now)
    began = time.monotonic()
    try:
        attempts = [supervisor.attempt(job) for job in supervisor.live]
        statuses = await aside(partial(supervisor.launcher.list, attempts)) if attempts else {}
    except OSError:  # the failed look proves nothing about missing jobs: restart their grace period
        supervisor.missed.update(dict.fromkeys(supervisor.missed, time.monotonic()))
        raise
    took_s = time.monotonic() - began
    sizes = {job_id: status.size for job_id, status in statuses.items()}
    placement.update_places(supervisor, statuses)
    await take_in(supervisor, supervisor.live, sizes)
    read(supervisor)
    for job in supervisor.live:
        await _pass_on(supervisor, job)
        await _insist(supervisor, job)
    await liveness.update_all(supervisor, sizes)
    ended = [job for job in supervisor.live if await _ended(supervisor, job, statuses[job.id], took_s)]
    read(supervisor)
    ready = waiting.ready(supervisor, now)
    if not ended:  # otherwise look again first: an ended run may have queued its check
        local, on_cluster = placement.split_by_place(supervisor, ready)
        for job, gpus in (*pool.choose(supervisor, local), *((job, ()) for job in on_cluster)):
            await start(supervisor, job, gpus)
    for door in plugins.doors("supervision"):
        await door.update(supervisor)
    await neighbours.write_shares(supervisor)
    look_at_disk(supervisor)
    deliver.update(supervisor, now)
    await record(supervisor)
    warm_process.update(supervisor, is_busy=bool(supervisor.live or ready))


def read(supervisor: Supervisor) -> None:
    """Reload live and waiting jobs if anything has changed: an idle beat makes no query."""
    if supervisor.seen != supervisor.revision:
        supervisor.seen = supervisor.revision
        supervisor.live = jobs.live(supervisor.connection)
        waiting.read(supervisor)


async def start(supervisor: Supervisor, job: Job, gpus: Placement) -> None:
    """Start a job on its GPUs: folder, then store, then launcher. After a crash in between it starts once, later."""
    folder = supervisor.home.root / job.folder
    try:
        with transaction(supervisor.connection):
            parent_runs.pin(supervisor.connection, job.run_id)
        share = neighbours.share_now(supervisor, job, gpus)
        await aside(partial(make_folder, folder, supervisor.home.runs, spec_of(supervisor, job, gpus), share))
    except FinetopError as error:
        await _fail(supervisor, job, error)  # what its run starts from is gone
        return
    if _to_start(supervisor, job) is None:
        return  # it was removed from the queue meanwhile, or held
    batch = placement.batch_of(supervisor, job)
    place = None if batch is None else Place(placement.ON_ITS_WAY)
    state = data.Running(since=time.time(), phase=data.STARTING, waits="" if place is None else place.waits)
    with transaction(supervisor.connection):
        attempt = jobs.begin_attempt(supervisor.connection, job.id, gpus)
        jobs.set_state(supervisor.connection, job.id, state)
        if job.kind.makes_a_run:
            runs.set_state(supervisor.connection, job.run_id, state)
    supervisor.touch()
    if place is not None:
        supervisor.places[job.id] = place
    abort_at("supervisor-committed")
    own = warm_process.environment(supervisor, gpus, job.verb)
    environment = own | {
        name: value
        for door in plugins.doors("supervision")
        for name, value in door.environment(supervisor, job).items()
    }
    begins = partial(supervisor.launcher.submit, Attempt(job.id, folder, attempt), environment)
    await aside(partial(begins, may_be_warm=job.kind.trains_here, batch=batch))
    abort_at("supervisor-spawned")


def make_folder(folder: Path, above: Path, spec: bytes, share: GpuShare = ALONE) -> None:
    """Make a job's folder with its spec and its share of the GPUs. Raises BadInput for a link elsewhere, OSError."""
    make_inside(folder, above)
    if share != ALONE or (folder / gpu_share.FILE).exists():
        gpu_share.write_share(folder, share)
    write_whole(folder / "job.json", spec)


def spec_of(supervisor: Supervisor, job: Job, gpus: Placement = ()) -> bytes:
    """Return a job's spec, including its number of ranks, as JSON."""
    recipe = runs.recipe(supervisor.connection, job.run_id)
    budget = recipe.get("budget") or {}
    nodes = (budget.get("nodes") or 1) if job.kind.trains_here else 1
    spec = data.JobSpec(
        format=1,
        job_id=job.id,
        run_id=job.run_id,
        run_name=job.run_name,
        verb=job.verb,
        recipe=recipe,
        args=job.args,
        log_mib=supervisor.settings.logs.mib,
        events_taken=jobs.events_taken(supervisor.connection, job.id),
        ranks=ranks.count_of(job.verb, len(gpus), budget.get("gpus"), nodes),
        nodes=nodes,
    )
    return msgspec.json.encode(spec)


def _to_start(supervisor: Supervisor, job: Job) -> Job | None:
    """Return a job's current state if it still waits, or lives in the attempt that did not come to life."""
    read(supervisor)
    candidates = (*(queued for queued in supervisor.queued if not queued.held), *supervisor.live)
    return next((one for one in candidates if (one.id, one.attempt) == (job.id, job.attempt)), None)


async def _start_again(supervisor: Supervisor, job: Job) -> None:
    """Restart a job that never came to life; fail it after MOST_STARTS."""
    tries = sum(1 for number, _ in supervisor.missed if number == job.id)
    if tries < MOST_STARTS:
        await start(supervisor, job, job.gpus)
        return
    hint = "Can this machine start processes? See `finetop doctor`."
    if job.id in supervisor.places:
        hint = "Its slurm.txt says more. Every node must see the home, and this Python: `finetop doctor`."
    await _fail(supervisor, job, EnvironmentTrouble(f"its process failed to start {tries} times.", hint=hint))


async def _fail(supervisor: Supervisor, job: Job, error: FinetopError) -> None:
    """End a job that can't start."""
    state = data.Failed(time.time(), error.message, error.hint, exit_code=error.exit_code, kind=error.kind)
    onward = await aside(partial(after_job.onward, supervisor.home.root, job))
    job_now = _to_start(supervisor, job)  # re-read: the request may have changed while we waited
    if job_now is not None:
        after_job.settle(supervisor, job_now, state, onward)


async def _ended(supervisor: Supervisor, job: Job, status: JobStatus, took_s: float) -> bool:
    """Detect and record how a live job ended, if it did. `took_s` is how long the look took."""
    if status.is_alive:
        # if it disappears now, its grace period starts over
        supervisor.missed.pop((job.id, job.attempt), None)
        return False
    folder, facts, size, rebooted = supervisor.home.root / job.folder, status.exit, status.size, False
    if facts is None:
        attempt = supervisor.attempt(job)
        trace = await aside(partial(supervisor.launcher.trace, attempt))
        again = (await aside(partial(supervisor.launcher.list, [attempt])))[job.id]
        if again.is_alive or again.exit is not None:
            return False  # it came to life since the first look, which may be seconds old: its trace is of a live job
        missed_at = supervisor.missed.setdefault((job.id, job.attempt), time.monotonic())
        if trace == "none" and time.monotonic() - missed_at < START_GRACE_S + took_s:
            return False
        if trace == "none" and not size:  # not even a started event, which a full disk may prevent
            if await aside(partial(supervisor.launcher.revoke, attempt)):
                await _start_again(supervisor, job)  # it never came to life
            return False
        rebooted = trace == "restarted"
        size = await aside(partial(supervisor.launcher.clear, attempt))
        abort_at("end-cleared")
        await take_in(supervisor, [job], {job.id: size})
    if not await last_read.is_over(supervisor, job):
        return False  # it adds events
    if supervisor.read_to.get(job.id) != size:
        return False  # more events than one beat reads; end it when all are ingested
    log = await aside(partial(exit_reason.last_lines, supervisor.launcher.logs(folder), facts))
    rank_ends = await aside(partial(exit_reason.rank_ends, folder, supervisor.launcher.logs(folder)))
    await leftovers.clear(supervisor, job)
    onward = await aside(partial(after_job.onward, supervisor.home.root, job))
    read(supervisor)
    job = next(live for live in supervisor.live if live.id == job.id)  # re-read: its request may have changed
    last_event, told_at = jobs.last_word(supervisor.connection, job.id)
    if last_event is not None and (facts is None or exit_reason.is_unwatched(facts)):
        cause = None if facts is None else facts.cause  # only its keeper was killed, after its last event
        facts = Exit(last_event.exit_code, None, told_at, 0, cause=cause)
    state = exit_reason.ending(job, facts, last_event, log, rank_ends, rebooted=facts is None and rebooted)
    state = neighbours.with_neighbours(supervisor, job, pool.ending_of(job, state))
    made = None
    if isinstance(state, data.Finished) and job.kind.of_others:
        recipe = runs.recipe(supervisor.connection, job.run_id)
        made = await aside(partial(adoption, recipe, after_job.trained(supervisor.connection, job)))
    results = None
    if bisect.is_of_series(job):
        results = store_checks.results(supervisor.connection, job.run_id)
        results = await queued_checks.compared_with_disk(supervisor, job.run_id, results, hashes=True)
    after_job.settle(supervisor, job, state, onward, made, results)
    return True


async def _pass_on(supervisor: Supervisor, job: Job) -> None:
    """Pass on a request to a job, once; one that stays on its lost GPU is killed, again and again until it ends."""
    attempt = supervisor.attempt(job)
    if pool.is_given_up(supervisor, job):
        await aside(partial(supervisor.launcher.signal, attempt, "kill"))
    mark = (job.id, job.attempt, job.asked)
    if not job.asked or mark in supervisor.signalled:
        return
    kind: Signal = "kill" if job.asked in exit_reason.KILLS else "stop"
    if await aside(partial(supervisor.launcher.signal, attempt, kind)):
        supervisor.signalled.add(mark)


async def _insist(supervisor: Supervisor, job: Job) -> None:
    """Make sure that a job to be killed ends, even if the signal has no effect."""
    if job.asked in exit_reason.KILLS:
        now = time.monotonic()
        waited_s = now - supervisor.killing.setdefault((job.id, job.attempt), now)
        await aside(partial(supervisor.launcher.cancel, supervisor.attempt(job), waited_s))


async def take_in(supervisor: Supervisor, live: Sequence[Job], sizes: Mapping[int, int]) -> None:
    """Ingest new events of jobs, given the sizes of their files; `read_to` gets complete ones, `behind` the others.

    All are committed in one transaction; events are read in a thread, so the limit covers work, not waiting for a disk.
    Jobs that had no turn come first in the next beat, so a flood from one can't starve the others.
    """
    until = time.monotonic() + SHARE_S
    names = {job.id: job.run_name for job in live}
    run_ids = {job.id: job.run_id for job in live}
    turn = {job_id: place for place, job_id in enumerate(supervisor.behind)}
    files = {
        job.id: supervisor.home.root / job.folder / "events.jsonl"
        for job in sorted(live, key=lambda job: turn.get(job.id, len(turn)))
        if sizes[job.id] != supervisor.read_to.get(job.id)
    }
    supervisor.behind[:] = [job_id for job_id in supervisor.behind if job_id not in names]
    while files:
        places = ingest.places(supervisor.connection, list(files))
        batches = await aside(partial(ingest.read_all, places, files, work_s=SHARE_S / 2))
        result = ingest.commit(supervisor.connection, list(files), batches)
        if result.ingested:
            abort_at("events-taken")
            supervisor.touch(run_ids[job_id] for job_id in result.ingested)
        for job_id, error in result.newer.items():
            supervisor.newer[job_id] = f"{names[job_id]}: {error}"
        for job_id in files:
            # a newer finetop's ended event can't be read either: the job stays until that finetop runs
            if job_id not in result.more and job_id not in result.newer:
                supervisor.read_to[job_id] = sizes[job_id]
        more = [job_id for job_id in result.more if job_id not in result.newer]
        if time.monotonic() > until:
            supervisor.behind += more
            return
        files = {job_id: files[job_id] for job_id in more}


def look_at_disk(supervisor: Supervisor) -> None:
    """Check the free space against what live runs will save next; notify once when it becomes too little."""
    room, now = supervisor.room, time.monotonic()
    if now - room.looked_at >= NEED_S:
        room.looked_at = now
        room.need = jobs.next_checkpoints(supervisor.connection) if supervisor.live else 0.0
    total, _, free = shutil.disk_usage(supervisor.home.root)
    change = room.space.change(free, total, room.need)
    if change is None:
        return
    text = change_text(change, free, room.need)
    room.words = f"{text}. `finetop clean` shows what can be removed." if change == "low" else ""
    kind = "disk" if change == "low" else "over"
    with transaction(supervisor.connection):
        notices.add(supervisor.connection, [notices.New(0, kind, None, text, time.time())])
    supervisor.touch()
