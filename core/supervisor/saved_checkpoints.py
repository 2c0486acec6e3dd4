"""Which checkpoints of a run are on disk: training keeps only so many, and folders are deleted by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finetop.core.store import checks
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.state import Supervisor


async def gone(supervisor: Supervisor, run_id: int) -> frozenset[int]:
    """Return the steps of a run's reported checkpoints that are not on disk, found in a thread."""
    places = checks.saved_places(supervisor.connection, run_id)
    root = supervisor.home.root
    return await aside(lambda: not_there(root, places)) if places else frozenset()


def not_there(root: Path, places: Mapping[int, str]) -> frozenset[int]:
    return frozenset(step for step, path in places.items() if not (root / path).is_dir())


async def newest(supervisor: Supervisor, run_id: int, step: int | None) -> tuple[int, str]:
    """Return step and path of the checkpoint on disk at `step`, else the best, else the newest. Raises NotFound."""
    steps = await gone(supervisor, run_id)
    return checks.newest_checkpoint(supervisor.connection, run_id, step, steps)
