"""Runs as lists, details, curves, steps, logs and processes; and SQL queries."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path

import msgspec

from finetop.core.errors import Refused
from finetop.core.protocol.messages import runs as messages
from finetop.core.protocol.runs import CheckBrief, RunDetail
from finetop.core.runtime import log_file
from finetop.core.runtime.files import open_regular
from finetop.core.store import jobs, metrics, run_list, runs, sql_query
from finetop.core.supervisor import saved_checkpoints
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.queue import checks, ready
from finetop.core.supervisor.state import Supervisor

PAGE_LIMIT = 500
FIND_BYTES = 16 << 20  # of a log, searched for one answer
FIND_MOST = 5000  # lines of one answer


def page(supervisor: Supervisor, ask: messages.Runs) -> messages.RunsAnswer:
    answer = run_list.page(
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
    return msgspec.structs.replace(answer, stopped=ready.why_stopped(supervisor, time.time()))


async def detail(supervisor: Supervisor, ask: messages.GetRun) -> RunDetail:
    """Return a run in full, with what became of the weights that its verdicts are of."""
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    now = await checks.weights_now(supervisor, run_id)
    gone = await gone_now(supervisor, run_id)
    run_id, _ = runs.find_run(supervisor.connection, ask.run)  # it may have been removed meanwhile
    detail = runs.detail(supervisor.connection, run_id, ready.why(supervisor))
    if gone:
        detail = without(detail, gone)
    if all(state == "same" for state in now.values()):
        return detail

    def with_state(check: CheckBrief) -> CheckBrief:
        return msgspec.structs.replace(check, weights_now=now.get(check.check_id, "same"))

    row = (
        detail.row
        if detail.row.check is None
        else msgspec.structs.replace(detail.row, check=with_state(detail.row.check))
    )
    return msgspec.structs.replace(detail, row=row, checks=[with_state(check) for check in detail.checks])


async def gone_now(supervisor: Supervisor, run_id: int) -> frozenset[int]:
    """Return the steps of deleted checkpoints, as far as it shows within a moment."""
    try:
        return await asyncio.wait_for(saved_checkpoints.gone(supervisor, run_id), checks.MOMENT_S)
    except TimeoutError:
        return frozenset()


def without(detail: RunDetail, gone: Collection[int]) -> RunDetail:
    """Leave out the checkpoints of these steps."""
    left = [saved for saved in detail.checkpoints if saved.step not in gone]
    best = None if detail.best is None or detail.best.step in gone else detail.best
    row = msgspec.structs.replace(detail.row, saved=len({saved.step for saved in left}))
    return msgspec.structs.replace(detail, row=row, checkpoints=left, best=best, deleted=sorted(gone))


def steps(supervisor: Supervisor, ask: messages.EventsSince) -> messages.EventsAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    limit = max(1, min(ask.limit, 10_000))
    found = metrics.steps(supervisor.connection, run_id, after=ask.after_step, limit=limit)
    row = runs.row(supervisor.connection, run_id, ready.why(supervisor))
    return messages.EventsAnswer(found, row, supervisor.revision)


async def curves(supervisor: Supervisor, ask: messages.Curves) -> messages.CurvesAnswer:
    """Return curves from the store; over an axis other than steps, which takes four times as long, in a thread."""
    connection = supervisor.connection
    run_id, _ = runs.find_run(connection, ask.run)
    if ask.x == "step":
        first, last = int(ask.first), int(ask.last)
        found = metrics.curves(connection, run_id, ask.keys, columns=ask.columns, first=first, last=last)
        return messages.CurvesAnswer(found)
    work = partial(metrics.curves_across, connection.cursor(), run_id, ask.keys, across=ask.x)
    return await asyncio.to_thread(work, columns=ask.columns, first=ask.first, last=ask.last)


async def select(supervisor: Supervisor, ask: messages.Sql) -> msgspec.Raw:
    """Run a query; return a SqlAnswer that is already encoded as JSON."""
    file, places = supervisor.home.database, supervisor.queries
    return await sql_query.select(file, ask.query, limit=ask.limit, timeout_s=ask.timeout_s, places=places)


async def read_log(supervisor: Supervisor, ask: messages.ReadLog) -> messages.LogAnswer:
    job, file = log_of(supervisor, ask)
    return await aside(lambda: read_piece(file, job, ask.offset, max(0, min(ask.limit, 1 << 20))))


async def find_in_log(supervisor: Supervisor, ask: messages.FindInLog) -> messages.FoundInLog:
    _, file = log_of(supervisor, ask)
    return await aside(lambda: find_in(file, ask))


def log_of(supervisor: Supervisor, ask: messages.ReadLog | messages.FindInLog) -> tuple[int, Path]:
    """Return a job of a run and its log. Raises NotFound, Refused."""
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    job_folder = jobs.folder_of(supervisor.connection, run_id, ask.job)
    if job_folder is None:
        raise Refused(f"this run has no job {ask.job}.")
    job_id, folder = job_folder
    return job_id, supervisor.launcher.logs(supervisor.home.root / folder)


def read_piece(file: Path, job: int, offset: int, limit: int) -> messages.LogAnswer:
    try:
        with open_regular(file) as opened:
            piece = log_file.read(opened.fileno(), offset, limit)
    except OSError:
        return messages.LogAnswer(job, "", 0, 0)
    return messages.LogAnswer(job, piece.text, piece.next, piece.size, piece.gap)


def find_in(file: Path, ask: messages.FindInLog) -> messages.FoundInLog:
    """Find a text or a step in a log; searches the last FIND_BYTES of the range, which takes 50 ms."""
    try:
        with open_regular(file) as opened:
            if ask.step is not None:
                return messages.FoundInLog(*log_file.find_step(opened.fileno(), ask.step))
            size = os.fstat(opened.fileno()).st_size
            end = size if ask.end < 0 else min(ask.end, size)
            begin = max(ask.begin, end - FIND_BYTES)
            return messages.FoundInLog(*log_file.find(opened.fileno(), ask.text, begin, end, FIND_MOST))
    except OSError:
        return messages.FoundInLog([], 0, 0)


async def processes(supervisor: Supervisor, ask: messages.Processes) -> messages.ProcessesAnswer:
    """List the processes of a run's live jobs."""
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    own = [supervisor.attempt(job) for job in supervisor.live if job.run_id == run_id]
    rows = await aside(partial(supervisor.launcher.processes, own))
    return messages.ProcessesAnswer(list(rows))


ANSWERS = {
    messages.Runs: page,
    messages.GetRun: detail,
    messages.EventsSince: steps,
    messages.Curves: curves,
    messages.Sql: select,
    messages.ReadLog: read_log,
    messages.FindInLog: find_in_log,
    messages.Processes: processes,
}
