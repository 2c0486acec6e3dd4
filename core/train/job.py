"""The training job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from finetop.core.models import devices
from finetop.core.train import train
from finetop.core.train.resume.resume_point import point_of

if TYPE_CHECKING:
    from finetop.core.protocol.events import Ended
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "trl", "peft", "accelerate", "datasets")
IF_STOPPED = "asked to stop, before the first step"


def work(job: Job) -> Ended:
    """Say who runs on what, then train."""
    narrow_gpus()
    device = devices.pick_device()
    job.started(devices.describe_device(device), devices.number_format(job.dtype, None, device), PACKAGES)
    recipe = job.recipe(to_train=True)
    train.require_device(recipe, device)
    point = point_of(job.spec, job.folder)
    return train.train(recipe, job.run_folder, job.home, device, job.events, job.stop, point)


def narrow_gpus() -> None:
    """Use the first of the GPUs that are given, by number or UUID.

    With several in sight the trainer would split batches over threads, and then refuse.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    if len(given) > 1:
        print(f"of {len(given)} GPUs the first is used: finetop trains on one for now", flush=True)
    os.environ["CUDA_VISIBLE_DEVICES"] = given[0].strip()
