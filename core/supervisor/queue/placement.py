"""Which jobs go into a cluster's queue and with which options, and where those that went there are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from finetop.core.errors import BadInput
from finetop.core.protocol import runs as data, tags
from finetop.core.recipe.home_settings import OF_SBATCH, Slurm
from finetop.core.store import jobs, notes, runs
from finetop.core.store.database import transaction
from finetop.core.store.jobs import Job
from finetop.core.supervisor.launchers.launcher import Batch, JobStatus
from finetop.core.supervisor.state import Supervisor

OF_GPUS = ("--gres", "--gpus", "--tres-per")
ON_ITS_WAY = "is being submitted to Slurm"


def split_by_place(supervisor: Supervisor, ready: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Split ready jobs into those for this machine and those for the cluster's queue."""
    on_cluster = [job for job in ready if runs_on_cluster(supervisor, job)]
    return [job for job in ready if job not in on_cluster], on_cluster


def runs_on_cluster(supervisor: Supervisor, job: Job) -> bool:
    """Return True if a job runs on the cluster: `slurm` is in settings.yaml and the job computes."""
    return supervisor.settings.slurm is not None and not job.kind.only_reads(job.args)


def require_nodes(supervisor: Supervisor, budget: Mapping[str, object]) -> None:
    """Raise BadInput if the recipe wants more nodes than jobs can have here."""
    nodes = budget.get("nodes")
    if not isinstance(nodes, int) or nodes == 1:
        return
    if supervisor.settings.slurm is None:
        hint = "Set slurm in settings.yaml (docs/clusters.md), or leave budget.nodes out."
        raise BadInput(f"budget.nodes is {nodes}, but jobs run on this machine only.", hint=hint)


def why_not_yet(supervisor: Supervisor, job: Job) -> str:
    """Return why a job can't enter the cluster's queue yet (its nodes are unknown), or ''."""
    if not runs_on_cluster(supervisor, job) or supervisor.launcher.nodes():
        return ""
    return supervisor.launcher.trouble() or "waits: requesting nodes from Slurm"


def batch_of(supervisor: Supervisor, job: Job) -> Batch | None:
    """Return a job's batch for the cluster's queue, or None if it runs on this machine."""
    slurm = supervisor.settings.slurm
    if slurm is None or not runs_on_cluster(supervisor, job):
        return None
    budget = runs.recipe(supervisor.connection, job.run_id).get("budget") or {}
    if job.args.get("on_cpu") is True:  # a chat
        budget = {**budget, "gpus": 0}
    of_sweep = [
        tag.removeprefix(tags.SWEEP)
        for tag in notes.tags_of(supervisor.connection, job.run_id)
        if tag.startswith(tags.SWEEP)
    ]
    is_first = job.kind.takes_budget and "retry" not in job.args and "resume" not in job.args
    return Batch(
        name=f"{job.run_name}-{job.verb}",
        options=options(slurm, budget, has_gpus=has_gpus(supervisor), is_training=job.kind.takes_budget),
        array=of_sweep[0] if of_sweep and is_first else "",
        at_once=slurm.at_once,
    )


def options(
    slurm: Slurm, budget: Mapping[str, object], *, has_gpus: bool, is_training: bool
) -> tuple[str, ...]:
    """Return the sbatch options of a job; the user's own come last."""
    nodes = budget.get("nodes") if is_training else 1
    gpus = budget.get("gpus")
    count = int(has_gpus) if not isinstance(gpus, int) else gpus
    count = count if is_training else min(count, 1)
    places = nodes if isinstance(nodes, int) else 1
    if any(option.startswith(OF_GPUS) for option in slurm.extra):
        count = 0  # a person says which
    own = [(name, getattr(slurm, name)) for name in OF_SBATCH]
    return (
        *(f"--{name}={value}" for name, value in own if value is not None),
        f"--nodes={places}",
        *((f"--gres=gpu:{-(-count // places)}",) if count else ()),
        *slurm.extra,
    )


def has_gpus(supervisor: Supervisor) -> bool:
    """Return True if the cluster is known to have GPUs: a run that names no number then gets one."""
    slurm = supervisor.settings.slurm
    if slurm is None:  # and none is asked for its nodes
        return False
    return any(
        node.gpus
        for node in supervisor.launcher.nodes()
        if slurm.partition is None or slurm.partition in _partition_names(node.partitions)
    )


def _partition_names(partitions: str) -> list[str]:
    return [name.strip().rstrip("*") for name in partitions.split(",")]


def update_places(supervisor: Supervisor, statuses: Mapping[int, JobStatus]) -> None:
    """Store where cluster jobs are, and show the reason of those that wait there."""
    supervisor.places = {job: status.place for job, status in statuses.items() if status.place is not None}
    for job in supervisor.live:
        place = supervisor.places.get(job.id)
        if place is None or not isinstance(job.state, data.Running) or job.state.waits == place.waits:
            continue
        state = jobs.state_of(supervisor.connection, job.id)  # with what it reported since the beat began
        if not isinstance(state, data.Running):
            continue
        # its running time counts from its start, not from its submission
        since = state.since if place.waits else time.time()
        state = msgspec.structs.replace(state, waits=place.waits, since=since)
        with transaction(supervisor.connection):
            jobs.show_state(supervisor.connection, job.id, state)
            if job.kind.makes_a_run:
                runs.show_state(supervisor.connection, job.run_id, state)
        supervisor.touch([job.run_id])
