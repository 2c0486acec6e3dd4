"""Detects live jobs that are silent, hung or stopped by a signal; the mark is cleared when a job goes on.

Silence is measured since the last event and compared with the job's usual step time. Where no pace is known (loading a
model, writing a checkpoint), the activity of its processes decides. Only time in which the supervisor itself looked
counts, so neither a changed clock nor a machine that slept makes a job hung.

Another program is never called hung unless its recipe says how long it may be silent: it may only wait. Whatever it
prints is a sign of life, as nothing else may come of it.

A hung job writes its stacks to its log, once per silence; with `hung: {then: kill}` it is then killed. A job of several
ranks is killed anyway if the rank that the others wait for is known: they would hold their GPUs for nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Literal

import msgspec

from finetop.core.protocol import runs as data
from finetop.core.runtime import ranks, stack_dumps
from finetop.core.runtime.files import open_regular, size_of
from finetop.core.store import jobs, notices, runs
from finetop.core.store.database import transaction
from finetop.core.store.jobs import Job
from finetop.core.supervisor.endings.exit_reason import HUNG
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.launchers.launcher import Usage
from finetop.core.supervisor.launchers.local import nodes_of, ranks_of
from finetop.core.supervisor.state import ProcessUse, Supervisor, Vital
from finetop.core.wording import pulse

LOOK_S = 2.0  # between two looks
MOST_S = 10.0  # counted as silence per look: in a longer gap the supervisor was not looking
SILENT_S = 180.0  # after which a job is called silent, unless its pace sets a longer limit
STOPPED_S = 5.0  # after which a process counts as stopped: a debugger stops one for a moment
TIMES_SILENT, TIMES_HUNG = 5, 20  # in usual steps; evaluations, checkpoints and checks are own phases
TIMES_BUSY = 6  # in `after_s`, if no pace is known and its processes work
HANGS = ("hung", "stopped")  # reported to the user
IDLE = "its processes are idle"
IDLE_SHARE = 0.02  # of a core
IDLE_BYTES_S = 100_000
GPU_LOOKS = 15  # half a minute
STACKS_S = 15.0  # time limit for all ranks to write their stacks


def adopt(supervisor: Supervisor) -> None:
    """Continue the silence of jobs that have written nothing since the last supervisor saw them."""
    for job in jobs.live(supervisor.connection):
        size = size_of(supervisor.home.root / job.folder / "events.jsonl")
        if isinstance(job.state, data.Running) and size == jobs.bytes_read(supervisor.connection, job.id):
            supervisor.vitals[job.id] = Vital(
                job.attempt, size + _printed(supervisor, job), job.state.silent_s
            )


async def update_all(supervisor: Supervisor, sizes: Mapping[int, int]) -> None:
    """Look at all live jobs, given the sizes of their events, if the last look is old enough."""
    limits = supervisor.settings.hung
    now = time.monotonic()
    passed = now - supervisor.vitals_at
    if passed < min(LOOK_S, limits.after_s / 5):
        return
    supervisor.vitals_at = now
    silent: list[tuple[Job, Vital]] = []
    live = list(supervisor.live)
    printed = await aside(lambda: [_printed(supervisor, job) for job in live])
    for job, more in zip(live, printed, strict=True):
        if job.kind.idles:
            continue  # a watch only reads, and a chat waits for its user
        vital, size = supervisor.vitals.get(job.id), sizes[job.id] + more
        if vital is None or (vital.attempt, vital.size) != (job.attempt, size):
            supervisor.vitals[job.id] = Vital(job.attempt, size)
            _clear(supervisor, job)
            continue
        vital.silent_s += min(passed, MOST_S)
        if vital.silent_s >= min(10 * LOOK_S, limits.after_s / 4):
            silent.append((job, vital))
    if silent:
        attempts = [supervisor.attempt(job) for job, _ in silent]
        usages = await aside(partial(supervisor.launcher.usage, attempts))
        for job, vital in silent:
            if (usage := usages.get(job.id)) is not None:
                await _judge(supervisor, job, vital, usage, min(passed, MOST_S))
    for ended_job in supervisor.vitals.keys() - {job.id for job in supervisor.live}:
        del supervisor.vitals[ended_job]


async def _judge(supervisor: Supervisor, job: Job, vital: Vital, usage: Usage, passed: float) -> None:
    """Update the state of a silent job from what its processes use."""
    # it goes on, and its next step may take minutes: a silence of its own
    if vital.stopped_s and not usage.is_stopped:
        vital.silent_s, vital.asked_at = 0.0, None
        vital.uses.clear()
    vital.stopped_s = vital.stopped_s + passed if usage.is_stopped else 0.0
    vital.uses.append(ProcessUse(vital.silent_s, usage.cpu_s, usage.bytes_moved))
    evidence = evidence_of(vital.uses, waits=usage.waits_for_device, gpu=gpu_busy(supervisor, job))
    state = jobs.state_of(supervisor.connection, job.id)
    if not isinstance(state, data.Running):
        return
    limits = supervisor.settings.hung
    usual = None if job.kind.is_command else usual_s(state)
    folder = supervisor.attempt(job).folder
    ranks_here, nodes = await aside(lambda: (ranks_of(folder), nodes_of(folder)))
    is_idle = evidence == IDLE and nodes == 1  # usage comes from the first node only; another may be working
    verdict = classify(usual, vital.silent_s, vital.stopped_s, is_idle=is_idle, after_s=limits.after_s)
    if job.kind.is_command:
        verdict = classify_command(
            silence_of(supervisor, job), vital.silent_s, vital.stopped_s, limits.after_s
        )
    frames, late = state.frames, None
    if verdict == "hung" and not job.kind.is_command:  # whose process of ours only waits for the program
        # one that is being ended: what is left of its ranks tells nothing
        if ranks_here * nodes > 1 and not job.asked:
            late = await aside(partial(ranks.late, folder, ranks_here * nodes))
        frames = await _stacks_of(supervisor, job, vital) or frames
    state = msgspec.structs.replace(state, pulse=verdict, usual_s=usual, evidence=evidence, frames=frames)
    if late is not None:
        state = msgspec.structs.replace(state, late=[late.who, late.others, late.did])
    _show(supervisor, job, vital, state)
    # its stacks are written, or time for them is up
    is_known = job.kind.is_command or bool(frames) or vital.silent_s > (vital.asked_at or 0.0) + STACKS_S
    if verdict == "hung" and (limits.then == "kill" or late is not None) and is_known and not job.asked:
        _end(supervisor, job)


def usual_s(state: data.Running) -> float | None:
    """Return the seconds per step including everything around it, from the run's own clock; None if not known yet."""
    if state.phase != "training" or state.left_s is None or not state.done or not state.total:
        return None
    steps_left = state.total - state.done
    return state.left_s / steps_left if steps_left > 0 else None


