"""The remedy job: tries candidates on a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.errors import BadInput
from finetop.core.models import devices
from finetop.core.protocol.events import Ended
from finetop.core.recipe.job import candidate_of
from finetop.core.remedies._trial import RemedyRequest, try_all
from finetop.core.runtime.job_process import quiet

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "peft", "lm_eval")
IF_STOPPED = "asked to stop; what was scored is kept"


def work(job: Job) -> Ended:
    """Say who runs on what, then try the candidates."""
    quiet()
    device = devices.pick_device()
    job.started(devices.describe_device(device), job.dtype, PACKAGES)
    for row in try_all(request_of(job, device), job.home, job.events):
        print(f"{row.label}: {row.verdict}", flush=True)
    return Ended("finished")


def request_of(job: Job, device: str) -> RemedyRequest:
    """Read what is tried. Raises BadInput."""
    step, candidates = job.args.get("step"), job.args.get("candidates")
    if not isinstance(step, int) or not isinstance(candidates, list):
        hint = "Name a step, its checkpoint and candidates."
        raise BadInput(f"job.json: args are {job.args!r}.", hint=hint)
    return RemedyRequest(
        recipe=job.recipe(),
        step=step,
        checkpoint=job.inside(job.args.get("checkpoint")),
        candidates=[(candidate_of(facts), job.inside(facts.get("checkpoint"))) for facts in candidates],
        device=device,
    )
