"""The measuring job's process: `python -m finetop.core.approaches JOB_FOLDER`, started by a keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core import approaches
from finetop.core.errors import BadInput
from finetop.core.protocol.events import Ended
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.load import recipe_from_json
from finetop.core.remedies.__main__ import inside
from finetop.core.runtime import job_process
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_folder import home_of, run_folder_of

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.approaches._measure import Wanted
    from finetop.core.runtime.stop_signal import Stop

PACKAGES = ("finetop", "torch", "transformers", "peft", "bm25s")


def main() -> int:
    """Run the job in the folder that the command line names."""
    return job_process.run(
        "finetop.core.approaches", work, if_stopped="asked to stop; what was scored is kept"
    )


def work(spec: JobSpec, job_folder: Path, events: EventLog, stop: Stop) -> Ended:
    """Say who runs on what, then measure."""
    from finetop.core.approaches import _measure
    from finetop.core.models import devices
    from finetop.core.train.train import quiet

    quiet()
    device = devices.pick_device()
    dtype = str(spec.recipe.get("model", {}).get("dtype", ""))
    job_process.tell_start(
        events, job_folder, device=devices.describe_device(device), dtype=dtype, packages=PACKAGES
    )
    wanted, home = wanted_of(spec, job_folder, device), Home(home_of(job_folder))
    told = _measure.measure(wanted, home, events, run_folder_of(job_folder))
    events.write(told)
    print(_measure.words(told), flush=True)
    return Ended("finished")


def wanted_of(spec: JobSpec, job_folder: Path, device: str) -> Wanted:
    """Read what is measured: a checkpoint, or without one the base as it is. Raises BadInput."""
    from finetop.core.approaches._measure import Wanted

    name, step = spec.args.get("approach"), spec.args.get("step")
    if not isinstance(name, str) or name not in approaches.names():
        raise BadInput(
            f"job.json: args.approach is {name!r}.", hint=f"It is one of {', '.join(approaches.names())}."
        )
    trains = spec.verb == "measure"
    return Wanted(
        approach=name,
        recipe=recipe_from_json(msgspec.json.encode(spec.recipe), "job.json", to_train=False),
        step=step if isinstance(step, int) else None,
        checkpoint=run_folder_of(job_folder) / inside(spec.args.get("checkpoint")) if trains else None,
        learns_news=bool(spec.args.get("learns_news", False)),
        device=device,
    )


if __name__ == "__main__":
    raise SystemExit(main())
