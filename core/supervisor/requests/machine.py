"""The supervisor's machine: its GPUs and their users, files at a path, and plans of runs on it."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.external.program import program_of
from finetop.core.protocol.messages import machine as messages
from finetop.core.protocol.runs import Share
from finetop.core.runtime import cgroups, child
from finetop.core.runtime.gpu import Gpu, Process
from finetop.core.runtime.gpus import HAS_NO_ANSWER
from finetop.core.store import jobs
from finetop.core.store.jobs import Job
from finetop.core.supervisor.gpus import monitor, pool
from finetop.core.supervisor.gpus.require_usable import first_reading
from finetop.core.supervisor.gpus.usage import Use
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.launchers import slurm_commands
from finetop.core.supervisor.state import Sample, Supervisor

COLUMNS = 30  # of the history, 20 s each
PATHS = 500  # of one request
LONGEST_S = 50.0  # for a plan: a client waits for a minute


async def gpus(supervisor: Supervisor, ask: messages.Gpus) -> messages.GpusAnswer:
    """Return the state of the GPUs; right after the supervisor's start, wait for the first reading."""
    await first_reading(supervisor)
    return gpu_state(supervisor)


def gpu_state(supervisor: Supervisor) -> messages.GpusAnswer:
    """Return the state of the GPUs from the newest reading."""
    own = supervisor.pool
    # the last beat may have missed the newest
    live = {job.id: job for job in jobs.live(supervisor.connection)}
    held = () if own.newest is None else pool.held_by(list(live.values()), own.newest)
    uses = {} if own.newest is None else pool.uses_of(own.newest, held)
    on_gpus, placed = {job for job, _ in held}, supervisor.places.keys()
    names = {job.id: job.run_name for job in supervisor.queued}
    return messages.GpusAnswer(
        gpus=[
            _row(supervisor, gpu, uses[gpu.uuid], [(live[job], s) for job, s in held if s.uuid == gpu.uuid])
            for gpu in own.seen.gpus
        ],
        driver=own.seen.driver,
        cuda=own.seen.cuda,
        trouble=pool.stuck_reason(own) or own.seen.trouble or ("" if own.has_looked else HAS_NO_ANSWER),
        cores=cgroups.cores(),
        cpu_jobs=supervisor.settings.slots.cpu_jobs,
        on_cpu=[_job(job, None, None) for job in live.values() if job.id not in (on_gpus | placed)],
        waiting=[
            messages.GpuWaiting(names[job], text) for job, text in supervisor.unplaced.items() if job in names
        ],
        column_s=pool.KEPT_LOOKS / COLUMNS * monitor.LOOK_S,
        age_s=0.0 if own.newest is None else time.monotonic() - own.newest.began,
        nodes=nodes(supervisor, live),
    )


def nodes(supervisor: Supervisor, live: Mapping[int, Job]) -> list[messages.NodeRow]:
    """List the cluster's nodes with this home's runs on them."""
    if supervisor.settings.slurm is None and not supervisor.places:
        return []
    on: dict[str, list[str]] = {}
    for job, place in supervisor.places.items():
        for name in slurm_commands.hosts(place.nodes) if job in live else ():
            on.setdefault(name, []).append(live[job].run_name)
    return [
        msgspec.structs.replace(node, jobs=sorted(on.get(node.name, ())))
        for node in supervisor.launcher.nodes()
    ]


def _row(supervisor: Supervisor, gpu: Gpu, use: Use, held: Sequence[tuple[Job, Share]]) -> messages.GpuRow:
    own = supervisor.pool
    return messages.GpuRow(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        total_gib=gpu.total_gib,
        ours_gib=use.ours_gib,
        others_gib=use.others_gib,
        busy=gpu.busy,
        celsius=gpu.celsius,
        watts=gpu.watts,
        fault=gpu.fault,
        trouble=gpu.trouble,
        left_out=pool.left_out(supervisor, gpu),
        kept_for=own.decision.kept.get(gpu.uuid, ""),
        jobs=[_job(job, share.gib, use.by_job.get(job.id)) for job, share in held],
        others=[process_of(process) for process in use.others],
        history=columns(own.history.get(gpu.uuid, ())),
    )


def _job(job: Job, gib: float | None, used_gib: float | None) -> messages.GpuJob:
    return messages.GpuJob(job.id, job.run_name, job.verb, gib, used_gib)


def process_of(process: Process) -> messages.GpuProcess:
    """Describe a process that is not ours, as far as this user may see it."""
    try:
        details = psutil.Process(process.pid)
        return messages.GpuProcess(process.pid, details.name(), details.username(), process.gib)
    except (psutil.Error, KeyError, OSError):
        return messages.GpuProcess(process.pid, "", "", process.gib)


def columns(samples: Iterable[Sample]) -> list[int | None]:
    """Average a GPU's utilization over equal columns, the newest last; None where not available."""
    busy_values = [sample.busy for sample in samples]
    width = pool.KEPT_LOOKS // COLUMNS
    parts = [busy_values[max(0, end - width) : end] for end in range(len(busy_values), 0, -width)]
    values = [[value for value in part if value is not None] for part in reversed(parts)]
    return [round(sum(part) / len(part)) if part else None for part in values]


async def paths(supervisor: Supervisor, ask: messages.Paths) -> messages.PathsAnswer:
    return await aside(lambda: messages.PathsAnswer([look_at(path) for path in ask.paths[:PATHS]]))


def look_at(path: str) -> messages.PathFacts:
    """Describe the file or folder at an absolute path without opening it."""
    try:
        if path.startswith("/"):
            facts = Path(path).stat()
            is_folder, is_file = stat.S_ISDIR(facts.st_mode), stat.S_ISREG(facts.st_mode)
            if (is_folder or is_file) and os.access(path, os.R_OK):
                return messages.PathFacts(path, "folder" if is_folder else "file", facts.st_size)
            return messages.PathFacts(path, "other", 0)
    except (OSError, ValueError):
        pass
    return messages.PathFacts(path, "none", 0)


async def find_program(supervisor: Supervisor, ask: messages.FindProgram) -> messages.Program:
    return await aside(lambda: program_of(ask.target))


async def look_ahead(supervisor: Supervisor, ask: messages.LookAhead) -> messages.LookAheadAnswer:
    """Return a recipe's plan and first row, rendered; one at a time: it reads all data. Raises EnvironmentTrouble."""
    home, hint = str(supervisor.home.root), "Run it there: `finetop plan RECIPE`."
    asked = msgspec.json.encode({"recipe": ask.recipe, "row": ask.row})
    try:
        async with asyncio.timeout(LONGEST_S), supervisor.looking_ahead:
            answer = await child.answer("finetop.core.client.plan_preview", home, asked=asked)
    except TimeoutError as error:
        raise EnvironmentTrouble(f"a plan took longer than {LONGEST_S:g} s.", hint=hint) from error
    lines = answer.output.splitlines()
    if not lines:
        raise FinetopError("no plan could be made for this recipe.", hint=hint)
    return messages.LookAheadAnswer([msgspec.json.decode(line) for line in lines])


ANSWERS = {
    messages.Gpus: gpus,
    messages.Paths: paths,
    messages.FindProgram: find_program,
    messages.LookAhead: look_ahead,
}
