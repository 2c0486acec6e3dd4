"""What the supervisor answers to each request: one function a verb, found by the request's type."""

from __future__ import annotations

import asyncio
import os
import platform
import stat
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from finetop.core import protocol
from finetop.core.errors import BadInput
from finetop.core.protocol.notices import Way
from finetop.core.store import checks, jobs, metrics, notices, run_list, runs, sql_query
from finetop.core.supervisor import warm_process, watch_settings
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.notify import body, compose, deliver
from finetop.core.supervisor.queue import ready, retry
from finetop.core.supervisor.requests import (
    approaches,
    bisect,
    checks as checking,
    clean,
    data_versions,
    gpus,
    notes,
    preview,
    processes,
    queue,
    remedies,
    resume,
    stop_pause_kill,
    submit,
    sweeps,
    trash,
    triage,
)
from finetop.core.supervisor.save_records import record
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import counted

PAGE_LIMIT = 500
TEST_S = 45.0  # a client waits for a minute


async def answer(supervisor: Supervisor, ask: protocol.Ask) -> Any:
    """Answer one request, and note that somebody is there.

    Questions are answered from the store, at once; those that look at files, GPUs or other machines wait, each for
    itself. What was ordered is in the run folders, too, before that is answered.
    """
    supervisor.asked_at = time.monotonic()
    if waits := _WAITS.get(type(ask)):
        return await waits(supervisor, ask)
    revision = supervisor.revision
    if isinstance(ask, protocol.Remove):
        async with supervisor.recording:  # it writes records itself
            made = trash.remove(supervisor, ask)
    else:
        made = _ANSWERS[type(ask)](supervisor, ask)
    if supervisor.revision != revision:
        await record(supervisor)
    if isinstance(ask, protocol.EmptyTrash | protocol.Clean):  # out of sight already; the files may take long
        await aside(partial(trash.delete_discarded, supervisor.home))
    return made


def hello(supervisor: Supervisor, ask: protocol.Hello) -> protocol.HelloAnswer:
    return protocol.HelloAnswer(
        version=metadata.version("finetop"),
        protocol=protocol.VERSION,
        pid=os.getpid(),
        home=str(supervisor.home.root),
        host=platform.node(),
        started=supervisor.started,
        device=machine(supervisor),
        spare=warm_process.words(supervisor),
    )


def machine(supervisor: Supervisor) -> str:
    """Say what jobs run on: '4 GPUs', else '2 CPU cores'. Before the first look, device files are counted."""
    pool = supervisor.pool
    seen = len(pool.seen.gpus) if pool.look is not None else sum(1 for _ in Path("/dev").glob("nvidia[0-9]*"))
    count, kind = (seen, "GPU") if seen else (gpus.cores(), "CPU core")
    return counted(count, kind)


def page(supervisor: Supervisor, ask: protocol.Runs) -> protocol.RunsAnswer:
    found = run_list.page(
        supervisor.connection,
        filter=ask.filter,
        sort=ask.sort,
        wanted=ask.settings[:PAGE_LIMIT],
        now=time.time(),
        offset=max(0, ask.offset),
        limit=max(1, min(ask.limit, PAGE_LIMIT)),
        revision=supervisor.revision,
        why=ready.why(supervisor),
    )
    return msgspec.structs.replace(found, stopped=ready.stopped(supervisor, time.time()))


def one_run(supervisor: Supervisor, ask: protocol.GetRun) -> Any:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return runs.detail(supervisor.connection, run_id, ready.why(supervisor))


def steps(supervisor: Supervisor, ask: protocol.EventsSince) -> protocol.EventsAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return protocol.EventsAnswer(
        metrics.steps(
            supervisor.connection, run_id, after=ask.after_step, limit=max(1, min(ask.limit, 10_000))
        ),
        runs.row(supervisor.connection, run_id, ready.why(supervisor)),
        supervisor.revision,
    )


def check_results(supervisor: Supervisor, ask: protocol.Checks) -> protocol.ChecksAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return protocol.ChecksAnswer(checks.results(supervisor.connection, run_id))