def classify(
    usual: float | None, silent_s: float, stopped_s: float, *, is_idle: bool, after_s: float
) -> Literal["", "silent", "hung", "stopped"]:
    """Classify a silence."""
    if stopped_s >= min(STOPPED_S, after_s / 2):
        return "stopped"
    hung_after, silent_after = after_s, min(SILENT_S, after_s / 3)
    if usual is not None:
        hung_after, silent_after = max(after_s, TIMES_HUNG * usual), max(silent_after, TIMES_SILENT * usual)
    elif not is_idle:
        hung_after, silent_after = TIMES_BUSY * after_s, after_s
    if silent_s >= hung_after:
        return "hung"
    return "silent" if silent_s >= silent_after else ""


def classify_command(
    normal_s: float | None, silent_s: float, stopped_s: float, after_s: float
) -> Literal["", "silent", "hung", "stopped"]:
    """Classify the silence of another program, which may only wait; it is hung if the recipe says what is normal."""
    if stopped_s >= min(STOPPED_S, after_s / 2):
        return "stopped"
    if normal_s is not None:
        return "hung" if silent_s >= normal_s else ""
    return "silent" if silent_s >= after_s else ""


def silence_of(supervisor: Supervisor, job: Job) -> float | None:
    """Return how long a run's command may be silent, if its recipe says."""
    command = runs.recipe(supervisor.connection, job.run_id)["command"]
    silence_s: float | None = command.get("silence_s")  # older recipes have none
    return silence_s


def _printed(supervisor: Supervisor, job: Job) -> int:
    """Return how much a command has printed: it lives, also if none of it is a number."""
    return size_of(supervisor.launcher.logs(supervisor.attempt(job).folder)) if job.kind.is_command else 0


