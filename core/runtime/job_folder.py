"""A job's folder: its spec, and its place in a home."""

from __future__ import annotations

from pathlib import Path

import msgspec

from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime.files import read_own, retry_file_work


def read_spec(job_folder: Path) -> JobSpec:
    content = retry_file_work(lambda: read_own(job_folder / "job.json"))
    return msgspec.json.decode(content, type=JobSpec)


def run_folder_of(job_folder: Path) -> Path:
    """HOME/runs/0007-name/jobs/0012-train -> HOME/runs/0007-name."""
    return job_folder.parent.parent


def home_of(job_folder: Path) -> Path:
    return job_folder.parents[3]
