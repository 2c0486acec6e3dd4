"""The check job's process: `python -m finetop.core.check JOB_FOLDER`, started by a keeper.

Exit code 0 whatever the verdict (that is data) and when stopped; 1 failed, 2 bad input, 4 the environment.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput
from finetop.core.events import FORMAT, Ended, EventLog, Started, Verdict
from finetop.core.home import Home
from finetop.core.recipe.load import recipe_from_json
from finetop.core.recipe.schema import General
from finetop.core.run import JobSpec, home_of, read_spec, run_folder_of
from finetop.core.train import failures, stopping

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

TOLD = ("finetop", "torch", "transformers", "peft", "lm_eval")
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
        print("usage: python -m finetop.core.check JOB_FOLDER", file=sys.stderr)
        return 2
    job_folder = Path(sys.argv[1]).absolute()
    faulthandler.register(signal.SIGUSR2)  # all stacks into the log, for a job that seems to hang
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    stopping.listen()
    events = EventLog(job_folder / "events.jsonl")
    try:
        run(read_spec(job_folder), job_folder, events)
        last = Ended("finished")
    except stopping.StopAsked:
        last = Ended("stopped", "asked to stop; what was scored is kept")
    except BaseException as error:
        traceback.print_exc()
        last = failures.ended(error, None)
    print(
        " ".join(filter(None, (f"{last.status}:" if last.cause else last.status, last.cause, last.hint))),
        flush=True,
    )
    events.write(last)
    events.sync()
    return last.exit_code


def run(spec: JobSpec, job_folder: Path, events: EventLog) -> None:
    """Say who runs on what, then check."""
    from finetop.core import models
    from finetop.core.check import job, result

    device = models.pick_device()
    events.write(
        Started(
            format=FORMAT,
            attempt=attempt_of(job_folder),
            pid=os.getpid(),
            device=models.describe_device(device),
            dtype=str(spec.recipe.get("model", {}).get("dtype", "")),
            versions={"python": sys.version.split()[0], **{name: version(name) for name in TOLD}},
        )
    )
    recipe: Recipe = recipe_from_json(msgspec.json.encode(spec.recipe), "job.json")
    relative, step = checkpoint_of(spec)
    checkpoint = run_folder_of(job_folder) / relative
    claim, watch = claim_of(spec)
    home = Home(home_of(job_folder))
    found = job.check(recipe, checkpoint, home, device, events, claim=claim, watch=watch)
    general = msgspec.to_builtins(recipe.check.general or General())
    found = {**found, "step": step, "checkpoint": relative, "general": general}
    events.write(Verdict(step, found))
    print(result.report(spec.run_name, found), flush=True)


def checkpoint_of(spec: JobSpec) -> tuple[str, int | None]:
    """Read which checkpoint is checked, relative to the run's folder, and its step. Raises BadInput."""
    path, step = spec.args.get("checkpoint"), spec.args.get("step")
    if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise BadInput(f"job.json: args.checkpoint is {path!r}.", hint="Name a folder inside of the run's.")
    return path, step if isinstance(step, int) else None


def claim_of(spec: JobSpec) -> tuple[int, bool]:
    """Read which claim of the run this is (0: its only one), or that it is a mere look."""
    claim = spec.args.get("claim", 0)
    return (claim if isinstance(claim, int) and claim >= 0 else 0), bool(spec.args.get("watch", False))


def attempt_of(job_folder: Path) -> int:
    """Read which attempt this is; 1 where no supervisor wrote it."""
    try:
        return int((job_folder / "attempt").read_text())
    except (OSError, ValueError):
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
