"""What follows the end of a job, in one transaction: its run's state, a check, a retry, a pause."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from finetop.core import errors, plugins
from finetop.core.errors import FinetopError
from finetop.core.models.imports.inspect import Trained
from finetop.core.protocol import runs as data
from finetop.core.runtime import job_folder
from finetop.core.runtime.crash_points import abort_at
from finetop.core.store import checkpoints, checks, claims, jobs, notices, queue_order, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.endings import bisect
from finetop.core.supervisor.launchers import resume_point

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection as Connection

    from finetop.core.external.adoption import Adoption
    from finetop.core.recipe.home_settings import Settings
    from finetop.core.store.jobs import Job
    from finetop.core.supervisor.state import Supervisor

Onward = tuple[int, "Path | None"]  # step and its checkpoint; 0 and None before the first
CLOCKS_S = 60.0  # by which the clock of a file server may be behind
LEAST_ROOM = 64 << 20  # bytes that must be free before a job that ran out of disk is retried


@dataclass(frozen=True)
class Again:
    """A job that continues one that has ended."""

    args: dict[str, Any]
    held: bool
    not_before: float | None


def onward(root: Path, job: Job) -> Onward | None:
    """Return the step and checkpoint where a training job can resume; None if it can't or does not train."""
    if not job.kind.trains_here:
        return None
    try:
        return resume_point.choose(job_folder.run_folder_of(root / job.folder), job.run_name, None)
    except FinetopError:  # its checkpoints have no trainer state
        return None


def settle(
    supervisor: Supervisor,
    job: Job,
    state: data.State,
    onward: Onward | None,
    made: Adoption | None = None,
    results: list[dict[str, Any]] | None = None,
) -> None:
    """Record how a job ended and what follows from it.

    `onward` is where its training could resume, `made` what another program's output becomes, `results` are its run's
    checks as the disk shows them.
    """
    connection = supervisor.connection
    abort_at("end-noticed")
    with transaction(connection):
        again = _again(supervisor, job, state, onward)
        jobs.set_state(connection, job.id, state if again else _last_try(job, state))
        if again is not None:
            _queue_on(connection, job, state, again)
        else:
            if isinstance(state, data.Finished) and made is not None and not made.why_not:
                _import(connection, job, made)
            else:
                if isinstance(state, data.Finished) and made is not None:
                    cause = "; ".join(filter(None, (state.cause, made.why_not)))
                    state = msgspec.structs.replace(state, cause=cause)
                    jobs.set_state(connection, job.id, state)
                if job.kind.makes_a_run:
                    _end_run(connection, job, _last_try(job, state))
                notices.add_ending(connection, job.id, _last_try(job, state))
            bisect.queue_next(connection, job, state, results)
    supervisor.touch()
    abort_at("end-settled")


def trained(connection: Connection, job: Job) -> Trained:
    """Return how far a program's job has trained its run, and since when the run's models are its own."""
    row = runs.row(connection, job.run_id)
    began = [
        other.state.since
        for other in jobs.of_run(connection, job.run_id)
        if other.kind.is_command and not isinstance(other.state, data.Queued) and other.state.since
    ]
    return Trained(row.step, row.steps, min(began) - CLOCKS_S if began else 0.0)


def _import(connection: Connection, job: Job, made: Adoption) -> None:
    """Queue the import of a command's output as its run's checkpoints; the check follows that."""
    runs.set_recipe(connection, job.run_id, made.recipe, made.recipe["model"]["id"])
    runs.queue_again(connection, job.run_id)
    jobs.add_job(connection, run_id=job.run_id, verb="import", args=made.args)


