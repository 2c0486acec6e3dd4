"""The import job: adopts a model that was made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.models.imports.adopt import adopt
from finetop.core.protocol.events import Ended

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "peft")
IF_STOPPED = "asked to stop"


def work(job: Job) -> Ended:
    """Say that it was made elsewhere, then adopt it."""
    job.started("made elsewhere", "", PACKAGES)
    adopt(
        job.recipe(),
        job.absolute("path"),
        copy=job.args.get("copy") is True,
        run_folder=job.run_folder,
        home=job.home,
        events=job.events,
    )
    return Ended("finished")
