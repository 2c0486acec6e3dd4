"""The checks of `finetop doctor`: each finding describes one state, and the fix if something is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from finetop.core.commands.doctor_checks.finding import Finding
from finetop.core.errors import FinetopError
from finetop.core.runtime.home import Home, is_made, prepare


def find_all(home: Home) -> Iterator[Finding]:
    """Yield the findings on the machine, the home and its processes. Nothing is changed or created."""
    from finetop.core.commands.doctor_checks import folders, gpus, machine, processes, slurm

    yield machine.python()
    yield machine.libraries()
    try:
        is_there = is_made(home)
        if is_there:
            prepare(home)
    except FinetopError as error:
        yield Finding("trouble", "home", error.message, error.hint)
        return
    yield from folders.folder_findings(home) if is_there else folders.future_home_findings(home)
    yield from processes.process_findings(home) if is_there else ()
    yield from gpus.gpu_findings()
    yield from slurm.slurm_findings(home)
    yield machine.lingering()
    yield machine.clock(home)