def flips(supervisor: Supervisor, ask: protocol.Flips) -> protocol.FlipsAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return checks.flips(supervisor.connection, run_id, ask.check_id, ask.task)


async def paths(supervisor: Supervisor, ask: protocol.Paths) -> protocol.PathsAnswer:
    return await aside(lambda: protocol.PathsAnswer([look_at(path) for path in ask.paths[:PAGE_LIMIT]]))


def look_at(path: str) -> protocol.PathFacts:
    """Say what lies at an absolute path. Nothing is opened."""
    try:
        if path.startswith("/"):
            facts = Path(path).stat()
            is_folder, is_file = stat.S_ISDIR(facts.st_mode), stat.S_ISREG(facts.st_mode)
            if (is_folder or is_file) and os.access(path, os.R_OK):
                return protocol.PathFacts(path, "folder" if is_folder else "file", facts.st_size)
            return protocol.PathFacts(path, "other", 0)
    except (OSError, ValueError):
        pass
    return protocol.PathFacts(path, "none", 0)


def shutdown(supervisor: Supervisor, ask: protocol.Shutdown) -> protocol.Done:
    supervisor.ending.set()
    return protocol.Done("the supervisor ends; jobs go on.")


async def changes(supervisor: Supervisor, ask: protocol.Changes) -> protocol.ChangesAnswer:
    """Wait for something that the client has not seen: of all, or of one run; or for a new trouble of the whole."""
    run_id = runs.find_run(supervisor.connection, ask.run)[0] if ask.run else None
    trouble, deadline = supervisor.trouble, time.monotonic() + max(0.0, min(ask.timeout_s, 50.0))
    while (
        _seen(supervisor, ask.since, run_id)
        and supervisor.trouble == trouble
        and not supervisor.ending.is_set()
    ):
        try:
            await asyncio.wait_for(supervisor.changed.wait(), deadline - time.monotonic())
        except TimeoutError:
            break
    return protocol.ChangesAnswer(
        supervisor.revision,
        supervisor.trouble,
        supervisor.teller.newest,
        jobs.count_queued(supervisor.connection),
        triage.to_triage(supervisor),
    )


def _seen(supervisor: Supervisor, since: int, run_id: int | None) -> bool:
    """Say whether a client has seen all by this revision; one of another supervisor's says nothing."""
    if run_id is None:
        return since == supervisor.revision
    return supervisor.revision_of(run_id) <= since <= supervisor.revision


def noticed(supervisor: Supervisor, ask: protocol.Notices) -> protocol.NoticesAnswer:
    tell = supervisor.settings.tell
    found = {one.way: one for one in notices.outcomes(supervisor.connection)}
    ways = {way: found.get(way, Way(way)) for way in compose.ways_of(tell)} | found
    limit = max(1, min(ask.limit, PAGE_LIMIT))
    return protocol.NoticesAnswer(
        notices.since(supervisor.connection, ask.after, limit), list(tell.on), list(ways.values())
    )


async def select(supervisor: Supervisor, ask: protocol.Sql) -> protocol.SqlAnswer:
    return await asyncio.to_thread(
        sql_query.select,
        supervisor.connection.cursor(),
        ask.query,
        limit=max(1, min(ask.limit, 100_000)),
        timeout_s=max(0.1, min(ask.timeout_s, 50.0)),
    )


async def curves(supervisor: Supervisor, ask: protocol.Curves) -> protocol.CurvesAnswer:
    """Answer from the store at once; over another axis than steps, which takes four times as long, from a thread."""
    connection = supervisor.connection
    run_id, _ = runs.find_run(connection, ask.run)
    if ask.x == "step":
        first, last = int(ask.first), int(ask.last)
        return protocol.CurvesAnswer(
            metrics.curves(connection, run_id, ask.keys, columns=ask.columns, first=first, last=last)
        )
    return await asyncio.to_thread(
        metrics.curves_across,
        connection.cursor(),
        run_id,
        ask.keys,
        across=ask.x,
        columns=ask.columns,
        first=ask.first,
        last=ask.last,
    )


