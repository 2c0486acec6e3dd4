"""The training job's process: `python -m finetop.core.train JOB_FOLDER`, started by a keeper.

It appends events to events.jsonl and prints for people; the keeper has both outputs in log.txt. Exit code 0:
finished or stopped, 1 failed, 2 bad input, 4 the environment.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.events import FORMAT, Ended, EventLog, Started
from finetop.core.home import Home
from finetop.core.recipe.load import recipe_from_json
from finetop.core.run import JobSpec, home_of, read_spec, run_folder_of
from finetop.core.train import failures, stopping, training

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

TOLD = ("finetop", "torch", "transformers", "trl", "peft", "accelerate", "datasets")
SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_ETAG_TIMEOUT": "5",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "BITSANDBYTES_NOWELCOME": "1",
    # Waiting threads spin a little, then sleep: at once costs 1.8x on a quiet machine, never costs 3x on a busy one.
    "GOMP_SPINCOUNT": "20000",
}


def main() -> int:
    """Run the job in the folder that the command line names."""
    if len(sys.argv) != 2:
        print("usage: python -m finetop.core.train JOB_FOLDER", file=sys.stderr)
        return 2
    job_folder = Path(sys.argv[1]).absolute()
    faulthandler.register(signal.SIGUSR2)  # all stacks into the log, for a job that seems to hang
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    narrow_gpus()
    stop = stopping.listen()
    events = EventLog(job_folder / "events.jsonl")
    try:
        last = run(read_spec(job_folder), job_folder, events, stop)
    except stopping.StopAsked:
        last = Ended("stopped", "asked to stop, before the first step")
    except BaseException as error:
        traceback.print_exc()
        last = failures.ended(error, read_again(job_folder))
    print(
        " ".join(filter(None, (f"{last.status}:" if last.cause else last.status, last.cause, last.hint))),
        flush=True,
    )
    events.write(last)
    events.sync()
    return last.exit_code


def run(spec: JobSpec, job_folder: Path, events: EventLog, stop: stopping.Stop) -> Ended:
    """Say who runs on what, then train."""
    from finetop.core import models

    device = models.pick_device()
    events.write(
        Started(
            format=FORMAT,
            attempt=attempt_of(job_folder),
            pid=os.getpid(),
            device=models.describe_device(device),
            dtype=models.number_format(str(spec.recipe.get("model", {}).get("dtype", "")), None, device),
            versions=versions(),
        )
    )
    recipe = recipe_from_json(msgspec.json.encode(spec.recipe), "job.json")
    training.require_device(recipe, device)
    return training.train(recipe, run_folder_of(job_folder), Home(home_of(job_folder)), device, events, stop)


def read_again(job_folder: Path) -> Recipe | None:
    """Read the recipe for the numbers in a hint; a failure to read it has been told already."""
    try:
        return recipe_from_json(msgspec.json.encode(read_spec(job_folder).recipe), "job.json")
    except Exception:
        return None


def attempt_of(job_folder: Path) -> int:
    """Read which attempt this is; 1 where no supervisor wrote it."""
    try:
        return int((job_folder / "attempt").read_text())
    except (OSError, ValueError):
        return 1


def versions() -> dict[str, str]:
    """List the versions of what a result depends on."""
    known = {"python": sys.version.split()[0]}
    for name in TOLD:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known


def narrow_gpus() -> None:
    """Use one GPU: with several in sight the trainer would split batches over threads, and then refuse."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"
    elif "," in given:
        os.environ["CUDA_VISIBLE_DEVICES"] = given.split(",")[0]


if __name__ == "__main__":
    raise SystemExit(main())
