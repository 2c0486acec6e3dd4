"""Where a training job resumes from: given by the supervisor and by the run's earlier jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from finetop.core.errors import BadInput
from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime.job_folder import run_folder_of
from finetop.core.train.resume.earlier_jobs import EarlierJobs, read_earlier_jobs


@dataclass(frozen=True)
class ResumePoint:
    """A step of the run, and its checkpoint; without a checkpoint the run starts over."""

    step: int
    folder: Path | None  # of the checkpoint
    job_folder: Path  # of the job that resumes
    anyway: bool = False  # even if the data has changed
    earlier: EarlierJobs = field(default_factory=EarlierJobs)


def point_of(spec: JobSpec, job_folder: Path) -> ResumePoint | None:
    """Return where a job resumes from; None for the first one of a run. Raises BadInput."""
    given = spec.args.get("resume")
    if given is None:
        return None
    path, step = given.get("checkpoint"), given.get("step")
    parts = Path(path).parts if isinstance(path, str) else ("..",)
    fine = path is None or not (".." in parts or Path(path).is_absolute())
    if not fine or not isinstance(step, int) or step < 0:
        hint = "Name a checkpoint inside of the run's folder."
        raise BadInput(f"job.json: args.resume is {given!r}.", hint=hint)
    run_folder = run_folder_of(job_folder)
    folder = None if path is None else run_folder / path
    earlier = read_earlier_jobs(run_folder, job_folder)
    return ResumePoint(step, folder, job_folder, given.get("anyway") is True, earlier)
