"""The training job's process: `python -m finetop.core.train JOB_FOLDER`, started by a keeper."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.load import recipe_from_json
from finetop.core.runtime import job_process
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_folder import home_of, read_spec, run_folder_of
from finetop.core.train import train
from finetop.core.train.resume.resume_point import point_of

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.protocol.events import Ended
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.stop_signal import Stop

PACKAGES = ("finetop", "torch", "transformers", "trl", "peft", "accelerate", "datasets")


def main() -> int:
    """Run the job in the folder that the command line names."""
    narrow_gpus()
    return job_process.run(
        "finetop.core.train", work, if_stopped="asked to stop, before the first step", recipe_of=read_again
    )


def work(spec: JobSpec, job_folder: Path, events: EventLog, stop: Stop) -> Ended:
    """Say who runs on what, then train."""
    from finetop.core.models import devices

    device = devices.pick_device()
    job_process.tell_start(
        events,
        job_folder,
        device=devices.describe_device(device),
        dtype=devices.number_format(str(spec.recipe.get("model", {}).get("dtype", "")), None, device),
        packages=PACKAGES,
    )
    recipe = recipe_from_json(msgspec.json.encode(spec.recipe), "job.json")
    train.require_device(recipe, device)
    point = point_of(spec, job_folder)
    home = Home(home_of(job_folder))
    return train.train(recipe, run_folder_of(job_folder), home, device, events, stop, point)


def read_again(job_folder: Path) -> Recipe | None:
    """Read the recipe for the numbers in a hint; a failure to read it has been told already."""
    try:
        return recipe_from_json(msgspec.json.encode(read_spec(job_folder).recipe), "job.json")
    except Exception:
        return None


def narrow_gpus() -> None:
    """Use the first of the GPUs that are given, by number or UUID.

    With several in sight the trainer would split batches over threads, and then refuse.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    if len(given) > 1:
        print(f"of {len(given)} GPUs the first is used: finetop trains on one for now", flush=True)
    os.environ["CUDA_VISIBLE_DEVICES"] = given[0].strip()


if __name__ == "__main__":
    raise SystemExit(main())
