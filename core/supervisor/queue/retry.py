"""Tries again what failed: by itself, by what ended it, how often so far and the home's settings; and by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from finetop.core import errors, protocol
from finetop.core.errors import Refused
from finetop.core.protocol import runs as data
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.requests import resume

if TYPE_CHECKING:
    from finetop.core.recipe.home_settings import Settings
    from finetop.core.supervisor.state import Supervisor

REBOOTS = 3  # of the machine without a new checkpoint in between: then the run may be what brings it down


@dataclass(frozen=True)
class Rule:
    """By which setting a failure of one kind is tried again, and how long to wait, as a multiple of retry.wait_s."""

    setting: Literal["retry", "reboot", "crash"]
    wait: float = 1.0


# What is not here comes back however often it is tried: recipe, data, NaN, an exception of the program.
RULES: dict[errors.Kind, Rule] = {
    "restarted": Rule("reboot", wait=0.0),
    "killed": Rule("crash"),
    "crashed": Rule("crash"),
    "vanished": Rule("crash"),
    "hung": Rule("retry"),
    "out_of_memory": Rule("retry", wait=5.0),  # what others run takes long, as a rule
    "gpu_taken": Rule("retry", wait=5.0),
    "disk_full": Rule("retry"),  # and waits for room
    "environment": Rule("retry"),
    "gpu_lost": Rule("retry"),
    "gpu_error": Rule("retry"),
    "communication": Rule("retry"),
}


@dataclass(frozen=True)
class Try:
    """One more try: the how manieth it is, of how many at most, and after which wait."""

    number: int
    of: int
    wait_s: float


def next_try(settings: Settings, kind: errors.Kind, number: int, *, has_moved: bool) -> Try | None:
    """Decide on another try after the `number`-th failed; None: it is left to a person.

    A job that came to a new checkpoint (`has_moved`) has all its tries again.
    """
    rule, retry = RULES.get(kind), settings.retry
    if rule is None or kind in retry.not_after or not _is_allowed(rule, settings):
        return None
    following = Try(
        2 if has_moved else number + 1, 1 + (REBOOTS if rule.setting == "reboot" else retry.times), 0.0
    )
    if following.number > following.of:
        return None
    wait_s = min(retry.longest_s, retry.wait_s * rule.wait * 2.0 ** (following.number - 2))
    return Try(following.number, following.of, wait_s)


def _is_allowed(rule: Rule, settings: Settings) -> bool:
    if rule.setting == "reboot":
        return settings.resume.after_reboot
    return settings.resume.after_crash if rule.setting == "crash" else True


def retry(supervisor: Supervisor, ask: protocol.Retry) -> protocol.RetryAnswer:
    """Queue once more what failed of a run, or was stopped: its training, from the newest checkpoint, else its check …

    Raises NotFound without such a run, Refused where nothing failed, BadInput where it can't go on.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    waiting = [job for job in jobs.queued(connection) if job.run_id == run_id]
    if (went := resume.released(supervisor, run_id, name, protocol.Resume(ask.run))) is not None:
        return protocol.RetryAnswer(name, waiting[0].verb, went.step, went.place)
    detail = runs.detail(connection, run_id)
    job = failed_job(detail, name)
    if job.verb == "train":
        resumed = resume.resume(supervisor, protocol.Resume(ask.run))
        return protocol.RetryAnswer(name, job.verb, resumed.step, resumed.place)
    args = {key: value for key, value in job.args.items() if key not in ("retry", "paused")}
    with transaction(connection):
        undo = None
        if job.verb in data.MAKES_A_RUN:
            undo = runs.stands(connection, run_id, detail.row.state)
            runs.queue_again(connection, run_id)
        jobs.add_job(
            connection, run_id=run_id, verb=job.verb, args=args, priority=jobs.CHECK_PRIORITY, undo=undo
        )
    supervisor.touch()
    return protocol.RetryAnswer(name, job.verb, args.get("step") or 0, jobs.place_of(connection, run_id))


def failed_job(detail: data.RunDetail, name: str) -> data.JobRow:
    """Find what there is to try again: what makes the run, else its newest check or export. Raises Refused."""
    if under_way := [job for job in detail.jobs if job.is_under_way]:
        job = under_way[0]
        raise Refused(f"the {job.verb} of {name} is {data.word(job.state)}.", hint="Wait for its end.")
    bad = (data.Failed, data.Lost, data.Stopped)
    newest = {job.verb: job for job in detail.jobs}
    making = isinstance(detail.row.state, bad)  # else what was refused has left the run as it was
    found = [job for job in newest.values() if isinstance(job.state, bad)]
    found = [job for job in found if making or job.verb not in data.MAKES_A_RUN]
    if not found:
        hint = "To train it further, see `finetop resume --help`."
        raise Refused(f"{name} has {data.word(detail.row.state)}: nothing of it failed.", hint=hint)
    return max(found, key=lambda job: (job.verb in data.MAKES_A_RUN, job.id))
