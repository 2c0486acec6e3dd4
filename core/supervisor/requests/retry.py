"""Retries the failed jobs of a run on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.errors import Refused
from finetop.core.protocol import accepts, runs as data
from finetop.core.protocol.messages.queue import Retry, RetryAnswer
from finetop.core.protocol.messages.submit import Resume
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.requests import resume
from finetop.core.supervisor.save_records import record

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor


def retry(supervisor: Supervisor, ask: Retry) -> RetryAnswer:
    """Queue a run's failed or stopped job again: its training from the newest checkpoint, else its check or export.

    Raises NotFound for an unknown run, Refused if nothing failed, BadInput if it can't be resumed.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    waiting = [job for job in jobs.queued(connection) if job.run_id == run_id]
    if (went := resume.released(supervisor, run_id, name, Resume(ask.run))) is not None:
        return RetryAnswer(name, waiting[0].verb, went.step, went.place)
    detail = runs.detail(connection, run_id)
    job = failed_job(detail, name)
    if job.kind.trains_here:
        resumed = resume.resume(supervisor, Resume(ask.run))
        return RetryAnswer(name, job.verb, resumed.step, resumed.place)
    args = {key: value for key, value in job.args.items() if key not in ("retry", "paused")}
    if job.kind.of_others:
        args["again"] = True
    priority = jobs.TRAIN_PRIORITY if job.kind.takes_budget else jobs.CHECK_PRIORITY
    with transaction(connection):
        undo = None
        if job.kind.makes_a_run:
            undo = runs.snapshot(connection, run_id, detail.row.state)
            runs.queue_again(connection, run_id)
        jobs.add_job(connection, run_id=run_id, verb=job.verb, args=args, priority=priority, undo=undo)
    supervisor.touch()
    step = resume.step_of_command(detail) if job.kind.is_command else args.get("step") or 0
    return RetryAnswer(name, job.verb, step, jobs.place_of(connection, run_id))


async def retry_on_usable_gpu(supervisor: Supervisor, ask: Retry) -> RetryAnswer:
    """Retry a run's job, unless torch can't use its GPU. Raises as `retry`, and InstallationTrouble."""
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    await require_usable_gpus(supervisor, [runs.recipe(supervisor.connection, run_id)])
    answer = retry(supervisor, ask)
    await record(supervisor)
    return answer


def failed_job(detail: data.RunDetail, name: str) -> data.JobRow:
    """Return the job to retry: the one that makes the run, else the newest check or export. Raises Refused."""
    accepts.free(detail.row)
    bad = (data.Failed, data.Lost, data.Stopped)
    newest = {job.verb: job for job in detail.jobs if job.kind.retries}
    making = isinstance(detail.row.state, bad)  # else a refused job left the run as it was
    retryable = [job for job in newest.values() if isinstance(job.state, bad)]
    retryable = [job for job in retryable if making or not job.kind.makes_a_run]
    if not retryable:
        hint = "To train it further, see `finetop resume --help`."
        raise Refused(f"{name} has {data.word(detail.row.state)}: nothing in it failed.", hint=hint)
    return max(retryable, key=lambda job: (job.kind.makes_a_run, job.id))


ANSWERS = {Retry: retry_on_usable_gpu}
