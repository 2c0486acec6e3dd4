"""Slurm in plain words: why a job waits, and which setting to change when Slurm refuses one."""

from __future__ import annotations

from finetop.core.wording.durations import clock

# From `man squeue`, JOB REASON CODES: the common ones.
REASONS = {
    "None": "Slurm schedules it next",
    "Priority": "jobs with a higher priority go first",
    "Resources": "no node has enough free resources",
    "Dependency": "another job has to end first",
    "DependencyNeverSatisfied": "its dependency failed, so it never starts: stop it",
    "JobHeldUser": "held; to release: scontrol release {id}",
    "JobHeldAdmin": "held by an administrator of the cluster",
    "BeginTime": "its start time has not come",
    "ReqNodeNotAvail": "the nodes it may use are down, drained or reserved",
    "NodeDown": "a node that it needs is down",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is inactive",
    "PartitionTimeLimit": "slurm.time is more than the partition allows",
    "PartitionNodeLimit": "budget.nodes is more than the partition allows, or has up",
    "PartitionConfig": "the partition can't give what it asks for",
    "BadConstraints": "no node has what it asks for",
    "Reservation": "its reservation has not begun",
    "Licenses": "a licence is not free",
    "JobArrayTaskLimit": "the sweep's limit slurm.at_once is reached",
    "Cleaning": "its previous attempt is being cleaned up",
    "InvalidAccount": "slurm.account is not one of your accounts",
    "InvalidQOS": "slurm.qos is not a QOS that you may use",
    "QOSMaxJobsPerUserLimit": "the QOS's limit on your running jobs is reached",
    "QOSMaxSubmitJobPerUserLimit": "the QOS's limit on your submitted jobs is reached",
    "AssocMaxJobsLimit": "the account's limit on running jobs is reached",
    "AssocGrpGRES": "the account's share of GPUs is used up",
}
KINDS = (("QOS", "a limit of the QOS is reached"), ("Assoc", "a limit of the account is reached"))

# sbatch's errors, and what to do about them; the first match counts.
REFUSALS = (
    ("nvalid partition", "Set slurm.partition in settings.yaml; `sinfo -s` lists them."),
    ("nvalid account", "Set slurm.account in settings.yaml; `sacctmgr show assoc user=$USER` lists them."),
    ("nvalid qos", "Set slurm.qos in settings.yaml; `sacctmgr show qos` lists them."),
    ("BadConstraints", "No node has as much: lower budget.gpus or slurm.extra in settings.yaml."),
    ("nvalid generic resource", "Lower budget.gpus, or set slurm.partition in settings.yaml to one with GPUs."),
    ("ime limit", "Lower slurm.time in settings.yaml; `sinfo -o '%P %l'` lists what partitions allow."),
    ("ode count", "Lower budget.nodes, or choose a larger partition: slurm.partition in settings.yaml."),
    ("node configuration is not available", "No node has as much: lower budget.gpus or slurm.extra in settings.yaml."),
    ("ermission", "Choose a partition or account that you may use: slurm in settings.yaml."),
    ("option", "See slurm.extra in settings.yaml."),
)  # fmt: skip
PASSING = ("Job violates accounting/QOS policy", "temporarily", "ob limit")


def waits(reason: str, job: str) -> str:
    """Return why a job waits: 'waits for: Priority (jobs with a higher priority go first)'."""
    name = reason.partition(",")[0].strip() or "None"
    if name.startswith("Nodes required for job are DOWN"):  # Slurm's sentence instead of a reason code
        name = "ReqNodeNotAvail"
    plain = plainly(name).format(id=job)
    return f"waits for: {name} ({plain})" if plain else f"waits for: {name}"


def plainly(reason: str) -> str:
    """Return the meaning of a reason code; empty if it is unknown."""
    return REASONS.get(reason) or next((meaning for begin, meaning in KINDS if reason.startswith(begin)), "")


def silent(since: float | None) -> str:
    """Return since when Slurm has not answered; None: it never has."""
    return "Slurm does not answer" if since is None else f"Slurm has not answered since {clock(since)}"


def advice(stderr: str) -> str:
    """Return which setting to change when sbatch refuses a job."""
    return next((hint for part, hint in REFUSALS if part in stderr), "See slurm in settings.yaml.")


def may_pass(stderr: str) -> bool:
    """Return True if a refusal is temporary: a limit on a user's jobs."""
    return any(part in stderr for part in PASSING)