async def log(supervisor: Supervisor, ask: protocol.ReadLog) -> protocol.LogAnswer:
    job, file = submit.log_of(supervisor, ask)
    return await aside(lambda: submit.read_piece(file, job, ask.offset, max(0, min(ask.limit, 1 << 20))))


async def find(supervisor: Supervisor, ask: protocol.FindInLog) -> protocol.FoundInLog:
    _, file = submit.log_of(supervisor, ask)
    return await aside(lambda: submit.find_in(file, ask))


async def send_test(supervisor: Supervisor, ask: protocol.SendTest) -> protocol.SendTestAnswer:
    """Send a test by each way, at the same time; it is no notice, and is not tried again. Raises BadInput."""
    watch_settings.read(supervisor)
    if supervisor.settings_fault:
        raise BadInput(supervisor.settings_fault)
    own = supervisor.settings.tell
    tell = msgspec.structs.replace(own, limit_s=min(own.limit_s, TEST_S))
    ways, text = compose.ways_of(tell), body.test(supervisor.home.root, time.time())

    async def one(way: str) -> protocol.Tested:
        began = time.monotonic()
        is_through, said = await deliver.send(tell, way, text)
        return protocol.Tested(way, is_through, said, time.monotonic() - began)

    return protocol.SendTestAnswer(list(await asyncio.gather(*(one(way) for way in ways))))


_WAITS: dict[type, Callable[[Supervisor, Any], Awaitable[Any]]] = {
    protocol.Changes: changes,
    protocol.Curves: curves,
    protocol.Paths: paths,
    protocol.LookAhead: preview.look_ahead,
    protocol.ReadLog: log,
    protocol.FindInLog: find,
    protocol.Processes: processes.tell,
    protocol.SendTest: send_test,
    protocol.Gpus: gpus.tell,
    protocol.Sql: select,
    protocol.DataVersions: data_versions.listing,
    protocol.DataOf: data_versions.of_run,
    protocol.DataDiffer: data_versions.differ,
    protocol.Earlier: bisect.tell,
    protocol.LookEarlier: bisect.look,
}

_ANSWERS: dict[type, Callable[[Supervisor, Any], Any]] = {
    protocol.Hello: hello,
    protocol.Notices: noticed,
    protocol.Submit: submit.submit,
    protocol.SubmitChain: submit.chain,
    protocol.SubmitSweep: sweeps.submit,
    protocol.Sweeps: sweeps.listing,
    protocol.SubmitApproaches: approaches.submit,
    protocol.Approaches: approaches.listing,
    protocol.Resume: resume.resume,
    protocol.Export: submit.export,
    protocol.Import: submit.adopt,
    protocol.Runs: page,
    protocol.GetRun: one_run,
    protocol.EventsSince: steps,
    protocol.Checks: check_results,
    protocol.Flips: flips,
    protocol.Check: checking.check,
    protocol.Remedies: remedies.remedies_of,
    protocol.Remedy: remedies.remedy,
    protocol.Stop: stop_pause_kill.stop,
    protocol.Kill: stop_pause_kill.kill,
    protocol.Pause: stop_pause_kill.pause,
    protocol.Retry: retry.retry,
    protocol.Queue: queue.listing,
    protocol.Move: queue.move,
    protocol.Hold: queue.hold,
    protocol.Release: queue.release,
    protocol.Prioritise: queue.prioritise,
    protocol.Tag: notes.tag,
    protocol.Note: notes.note,
    protocol.Trash: trash.trash,
    protocol.Restore: trash.restore,
    protocol.EmptyTrash: trash.empty,
    protocol.Clean: clean.clean,
    protocol.Triage: triage.page,
    protocol.TriageRun: triage.turned,
    protocol.LookAtCell: triage.cell,
    protocol.LostItems: triage.items,
    protocol.LookAtItem: triage.item,
    protocol.SetStanding: triage.say,
    protocol.Shutdown: shutdown,
}
