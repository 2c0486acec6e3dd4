"""The measuring job: what one approach scores, and what its queries cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core import approaches
from finetop.core.approaches import _measure
from finetop.core.errors import BadInput
from finetop.core.models import devices
from finetop.core.protocol.events import Ended
from finetop.core.runtime.job_process import quiet

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "peft", "bm25s")
IF_STOPPED = "asked to stop; what was scored is kept"


def work(job: Job) -> Ended:
    """Say who runs on what, then measure."""
    quiet()
    device = devices.pick_device()
    job.started(devices.describe_device(device), job.dtype, PACKAGES)
    measured = _measure.measure(request_of(job, device), job.home, job.events, job.run_folder)
    job.events.write(measured)
    print(_measure.words(measured), flush=True)
    return Ended("finished")


def request_of(job: Job, device: str) -> _measure.MeasureRequest:
    """Read what is measured: a checkpoint, or without one the base as it is. Raises BadInput."""
    name, step = job.args.get("approach"), job.args.get("step")
    if not isinstance(name, str) or name not in approaches.names():
        hint = f"It is one of {', '.join(approaches.names())}."
        raise BadInput(f"job.json: args.approach is {name!r}.", hint=hint)
    trains = job.spec.verb == "measure"
    return _measure.MeasureRequest(
        approach=name,
        recipe=job.recipe(),
        step=step if isinstance(step, int) else None,
        checkpoint=job.inside(job.args.get("checkpoint")) if trains else None,
        learns_news=bool(job.args.get("learns_news", False)),
        device=device,
    )