def _again(supervisor: Supervisor, job: Job, state: data.State, onward: Onward | None) -> Again | None:
    """Return the continuation of a job that was paused by a user or quiet hours, or is retried; else None."""
    if job.asked in ("stop", "kill"):
        return None  # also if the machine restarted before the request took effect
    is_paused = isinstance(state, data.Stopped) and state.how == "pause"
    goes_on = is_paused or isinstance(state, data.Failed | data.Lost)
    args = _onward_args(supervisor, job, onward) if goes_on else None
    if args is None:
        return None
    step = args.get("resume", {}).get("step", 0)
    held = job.asked == "pause"
    if not isinstance(state, data.Failed | data.Lost):
        return Again({**args, "paused": step} if job.kind.trains_here else args, held, None)
    if not job.kind.retries or (job.kind.is_asked_for and state.kind == "environment"):
        return None  # the user waits for it: report a missing base model, or a silent hub, at once
    has_moved = step > job.args.get("resume", {}).get("step", 0)
    attempt = next_try(supervisor.settings, state.kind, attempt_number(job), has_moved=has_moved)
    if attempt is None:
        return None
    retry: dict[str, Any] = {"number": attempt.number, "of": attempt.of, "said": state.cause}
    if state.kind == "disk_full":
        retry["room"] = max(LEAST_ROOM, 2 * checkpoints.largest_bytes(supervisor.connection, job.run_id))
    return Again({**args, "retry": retry}, held, time.time() + attempt.wait_s)


def attempt_number(job: Job) -> int:
    """Return which attempt a job is, counted from 1."""
    return int(job.args.get("retry", {}).get("number", 1))


def _onward_args(supervisor: Supervisor, job: Job, onward: Onward | None) -> dict[str, Any] | None:
    """Return the next job's args: training resumes from `onward`, other jobs repeat. None if it can't resume."""
    own = {key: value for key, value in job.args.items() if key not in ("retry", "paused")}
    if job.kind.of_others:
        return {**own, "again": True}  # what it reports again replaces what it reported before
    if not job.kind.trains_here or not jobs.has_trained(supervisor.connection, job.id):
        return own
    if onward is None:
        return None
    return resume_point.resume_args(job_folder.run_folder_of(supervisor.home.root / job.folder), *onward)


def _queue_on(connection: Connection, job: Job, state: data.State, again: Again) -> None:
    """Queue the continuation ahead of jobs with its priority; a held one keeps its place."""
    undo = jobs.state_before(connection, job.id)
    if job.kind.makes_a_run:
        if undo is None or jobs.has_trained(connection, job.id):
            ending = (
                data.Stopped(state.ended, "stop", state.since) if isinstance(state, data.Stopped) else state
            )
            undo = runs.snapshot(connection, job.run_id, data.without_log(ending))
        runs.queue_again(connection, job.run_id)
    jobs.add_job(
        connection,
        run_id=job.run_id,
        verb=job.verb,
        args=again.args,
        priority=job.priority,
        place=job.place if again.held else min(job.place, queue_order.first_place(connection, job.priority)),
        held=again.held,
        not_before=again.not_before,
        undo=undo,
    )


def _last_try(job: Job, state: data.State) -> data.State:
    """Add the number of attempts to the hint of a job that was tried more than once."""
    if not isinstance(state, data.Failed) or attempt_number(job) == 1:
        return state
    return msgspec.structs.replace(
        state, hint=f"{state.hint} It was tried {attempt_number(job)} times.".strip()
    )


def _end_run(connection: Connection, job: Job, state: data.State) -> None:
    """Set a run's state from the job that makes it.

    A run whose resume failed before its first step returns to its earlier state, with the reason.
    """
    before = jobs.state_before(connection, job.id)
    if (
        before is not None
        and isinstance(state, data.Failed | data.Lost)
        and _is_as_before(connection, job, before)
    ):
        if isinstance(before.state, data.Finished | data.Stopped):
            runs.put_back(connection, job.run_id, before, said=_why_not(state))
            return
        if before.recipe is not None:
            runs.set_recipe(connection, job.run_id, before.recipe, before.model)
    runs.set_state(connection, job.run_id, data.without_log(_since_training(connection, job, state)))
    if isinstance(state, data.Finished):
        _queue_requested(connection, job)


