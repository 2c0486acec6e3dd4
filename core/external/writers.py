"""Which files belong to another command: two runs of one script write to the same folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.external.client import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_foreign(path: Path, own: str) -> bool:
    """Return whether a process that has a file open is of another command; `own` is this one's FINETOP_METRICS."""
    named = {metrics for metrics in map(_metrics_of, _writers(path)) if metrics}
    return bool(named) and own not in named


def other_commands(own: str) -> set[Path]:
    """Return the job folders of the commands that run besides this one."""
    named = {_metrics_of(process) for process in _processes()}
    return {Path(metrics).parent for metrics in named if metrics and metrics != own}


def _processes() -> Iterator[str]:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            yield process.name


def _writers(path: Path) -> Iterator[str]:
    """Yield the processes of this user that have a file open."""
    try:
        target = path.stat()
    except OSError:
        return
    for process in _processes():
        try:
            with os.scandir(f"/proc/{process}/fd") as files:
                if any(os.path.samestat(file.stat(), target) for file in files):
                    yield process
        except OSError:
            continue  # another user's, or it has ended


def _metrics_of(process: str) -> str:
    try:
        environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    key = f"{METRICS}=".encode()
    return next((os.fsdecode(value[len(key) :]) for value in environment if value.startswith(key)), "")