def gpu_busy(supervisor: Supervisor, job: Job) -> float | None:
    """Return the recent utilization of the job's busiest GPU in percent, or None if not available."""
    histories = [list(supervisor.pool.history.get(share.uuid, ()))[-GPU_LOOKS:] for share in job.gpus]
    busy_values = [[sample.busy for sample in past if sample.busy is not None] for past in histories]
    return max((fmean(past) for past in busy_values if past), default=None)


def evidence_of(uses: deque[ProcessUse], *, waits: bool, gpu: float | None = None) -> str:
    """Describe what a job's processes do: idle, work, or wait for a disk; empty if too little was measured.

    `gpu` is the utilization in percent: ranks that wait for each other keep their GPUs busy.
    """
    first, last = uses[0], uses[-1]
    span = last.at - first.at
    if waits:
        return "its process waits for a disk or a device that does not answer"
    if span <= 0 or (len(uses) < 5 and span < LOOK_S):
        return ""
    share, rate = (last.cpu_s - first.cpu_s) / span, (last.bytes - first.bytes) / span
    of_gpu = "" if gpu is None else f", its GPU is {gpu:.0f} % busy"
    if share < IDLE_SHARE and rate < IDLE_BYTES_S and (gpu or 0.0) < 100 * IDLE_SHARE:
        return IDLE
    return f"its processes use {100 * share:.0f} % of a core{of_gpu}"


async def _stacks_of(supervisor: Supervisor, job: Job, vital: Vital) -> list[str]:
    """Request a hung job's stacks, once, and return them as soon as they are in its log."""
    attempt = supervisor.attempt(job)
    log = supervisor.launcher.logs(attempt.folder)
    if vital.asked_at is None:
        vital.asked_at, vital.log_size = vital.silent_s, await aside(partial(size_of, log))
        await aside(partial(supervisor.launcher.signal, attempt, "stacks"))
        return []
    if vital.silent_s > vital.asked_at + STACKS_S:
        return []
    return await aside(partial(_frames, log, vital.log_size))


def _frames(log: Path, begin: int) -> list[str]:
    try:
        with open_regular(log) as file:
            file.seek(begin)
            return stack_dumps.describe(stack_dumps.read(file.read(1 << 20).decode("utf-8", "replace")))
    except OSError:
        return []


def _show(supervisor: Supervisor, job: Job, vital: Vital, state: data.Running) -> None:
    """Store and show a job's silence if its state changed, or enough time passed."""
    before = jobs.state_of(supervisor.connection, job.id)
    assert isinstance(before, data.Running)
    is_new = (before.pulse, before.frames, before.late) != (state.pulse, state.frames, state.late)
    step = 60.0 if vital.silent_s > 120 else 10.0
    if not is_new and (not state.pulse or vital.silent_s - vital.shown_s < step):
        return
    vital.shown_s = vital.silent_s
    state = msgspec.structs.replace(state, silent_s=round(vital.silent_s, 1) if state.pulse else 0.0)
    text = ""
    if state.pulse in HANGS and before.pulse not in HANGS:
        text = f"hung: {pulse.details(state)}"
    elif job.kind.is_command and (state.pulse, state.evidence) == ("silent", IDLE) and not vital.is_reported:
        vital.is_reported = True
        text = f"silent {pulse.details(state)}: {IDLE}"
    _keep(supervisor, job, state, [notices.New(job.run_id, "hung", None, text, time.time())] if text else [])


def _clear(supervisor: Supervisor, job: Job) -> None:
    """Remove the mark of silence from a job that goes on."""
    state = jobs.state_of(supervisor.connection, job.id)
    if isinstance(state, data.Running) and state.pulse:
        _keep(supervisor, job, data.without_silence(state))


def _keep(supervisor: Supervisor, job: Job, state: data.Running, new: Sequence[notices.New] = ()) -> None:
    with transaction(supervisor.connection):
        notices.add(supervisor.connection, new)
        jobs.show_state(supervisor.connection, job.id, state)
        if job.kind.makes_a_run:
            runs.show_state(supervisor.connection, job.run_id, state)
    supervisor.touch()


def _end(supervisor: Supervisor, job: Job) -> None:
    """Request the kill of a hung job."""
    with transaction(supervisor.connection):
        jobs.set_request(supervisor.connection, job.id, HUNG)
    supervisor.touch()