def _since_training(connection: Connection, job: Job, state: data.State) -> data.State:
    """Return the state of a run whose model is imported: it began when the command did that made the model."""
    if not job.kind.is_import or not isinstance(state, data.Finished):
        return state
    made = [other.state for other in jobs.of_run(connection, job.run_id) if other.kind.of_others]
    since = made[-1].since if made and isinstance(made[-1], data.Finished) else None
    return state if since is None else msgspec.structs.replace(state, since=since)


def _is_as_before(connection: Connection, job: Job, before: data.Before) -> bool:
    """Return True if a job left its run unchanged: it never trained, and no later steps were dropped for it."""
    is_there = runs.snapshot(connection, job.run_id, before.state).step == before.step
    return is_there and not jobs.has_trained(connection, job.id)


def _why_not(state: data.Failed | data.Lost) -> str:
    is_refusal = isinstance(state, data.Failed) and state.exit_code == 2
    hint = state.hint if isinstance(state, data.Failed) else ""
    return f"resuming {'was refused' if is_refusal else 'failed'}: {state.cause} {hint}".strip()


def _queue_requested(connection: Connection, job: Job) -> None:
    """Queue what a finished run asks for, in the same transaction so that it can't get lost.

    That is the check of its recipe, and what features want of it (their endings.py).
    """
    if not job.kind.leaves_model:
        return  # a command left no model; an approach measured itself and changed no weights
    if checks.runs_at_end(runs.recipe(connection, job.run_id)):
        step, path = checks.newest_checkpoint(connection, job.run_id, None)
        args = {"step": step, "checkpoint": path, **claims.claim_of(connection, job.run_id, step).args}
        jobs.add_job(connection, run_id=job.run_id, verb="check", args=args)
    for door in plugins.doors("endings"):
        door.after_run(connection, job.run_id)


@dataclass(frozen=True)
class Rule:
    """Which setting allows a retry after a failure of one kind, and the wait as a multiple of retry.wait_s."""

    setting: Literal["retry", "reboot", "crash"]
    wait: float = 1.0
    times: int | None = None  # without a new checkpoint in between; None: retry.times


# Kinds that aren't listed fail again on every attempt: recipe, data, NaN, an exception of the program.
RULES: dict[errors.Kind, Rule] = {
    "restarted": Rule("reboot", wait=0.0, times=3),  # then the run may be what brings the machine down
    "killed": Rule("crash"),
    "crashed": Rule("crash"),
    "vanished": Rule("crash"),
    "preempted": Rule("crash", wait=0.0),
    "time_limit": Rule("crash", wait=0.0),
    "node_failed": Rule("crash", wait=0.0),
    "hung": Rule("retry"),
    "out_of_memory": Rule("retry", wait=5.0),  # other programs usually hold the memory for long
    "gpu_taken": Rule("retry", wait=5.0),
    "disk_full": Rule("retry"),  # also waits for disk space
    "environment": Rule("retry"),
    "gpu_lost": Rule("retry"),
    "gpu_error": Rule("retry"),
    "communication": Rule("retry"),
}


@dataclass(frozen=True)
class Try:
    """One more attempt: its number, the most allowed, and the wait before it."""

    number: int
    of: int
    wait_s: float


def next_try(settings: Settings, kind: errors.Kind, number: int, *, has_moved: bool) -> Try | None:
    """Return the attempt after the `number`-th failed one, or None to leave it to the user.

    A job that reached a new checkpoint (`has_moved`) gets all its attempts again.
    """
    rule, retry = RULES.get(kind), settings.retry
    if rule is None or kind in retry.not_after or not _is_allowed(rule, settings):
        return None
    following = 2 if has_moved else number + 1
    of = 1 + (retry.times if rule.times is None else rule.times)
    if following > of:
        return None
    wait_s = min(retry.longest_s, retry.wait_s * rule.wait * 2.0 ** (following - 2))
    return Try(following, of, wait_s)


def _is_allowed(rule: Rule, settings: Settings) -> bool:
    if rule.setting == "reboot":
        return settings.resume.after_reboot
    return settings.resume.after_crash if rule.setting == "crash" else True
